"""Guiders and MODELs under which the product as a MODEL could not do what it says are refused."""

import pytest

from .support.core_samplers import core_ksampler, custom_sampler


@pytest.mark.parametrize("place", ["first", "second", "given", "other"])
def test_products_of_products_are_refused(load, chain, sample, product, passes, place):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    nested = {"model": product(hair, chain(skin))}
    runs = {
        "first": lambda: sample(chain((hair, nested), skin)),
        "second": lambda: sample(chain(skin, (hair, nested))),
        "given": lambda: core_ksampler(product(type(hair)(**vars(hair) | nested), chain(skin)), hair, 2.0),
        "other": lambda: core_ksampler(product(skin, chain((hair, nested))), skin, 2.0),
    }
    with pytest.raises(ValueError, match=r"Product as Model.*chain that product's experts instead"):
        runs[place]()
    assert not passes.found


def test_guiders_with_rules_of_their_own_are_refused(load, chain, product, passes):
    import comfy_extras.nodes_custom_sampler as custom

    hair = passes.watch(load("hair"))
    model = product(hair, chain(load("skin")))
    (guider,) = custom.DualCFGGuider().get_guider(model, hair.condition, hair.condition, hair.null, 2.0, 2.0, "regular")
    with pytest.raises(ValueError, match="Guider_DualCFG"):
        custom_sampler(guider)
    assert not passes.found


@pytest.mark.parametrize("way", ["class", "object"])
@pytest.mark.parametrize(
    "method", ["outer_sample", "inner_sample", "__call__", "outer_predict_noise", "predict_noise", "set_cfg"]
)
def test_guiders_are_refused_for_what_the_product_would_leave_out(load, chain, product, passes, method, way):
    import comfy.samplers

    def own(self, *args, **kwargs):
        return getattr(comfy.samplers.CFGGuider, method)(self, *args, **kwargs)

    hair = passes.watch(load("hair"))
    kind = type("OwnGuider", (comfy.samplers.CFGGuider,), {method: own} if way == "class" else {})
    guider = kind(product(hair, chain(load("skin"))))
    if way == "object":
        setattr(guider, method, own.__get__(guider))
    guider.set_conds(hair.condition, hair.null)
    guider.set_cfg(2.0)
    if method == "set_cfg":  # which comes before the product
        assert custom_sampler(guider).isfinite().all()
    else:
        with pytest.raises(ValueError, match="OwnGuider"):
            custom_sampler(guider)
        assert not passes.found
