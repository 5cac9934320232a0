"""The product of experts by brute force: every expert is loaded and run alone at every step."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import comfy.model_patcher
import comfy.model_sampling
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .variants import Expert

Point = tuple[Tensor, float]  # a point of a trajectory, from `own_point`
Prepared = tuple[BaseModel, dict[str, list], dict[str, Any]]  # one expert's network, processed conds and options


class BruteForceGuider(comfy.samplers.CFGGuider):
    """Eq. 10 in float64, written from the paper, without the pack.

    CFGGuider only scales noise and latents by the reference's MODEL; it has no conditioning.

    Args:
        experts: The experts, the reference first.
        hooks_ask: Whether the reference's CFG hooks call its network, and so act on its prediction alone.
    """

    def __init__(self, experts: Sequence[Expert], hooks_ask: bool = False):
        super().__init__(experts[0].model)
        self.experts = experts
        self.hooks_ask = hooks_ask

    def predict_noise(self, x: Tensor, timestep: Tensor, model_options: dict | None = None, seed=None) -> Tensor:
        """x0 at σ = `timestep`."""
        options, sigma = model_options or {}, float(timestep[0])
        levels = options["transformer_options"]["sample_sigmas"]
        active = [expert for expert in self.experts if self._is_active(expert, sigma)]
        point = own_point(_sampling(self.experts[0]), x, sigma)
        predictions = [self._ask(expert, *point, levels) for expert in active]
        conds, nulls = zip(*predictions, strict=True)

        masks = [_ones(x) if expert.mask is None else expert.mask.to(x).double()[:, None] for expert in active]
        shares = _shares([expert.reliability for expert in active], masks)
        unconditional = sum(a * null for a, null in zip(shares, nulls, strict=True))
        weights = [expert.weight * mask for expert, mask in zip(active, masks, strict=True)]
        guidance = sum(w * (cond - unconditional) for w, cond in zip(weights, conds, strict=True))
        if not any(name.endswith("cfg_function") for name in options):
            return (unconditional + guidance).float()
        scale = _shown_scale(active, sum(weights))
        if self.hooks_ask:
            cond, null = (each.float() for each in predictions[0])
            changed = self._through_hooks(cond, null, scale, x, timestep, options)
            return (unconditional + guidance).float() + changed - (null + scale * (cond - null))
        shown = (unconditional + guidance / scale).float(), unconditional.float()
        return self._through_hooks(*shown, scale, x, timestep, options)

    def _through_hooks(
        self, cond: Tensor, uncond: Tensor, scale: float, x: Tensor, timestep: Tensor, options: dict[str, Any]
    ) -> Tensor:
        """Apply the CFG hooks of the reference and of the sampler, which may call the reference's network."""
        out = [cond, uncond]
        with self._alone(self.experts[0], x, options["transformer_options"]["sample_sigmas"]) as (model, conds, own):
            roles = [conds["positive"], conds["negative"]]
            comfy.samplers.calc_cond_batch(model, [None, roles[1]], x, timestep, own)  # SAG reads its attention
            shown = {"input": x, "sigma": timestep, "timestep": timestep, "model": model, "model_options": options}
            for hook in options.get("sampler_pre_cfg_function", []):
                out = hook({"conds": roles, "conds_out": out, "cond_scale": scale, **shown})
            named = {"model_options": options, "cond": roles[0], "uncond": roles[1]}
            return comfy.samplers.cfg_function(model, *out, scale, x, timestep, **named)

    def _is_active(self, expert: Expert, sigma: float) -> bool:
        """Whether σ is in the expert's window, σ_start ≥ σ > σ_end, by the reference's noise levels."""
        sampling = _sampling(self.experts[0])
        first = math.inf if expert.start == 0 else float(sampling.percent_to_sigma(expert.start))
        last = -math.inf if expert.end == 1 else float(sampling.percent_to_sigma(expert.end))
        return first >= sigma > last

    def _ask(self, expert: Expert, unit: Tensor, angle: float, levels: Tensor) -> tuple[Tensor, Tensor]:
        """x0 under the condition and under the null, one at a time."""
        x, sigma = point_of(_sampling(expert), unit, angle)
        x = x.float().to(expert.model.load_device)
        sigma = x.new_full((len(x),), sigma)
        with self._alone(expert, x, levels) as (model, conds, options):
            calc = comfy.samplers.calc_cond_batch
            cond = calc(model, [conds["positive"], None], x, sigma, options)[0]
            null = calc(model, [None, conds["negative"]], x, sigma, options)[1]
        return cond.to(unit), null.to(unit)

    @contextmanager
    def _alone(self, expert: Expert, x: Tensor, levels: Tensor) -> Iterator[Prepared]:
        """Prepare an expert as CFGGuider prepares its MODEL before sampling, and clean up after."""
        patcher = _hookable(expert)
        conds = {"positive": expert.condition, "negative": expert.null}
        conds = {role: _with_fresh_hooks(comfy.sampler_helpers.convert_cond(value)) for role, value in conds.items()}
        options = comfy.model_patcher.create_model_options_clone(patcher.model_options)
        comfy.samplers.preprocess_conds_hooks(conds)
        comfy.sampler_helpers.prepare_model_patcher(patcher, conds, options)
        comfy.samplers.filter_registered_hooks_on_conds(conds, options)
        _, conds, loaded = comfy.sampler_helpers.prepare_sampling(patcher, x.shape, conds, options)
        options["transformer_options"]["sample_sigmas"] = levels
        patcher.pre_run()
        try:
            yield patcher.model, comfy.samplers.process_conds(patcher.model, x, conds, patcher.load_device), options
        finally:
            patcher.cleanup()
            patcher.restore_hook_patches()
            comfy.sampler_helpers.cleanup_models(conds, loaded)


def own_point(sampling: Any, x: Tensor, sigma: float) -> Point:
    """A point of a MODEL's trajectory, in a form that is the same for all MODELs.

    A trajectory is α x0 + σ n. Divided by √(α² + σ²), it is cos θ x0 + sin θ n with θ = atan(σ/α).

    Returns:
        cos θ x0 + sin θ n in float64, and θ.
    """
    alpha = 1.0 - sigma if isinstance(sampling, comfy.model_sampling.CONST) else 1.0
    return x.double() / math.hypot(alpha, sigma), math.atan2(sigma, alpha)


def point_of(sampling: Any, unit: Tensor, angle: float) -> tuple[Tensor, float]:
    """The inverse of `own_point` for any MODEL, clamped to its noise levels; returns x in float64, and σ."""
    flow = isinstance(sampling, comfy.model_sampling.CONST)
    lowest, highest = (
        math.atan2(sigma, 1.0 - sigma if flow else 1.0)
        for sigma in (float(sampling.sigma_min), float(sampling.sigma_max))
    )
    angle = min(max(angle, lowest), highest)
    cos, sin = math.cos(angle), math.sin(angle)
    stretch = 1.0 / (cos + sin) if flow else 1.0 / cos
    return unit * stretch, sin * stretch


def _hookable(expert: Expert) -> ModelPatcher:
    """The expert's MODEL or, if it is dynamic and there are hooks, the classic one that CFGGuider uses instead."""
    hooked = any("hooks" in entry for _, entry in [*expert.condition, *expert.null])
    dynamic = hasattr(expert.model, "is_dynamic") and expert.model.is_dynamic()
    return expert.model.get_non_dynamic_delegate() if hooked and dynamic else expert.model


def _sampling(expert: Expert) -> Any:
    return expert.model.get_model_object("model_sampling")


def _ones(x: Tensor) -> Tensor:
    return torch.ones(1, 1, *x.shape[2:], dtype=torch.float64, device=x.device)


def _shares(reliabilities: Sequence[float], masks: Sequence[Tensor]) -> list[Tensor]:
    """a_j(p) = a_j m_j(p) / Σ_k a_k m_k(p) where that sum is positive, else a_j / Σ a."""
    covered = sum(a * m for a, m in zip(reliabilities, masks, strict=True))
    bare = torch.tensor(reliabilities, dtype=torch.float64) / sum(reliabilities)
    return [
        torch.where(covered > 0, a * m / covered, share) for a, m, share in zip(reliabilities, masks, bare, strict=True)
    ]


def _shown_scale(active: Sequence[Expert], total: Tensor) -> float:
    """The CFG scale shown to hooks: W, or the largest |W| of a map; 1 instead of 0."""
    masked = any(expert.mask is not None for expert in active)
    return (float(total.abs().max()) if masked else float(total.mean())) or 1.0


def _with_fresh_hooks(conds: list[dict]) -> list[dict]:
    """Conds with cloned hooks, whose keyframes have no state and switch without delay to the one in force."""
    for cond in conds:
        if "hooks" in cond:
            (keyframes,) = {hook.hook_keyframe for hook in cond["hooks"].hooks}
            cond["hooks"] = cond["hooks"].clone()
            cond["hooks"].set_keyframes_on_hooks(keyframes)
            for keyframe in cond["hooks"].hooks[0].hook_keyframe.keyframes:
                keyframe.guarantee_steps = 0
    return conds
