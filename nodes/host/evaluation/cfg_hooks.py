"""ComfyUI's CFG hooks on a product of several predictions.

Most hooks change guidance (RescaleCFG, APG, Mahiro), and that of the whole product is meant. Others perturb the
network, ask it once more and guide away from the answer (PAG, SEG, SAG, skipped layers). They compare predictions of
one network, so they are handed the first expert's own, and the change that they make to these is added to the product.
If they compared their answer with the product, they would guide away from the first expert even with no perturbation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from ..comfyui.network_calls import undoing, when_asked

Hook = Callable[[dict[str, Any]], Any]
Args = dict[str, Any]


@dataclass(frozen=True)
class Own:
    """The first expert's own predictions.

    Attributes:
        cond: D_1 under its condition, shape (B, C, …).
        uncond: D_1 under its null; U if that isn't asked.
        mask: Where the expert acts, 0…1, broadcasts to the sample; None is everywhere.
    """

    cond: Tensor
    uncond: Tensor
    mask: Tensor | None


class CfgHooks:
    """The CFG hooks of a run; learns which of them ask the network."""

    def __init__(self) -> None:
        self._asking: list[Hook] = []

    def around(self, options: dict[str, Any], own: Own | None) -> dict[str, Any]:
        """model_options in which hooks that ask the network work on the first expert's own predictions.

        A hook is given the product until it asks for the first time. That answer is dropped, with what the hook has
        kept in the options meanwhile, and it runs again. The options that hooks are given are always the reference's.

        Args:
            options: The reference's, with its hooks.
            own: The first expert's predictions; None if it isn't asked, and then hooks that ask do nothing.
        """
        changed = dict(options)
        for name, kind in _KINDS.items():
            hooks = options.get(name)
            if isinstance(hooks, list):
                changed[name] = [partial(self._run, hook, kind, options, own) for hook in hooks]
            elif hooks is not None:
                changed[name] = partial(self._run, hooks, kind, options, own)
        return changed

    def _run(self, hook: Hook, kind: _Kind, options: dict[str, Any], own: Own | None, args: Args) -> Any:
        args = {**args, "model_options": options}
        if hook not in self._asking:
            asked: list[bool] = []
            undo = undoing(options)
            with when_asked(options, lambda: asked.append(True)):
                result = hook({**args, **kind.kept(args)})
            if not asked:
                return result
            undo()
            self._asking.append(hook)
        if own is None:
            return kind.value(args)
        shown = {**args, **kind.shown(args, own.cond.clone(), own.uncond.clone())}
        plain = kind.value({**args, **kind.shown(args, own.cond, own.uncond)})
        return _with_change(kind.value(args), hook(shown), plain, own.mask)


@dataclass(frozen=True)
class _Kind:
    """One of ComfyUI's kinds of hooks.

    Attributes:
        shown: From a hook's arguments, a cond and an uncond, the arguments that hold these.
        value: From a hook's arguments its result if it changes nothing.
        kept: Copies of the arguments that a hook may change in place and return.
    """

    shown: Callable[[Args, Tensor, Tensor], Args]
    value: Callable[[Args], Any]
    kept: Callable[[Args], Args]


_KINDS = {
    "sampler_pre_cfg_function": _Kind(
        shown=lambda args, cond, uncond: {"conds_out": [cond, uncond]},
        value=lambda args: args["conds_out"],
        kept=lambda args: {"conds_out": [out.clone() for out in args["conds_out"]]},
    ),
    "sampler_cfg_function": _Kind(
        shown=lambda args, cond, uncond: {
            "cond": args["input"] - cond,
            "uncond": args["input"] - uncond,
            "cond_denoised": cond,
            "uncond_denoised": uncond,
        },
        value=lambda args: _guided(args["cond"], args["uncond"], args["cond_scale"]),
        kept=lambda args: {name: args[name].clone() for name in ("cond", "uncond")},
    ),
    "sampler_post_cfg_function": _Kind(
        shown=lambda args, cond, uncond: {
            "denoised": _guided(cond, uncond, args["cond_scale"]),
            "cond_denoised": cond,
            "uncond_denoised": uncond,
        },
        value=lambda args: args["denoised"],
        kept=lambda args: {"denoised": args["denoised"].clone()},
    ),
}


def _guided(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """The result of ComfyUI's `cfg_function` without hooks."""
    return uncond + (cond - uncond) * scale


def _with_change(combined: Any, changed: Any, plain: Any, mask: Tensor | None) -> Any:
    """The product's tensors plus the change that a hook made to others, within a mask."""
    if not isinstance(combined, Tensor):
        return [_with_change(*each, mask) for each in zip(combined, changed, plain, strict=True)]
    change = changed - plain
    return combined + (change if mask is None else mask * change)
