"""The product as an ordinary MODEL: whichever sampler runs it, the other experts run with it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from ..chain.conditioning_hooks import has_hooks, hooks_of_all_passes
from ..chain.expert_chain import PRODUCT_KEY, Conditioning, Experts, WiredTerm
from ..evaluation.requests import NEGATIVE, POSITIVE
from ..files.expert_model import implicit_null
from .guider import ProductGuider

# Methods of a guider that a run that was taken over never calls, so that a guider with one of its own is refused.
_LEFT_OUT = ("outer_sample", "inner_sample", "__call__", "outer_predict_noise")

# What the node that makes the MODEL has of the reference expert's inputs.
_OWN_INPUTS = ("model", "reliability", "vae")

# Nodes that make a guider of their own, by its class, and how they take another.
_TAKES_A_GUIDER = {"SharkGuider": "SharkOptions GuiderInput, which goes to the options of ClownsharKSampler"}


def product_model(reference: WiredTerm, experts: Experts) -> ModelPatcher:
    """Make a MODEL that is sampled as the product of itself and other experts.

    Args:
        reference: The reference expert, with the MODEL. The guider that samples the product gives this expert's
            condition, null and weight: they are its positive, negative and cfg.
        experts: The other experts.

    Returns:
        A clone, to which more can be attached; that then belongs to the reference expert alone.
    """
    patcher = reference.model.clone()
    takeover = _Takeover(weakref.ref(patcher), reference, experts)
    patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, PRODUCT_KEY, takeover)
    return patcher


@dataclass(frozen=True, eq=False)
class _Takeover:
    """ComfyUI calls this when a guider, prepared for its one model, is about to load it and sample.

    It keeps nothing of a run, so the MODEL can be sampled again, and by several samplers.

    Attributes:
        made: The MODEL that Product as Model made. Nodes that attach something to this one make clones.
        given: The reference expert, with the MODEL that the node was given.
        experts: The other experts.
    """

    made: Callable[[], ModelPatcher | None]
    given: WiredTerm
    experts: Experts

    def __call__(
        self, executor: WrapperExecutor, noise: Tensor, latent_image: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Sample the product in place of the one model.

        Raises:
            ValueError: If the guider isn't led by positive, negative and cfg alone, or the experts cannot be combined.
        """
        host = executor.class_obj
        _check_guider(host)
        return _HostedGuider(host, self._chain(host)).go_on(executor, noise, latent_image, *args, **kwargs)

    def _chain(self, host: comfy.samplers.CFGGuider) -> Experts:
        reference = replace(
            self.given,
            model=host.model_patcher,
            condition=_conditioning(host.conds.get(POSITIVE)),
            null=_conditioning(host.conds.get(NEGATIVE)) or implicit_null(host.model_patcher),
            weight=host.cfg,
        )
        following = (replace(expert, place=expert.place + 1) for expert in self.experts)
        return reference, *(self._on_reference(expert, reference) for expert in following)

    def _on_reference(self, expert: WiredTerm, reference: WiredTerm) -> WiredTerm:
        """The expert, on the reference's MODEL if both have the same, so that the two run in one batch.

        Experts with hooks keep theirs: hooks have to be registered with a MODEL before this wrapper is called.
        """
        same = expert.model is self.given.model and reference.model is self.made()
        if not same or has_hooks(expert) or hooks_of_all_passes(reference):
            return expert
        return replace(expert, model=reference.model)


class _HostedGuider(ProductGuider):
    """A product that goes on where another guider, the host, has prepared the reference expert."""

    def __init__(self, host: comfy.samplers.CFGGuider, experts: Experts):
        super().__init__(experts)
        self._host = _over_product(host, self._predict) if _own(host, "predict_noise") else None
        self.cfg = host.cfg
        self.model_options = host.model_options
        given = {**self.original_conds, **host.conds}
        self.conds = {name: [dict(entry) for entry in conds] for name, conds in given.items()}

    def go_on(
        self, executor: WrapperExecutor, noise: Tensor, latent_image: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Go on with the host's call of `outer_sample`, from which the wrappers of other packs are kept.

        Noise, latent and result have the latent's shape, (B, C, …), see `CFGGuider.outer_sample`.
        """
        with self.running(latent_image, kwargs.get("latent_shapes")):
            rest = WrapperExecutor.new_class_executor(self.outer_sample, self, executor.wrappers, executor.idx + 1)
            return rest.execute(noise, latent_image, *args, **kwargs)

    def node_of(self, index: int, name: str) -> str | None:
        """Id of the node that has an input of an expert; the reference's condition, null and weight are the host's."""
        return super().node_of(index, name) if index > 0 or name in _OWN_INPUTS else None

    def predict_noise(self, x: Tensor, timestep: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The product's prediction, through the `predict_noise` of the host's class if it has one of its own.

        Wrappers around this method, and the host's, may change `cfg` from step to step.
        """
        if self._host is None:
            return self._predict(self.cfg, x, timestep, *args, **kwargs)
        self._host.cfg = self.cfg
        denoised = self._host.predict_noise(x, timestep, *args, **kwargs)
        self.cfg = self._host.cfg
        return denoised

    def _predict(self, cfg: float, x: Tensor, timestep: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        planner = self.product.planner
        weights = [term.weight for term in planner.combination.terms]
        if weights[0] != cfg:
            planner.change(planner.combination.with_weights([cfg, *weights[1:]]))
        return super().predict_noise(x, timestep, *args, **kwargs)


class _OverProduct(comfy.samplers.CFGGuider):
    """Takes CFGGuider's place as the parent of a guider's class, so that `super().predict_noise` is the product."""

    predict_product: Callable[..., Tensor]

    def predict_noise(self, *args: Any, **kwargs: Any) -> Tensor:
        """The product's x0, at the weight that `cfg` now is."""
        return self.predict_product(self.cfg, *args, **kwargs)

    def _refuse(self, *value: Any) -> Any:
        raise _refusal_of(self)

    inner_model = conds = property(_refuse, _refuse)  # they are one expert's


def _over_product(host: comfy.samplers.CFGGuider, predict_product: Callable[..., Tensor]) -> comfy.samplers.CFGGuider:
    """A guider of a class with a `predict_noise` of its own, and its state; `super().predict_noise` is the product."""
    own = {"predict_product": staticmethod(predict_product)}
    kind = type(type(host).__name__, (type(host), _OverProduct), own)
    over: comfy.samplers.CFGGuider = object.__new__(kind)
    over.__dict__ = vars(host)
    return over


def _check_guider(host: Any) -> None:
    if isinstance(host, ProductGuider):
        raise ValueError(
            "Expected an expert that is a model and got a product from Product as Model as expert 1; chain that "
            "product's experts instead."
        )
    predict = _own(host, "predict_noise")
    if any(_own(host, name) for name in _LEFT_OUT) or (predict and not _asks_its_parent(host, predict)):
        raise _refusal_of(host)


def _own(host: Any, name: str) -> Callable | None:
    """A guider's method, if it isn't CFGGuider's."""
    method = getattr(host, name)
    function = getattr(method, "__func__", method)
    return None if function is getattr(comfy.samplers.CFGGuider, name) else function


def _asks_its_parent(host: Any, method: Callable) -> bool:
    """Whether the `predict_noise` of a guider's class may call its parent's; known before anything is loaded."""
    code = getattr(method, "__code__", None)
    return "predict_noise" not in vars(host) and code is not None and "super" in code.co_names


def _refusal_of(host: Any) -> ValueError:
    other_way = _TAKES_A_GUIDER.get(type(host).__name__)
    return ValueError(
        "Expected a guider that is led by one positive, one negative and cfg, as KSampler and CFGGuider are, and "
        f"got {type(host).__name__}, which would not see the other experts; use one of those, or Product Guider"
        f"{f' with {other_way}' if other_way else ''}."
    )


def _conditioning(conds: list[dict] | None) -> Conditioning | None:
    """A guider's converted conditions as the CONDITIONING they came from."""
    return None if conds is None else [[entry.get("cross_attn"), entry] for entry in conds]
