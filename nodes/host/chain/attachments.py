"""What nodes attach to MODELs: wrappers around a run, its sampler or passes, and hooks on guidance.

CFGGuider runs a MODEL's wrappers around a run for its one MODEL, the first expert's, around the whole product; those of
the others are run here. EasyCache, for one, sets itself up in such a wrapper and acts in the MODEL's passes, so it
works on any expert whose wrapper is run. Of the functions here, `check_wrappers` is called before a run,
`within_wrappers` as it begins, and `naming_failed_experts` around each batch; the others ask what is attached.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from torch import Tensor, equal

from .expert_chain import Experts

logger = logging.getLogger(__name__)

PREDICTING = (WrappersMP.CALC_COND_BATCH, WrappersMP.APPLY_MODEL, WrappersMP.DIFFUSION_MODEL)
"""Wrappers of these kinds run in an expert's prediction; guiders run all others, for the reference's MODEL."""

SAMPLER_WIDE = (WrappersMP.PREDICT_NOISE, WrappersMP.SAMPLER_SAMPLE)
"""Wrappers of these kinds run around the prediction of the whole product, or around the sampler."""
_FIXED = ("noise", "latent_image", "sampler", "sigmas", "denoise_mask")  # the first arguments of `outer_sample`

CFG_HOOKS = ("sampler_cfg_function", "sampler_pre_cfg_function", "sampler_post_cfg_function")
"""Options of a MODEL that hold hooks on guidance."""


def wrappers_of(patcher: ModelPatcher, *kinds: str) -> Iterator[tuple[str, str | None, Callable]]:
    """The wrappers of some kinds that nodes put on a MODEL or into its options, each with its kind and key."""
    options = patcher.model_options.get("transformer_options", {})
    for kind in kinds:
        for held in (patcher.wrappers, options.get("wrappers", {})):
            for key, wrappers in held.get(kind, {}).items():
                yield from ((kind, key, wrapper) for wrapper in wrappers)


def check_wrappers(experts: Experts) -> None:
    """Refuse wrappers of the whole product's prediction, or of the sampler, on a MODEL that isn't the first expert's.

    LazyCache has one. Wrappers that the first expert's MODEL has too are allowed: they run there, around the product.

    Raises:
        ValueError: If another expert has one.
    """
    first = experts[0]
    of_first = [(kind, wrapper) for kind, _, wrapper in wrappers_of(first.model, *SAMPLER_WIDE)]
    for expert in experts[1:]:
        for kind, key, wrapper in wrappers_of(expert.model, *SAMPLER_WIDE):
            if (kind, wrapper) not in of_first:
                raise ValueError(
                    f"Expected nothing on the MODEL of {expert.label} that works on the prediction of the whole "
                    f"product and got {key or 'a node'} ({kind}); attach it to {first.label}, or leave it out."
                )


def within_wrappers(
    run: Callable[..., Tensor], guider: comfy.samplers.CFGGuider, of_first: Sequence[Callable], name: str
) -> Callable[..., Tensor]:
    """A run inside the OUTER_SAMPLE wrappers of one MODEL, in which they set up their state.

    Args:
        run: Samples the product, with the arguments of `outer_sample`.
        guider: The guider that the wrappers see: of this MODEL alone, with its prepared options.
        of_first: Those of the first expert's MODEL. Where this MODEL has them too, their changes to the whole run have
            already been made.
        name: Name of the MODEL's experts in messages.

    Returns:
        A function like `run`. It raises ValueError before the run if a wrapper of this MODEL alone changes the start of
        all experts.
    """
    wrappers = get_all_wrappers(WrappersMP.OUTER_SAMPLE, guider.model_options, is_model_options=True)
    if not wrappers:
        return run

    def wrapped(*args: Any, **kwargs: Any) -> Tensor:
        results: list[Tensor] = []

        def go_on(*handed: Any, **named: Any) -> Tensor:
            if any(wrapper not in of_first for wrapper in wrappers):
                _check_unchanged(args, handed, name)
            results.append(run(*args, **kwargs))
            return results[-1]

        result = WrapperExecutor.new_class_executor(go_on, guider, wrappers).execute(*args, **kwargs)
        if not results:
            raise ValueError(
                f"Expected nodes on the MODEL of {name} that let the run begin and got one that answers in its place "
                f"({WrappersMP.OUTER_SAMPLE}); attach it to the first expert, or leave it out."
            )
        if result is not results[-1]:
            logger.warning(
                "A node on the MODEL of %s changed the result of the run; only the first expert's may.", name
            )
        return results[-1]

    return wrapped


def _check_unchanged(before: Sequence, after: Sequence, name: str) -> None:
    for what, given, handed in zip(_FIXED, before, after, strict=False):
        same = given is handed
        if isinstance(given, Tensor) and isinstance(handed, Tensor):
            same = same or (given.shape == handed.shape and equal(given, handed))
        if not same:
            raise ValueError(
                f"Expected nodes on the MODEL of {name} that leave the {what} of the run alone and got one that "
                f"changes it ({WrappersMP.OUTER_SAMPLE}); attach it to the first expert, or leave it out."
            )


@contextmanager
def naming_failed_experts(experts: Experts, asked: Sequence[int]) -> Iterator[None]:
    """Explain a failed pass by a node that only some experts' MODELs have around their passes.

    Such a node may look up in the first expert's MODEL how to treat the ControlNets of all experts, and then works only
    if every expert's MODEL has it.

    Args:
        experts: The chain.
        asked: The experts whose predictions the pass is for.

    Raises:
        ValueError: In place of AttributeError and TypeError, if some MODELs have such a node and others don't.
    """
    try:
        yield
    except (AttributeError, TypeError) as error:
        wrapped = [expert.label for expert in experts if "model_function_wrapper" in expert.model.model_options]
        if len(wrapped) in (0, len(experts)):
            raise
        failed = dict.fromkeys(experts[index].label for index in asked)
        raise ValueError(
            f"A pass of the network for {' and '.join(failed)} failed ({type(error).__name__}: {error}). If that comes "
            f"from a node that is only on the MODEL of {' and '.join(wrapped)} (Tiled Diffusion, for one), attach it "
            "to every expert, or remove it."
        ) from error


def hooks_on_guidance(patcher: ModelPatcher) -> dict[str, list[Callable]]:
    """The hooks on guidance in a MODEL's options, by kind; ComfyUI holds one or a list of each."""
    given = {kind: patcher.model_options.get(kind) for kind in CFG_HOOKS}
    return {kind: hook if isinstance(hook, list) else [hook] for kind, hook in given.items() if hook}


def read_nulls(experts: Experts) -> Collection[int]:
    """The first expert, if a node's hook reads more of its null pass than the prediction; SAG reads its attention."""
    return (0,) if experts[0].model.model_options.get("disable_cfg1_optimization") else ()
