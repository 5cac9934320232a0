"""A whole sampling run in one call."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..diffusion.respacing import Spacing, timesteps_of_run
from ..diffusion.schedule import Flow, NoiseSchedule
from ..expert.expert import Expert
from ..product.denoisers.denoiser import ProductDenoiser
from ..product.denoisers.joint_denoiser import JointDenoiser, several_spaces
from ..product.denoisers.united import UnitedDenoiser
from ..product.methods.lift_scores import LiftScores
from ..product.methods.method import Method, Setting
from ..product.rules.eq10 import EQ10
from ..product.rules.rule import Rule
from ..product.terms.term import Term
from .ddim import sample_ddim
from .types import Callback, Sampler

_FIRST_OF_FLOW = 0.999  # σ is infinite at s = 1


def sigmas_for(schedule: NoiseSchedule, spacing: Spacing) -> list[float]:
    """Descending noise levels at spaced timesteps of a schedule, then 0.

    Those of a flow, whose timesteps are continuous, are even in s = σ/(1 + σ), from 0.999 on.

    Args:
        schedule: The reference's.
        spacing: See `timesteps_of_run`; for a flow a number of steps.

    Raises:
        ValueError: If the spacing cannot be read, or has more timesteps than there are.
    """
    if isinstance(schedule, Flow):
        steps = _steps_of_flow(spacing)
        shares = [_FIRST_OF_FLOW * (1 - step / steps) for step in range(steps)]
        return [*(s / (1 - s) for s in shares), 0.0]
    timesteps = timesteps_of_run(spacing, len(schedule))
    return [*reversed(schedule.log_sigmas[timesteps].exp().tolist()), 0.0]


def _steps_of_flow(spacing: Spacing) -> int:
    text = str(spacing)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(
            f'Expected a number of steps, since the first expert is a flow, and got {spacing!r}; use "20", say.'
        )
    return int(text)


def sample_product(
    terms: Sequence[Term],
    noise: Tensor,
    spacing: Spacing = "100",
    *,
    sampler: Sampler = sample_ddim,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    rule: Rule = EQ10,
    settings: Sequence[Setting | Method] = (),
    temperature: float = 1.0,
    **options: Any,
) -> Tensor:
    """Sample from united experts on the first expert's timesteps.

    Example:
        >>> hair, skin = load_expert("hair"), load_expert("skin")
        >>> conditions = [hair.encoder.encode(hair_map), skin.encoder.encode(skin_map)]
        >>> terms = [Term(e, c, c.null(), weight=2.0) for e, c in zip([hair, skin], conditions)]
        >>> noise = torch.randn(1, *hair.sample_shape, generator=torch.Generator().manual_seed(0))
        >>> faces = hair.decode(sample_product(terms, noise))
        >>> others = hair.decode(sample_product(terms, noise, sampler=sample_ddim, eta=1.0))

    Args:
        terms: The experts with their conditions; the first is the reference. They may be of several spaces: pictures
            of different sizes, latents of different VAEs, see `JointDenoiser`.
        noise: Standard normal start noise, x_T of Eq. 9, shape (B, C, H, W), in float32 or float64; networks may be
            in half precision.
        spacing: Timesteps to visit; see `timesteps_of_run`.
        sampler: How noise is removed; one of `SAMPLERS`, or any other of their signature.
        generator: Source of the noise that the sampler adds.
        callback: See `Callback`.
        rule: How predictions are combined: `EQ10`, or `OWN_NULL` for composable diffusion.
        settings: What is chosen beyond the paper: `Passes(threshold=0.98, refresh=3)`, say, which skips passes. Or
            methods themselves: `LiftScores(terms)` scores the samples by the experts, by the run's own passes.
        temperature: Factor of the start noise, in every space; published upsamplers want 0.997.
        **options: Options of the sampler, such as `eta` of DDIM, 0…1.

    Returns:
        Samples in [−1, 1] for pixel experts, shape of the noise.

    Raises:
        ValueError: If the sampler or the rule is given by its name, or settings not in a list; if something else is
            among the terms; if the noise has not the channels of the first expert's samples, is of a height or width
            that a network of their space doesn't take, or is in half precision; if the terms cannot be combined at
            every noise level of the run, or the sampler has no such option or can't use its value, before any network
            is called; or if the sampler wants a learned variance and the reference has none.
    """
    if not callable(sampler):
        raise ValueError(
            f'Expected a function as sampler and got {sampler!r}; take it from SAMPLERS, as SAMPLERS["ddim"].'
        )
    check_terms(terms)
    if terms:  # else the product refuses itself
        _check_noise(noise, [term.expert for term in terms])
    denoiser = denoiser_of(terms, noise, rule, settings)
    sigmas = sigmas_for(denoiser.reference.schedule, spacing)
    x = denoiser.start_noise(noise)
    denoiser.check_run(x, sigmas)
    x = first_sample(temperature * x, sigmas[0])

    def report(step: int, sigma: float, x0: Tensor) -> None:
        if callback is not None:
            callback(step, sigma, denoiser.reference_part(x0))

    with denoiser.running(sigmas):
        return denoiser.reference_part(sampler(denoiser, x, sigmas, generator=generator, callback=report, **options))


def first_sample(noise: Tensor, sigma: float) -> Tensor:
    """The sample, x0 + σ·n, that a run begins with at noise level σ, of standard normal noise.

    x_T of the variance-preserving form is the noise itself, also where the run begins below the schedule's end.
    """
    return noise * math.hypot(1.0, sigma)


def check_terms(terms: Sequence[Any]) -> None:
    """Refuse what is no term.

    Raises:
        ValueError: Something else is among the terms.
    """
    strangers = [type(each).__name__ for each in terms if not isinstance(each, Term)]
    if strangers:
        raise ValueError(
            f"Expected terms and got {', '.join(strangers)}; make one of each expert, as "
            "`Term(expert, condition, condition.null(), weight=2.0)`."
        )


def _check_noise(noise: Tensor, experts: Sequence[Expert]) -> None:
    reference = experts[0]
    if not isinstance(noise, Tensor) or not reference.holds(noise):
        expected = ", ".join(map(str, reference.sample_shape))
        got = f"shape {tuple(noise.shape)}" if isinstance(noise, Tensor) else type(noise).__name__
        raise ValueError(
            f"Expected noise as a tensor of shape (batch, {expected}), as samples of {reference.name} are, and got "
            f"{got}; draw it by `torch.randn(1, *expert.sample_shape)`."
        )
    if noise.dtype not in (torch.float32, torch.float64):
        # At the levels at which runs begin float16 overflows, and bfloat16 rounds timesteps to other ones.
        got = str(noise.dtype).removeprefix("torch.")
        raise ValueError(
            f"Expected noise in float32 or float64 and got {got}; draw it in float32, also where networks are in half "
            "precision."
        )
    for expert in experts:
        divisor = getattr(expert.network, "divisor", 1)
        if expert.space == reference.space and any(side % divisor for side in noise.shape[2:]):
            raise ValueError(
                f"Expected noise whose height and width are multiples of {divisor}, as the network of {expert.name} "
                f"takes them, and got {noise.shape[2]}×{noise.shape[3]}; draw it by `torch.randn(1, *expert."
                "sample_shape)`."
            )


def denoiser_of(
    terms: Sequence[Term], noise: Tensor, rule: Rule, settings: Sequence[Setting | Method]
) -> UnitedDenoiser:
    """The product that `sample_product` samples from, of one space or several.

    Raises:
        ValueError: If the experts cannot be combined, or lift scores are wanted in several spaces.
    """
    if not several_spaces(terms):
        return ProductDenoiser(terms, rule=rule, settings=settings)
    denoiser = JointDenoiser(terms, (noise.shape[2], noise.shape[3]), rule=rule, settings=settings)
    if any(isinstance(setting, LiftScores) for setting in settings):
        raise ValueError(
            "Expected experts of one latent space to score samples by and got several spaces; leave out `LiftScores`, "
            "or combine experts of one space."
        )
    return denoiser
