"""Several experts: the rule, and what other nodes see of it."""

import copy
import logging

import pytest
import torch

from ..support.attachments import unclamped


def test_the_product_is_clamped_once_and_its_terms_are_not(load, chain, predict):
    free = [unclamped(load(name)) for name in ("hair", "skin")]
    unclamped_product = predict(chain(*((expert, {"weight": 6.0}) for expert in free)))
    clamped_product = predict(chain(*((load(name), {"weight": 6.0}) for name in ("hair", "skin"))))
    assert unclamped_product.abs().max() > 1
    torch.testing.assert_close(clamped_product, unclamped_product.clamp(-1, 1), atol=1e-5, rtol=0)


def test_guidance_hooks_run_once_on_the_product(load, chain, predict, caplog):
    hair, skin, seen = load("hair"), load("skin"), []
    for expert, name in ((hair, "hair"), (skin, "skin")):
        expert.model = expert.model.clone()

        def hook(args, name=name):
            seen.append((name, args["cond_scale"]))
            return args["denoised"]

        expert.model.set_model_sampler_post_cfg_function(hook)
    with caplog.at_level(logging.WARNING):
        predict(chain((hair, {"weight": 1.5}), (skin, {"weight": 2.5})))
    assert seen == [("hair", 4.0)]
    assert any("expert 2 (small skin)" in record.getMessage() for record in caplog.records)


def test_the_clamp_of_other_experts_is_no_reason_to_warn(load, chain, predict, caplog):
    with caplog.at_level(logging.WARNING):
        predict(chain(load("hair"), load("skin")))
    assert not caplog.records


@pytest.mark.parametrize(
    ("attach", "rows"),
    [
        (lambda model: None, 3),
        (lambda model: model.set_model_sampler_post_cfg_function(lambda args: args["denoised"]), 3),
        (lambda model: model.set_model_attn1_patch(lambda q, k, v, options: (q, k, v)), 4),
    ],
    ids=["nothing", "guidance", "attention"],
)
def test_equal_nulls_of_clones_are_evaluated_once(load, chain, predict, passes, attach, rows):
    hair = passes.watch(load("hair"))
    other = copy.copy(hair)
    other.model = hair.model.clone()
    attach(other.model)
    predict(chain((hair, {"weight": 2.0}), (other, {"weight": 2.0})))
    assert sum(call.rows for call in passes.found) == rows
