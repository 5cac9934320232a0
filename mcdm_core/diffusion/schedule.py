"""Noise schedules: conversions between timesteps, noise levels and (α, σ).

Everywhere in this package σ without a subscript is the *noise level* of the variance-exploding form x = x0 + σ·n, the
one quantity that experts with different schedules share; (α_t, σ_t) are the factors of x_t = α_t·x0 + σ_t·n, the form a
network was trained on.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Schedule:
    """Variance-preserving schedule of discrete timesteps 0…T−1, α_t² + σ_t² = 1.

    At a fractional timestep, log σ is interpolated linearly between its neighbours. The arithmetic is float64 on the
    CPU (the arguments are a handful of numbers); results have the device and floating dtype of the argument, and are
    float64 for plain numbers.

    Args:
        alphas_cumprod: ᾱ_t = α_t², strictly falling inside (0, 1), shape (T,).

    Raises:
        ValueError: If ᾱ is not such a sequence.
    """

    def __init__(self, alphas_cumprod: Tensor):
        ac = torch.as_tensor(alphas_cumprod, dtype=torch.float64, device="cpu")
        if ac.ndim != 1 or len(ac) < 2 or not (ac[0] < 1 and ac[-1] > 0 and (ac.diff() < 0).all()):
            raise ValueError(
                f"Expected two or more cumulative alphas that fall inside (0, 1) and got shape {tuple(ac.shape)}, "
                f"from {ac.flatten()[:1].tolist()} to {ac.flatten()[-1:].tolist()}; check the betas."
            )
        self.alphas_cumprod = ac
        self.log_sigmas = 0.5 * (torch.log1p(-ac) - ac.log())

    @classmethod
    def from_betas(cls, betas: Tensor) -> "Schedule":
        """Schedule whose step t keeps 1 − β_t of the signal's variance, β of shape (T,)."""
        return cls(torch.cumprod(1 - torch.as_tensor(betas, dtype=torch.float64, device="cpu"), dim=0))

    @classmethod
    def linear(cls, steps: int = 1000) -> "Schedule":
        """β from 1e-4 to 0.02 for 1000 steps, scaled to any other number (Ho et al., 2020)."""
        scale = 1000 / steps
        betas = torch.linspace(scale * 1e-4, scale * 0.02, steps, dtype=torch.float64, device="cpu")
        return cls.from_betas(betas)

    @classmethod
    def cosine(cls, steps: int = 1000) -> "Schedule":
        """ᾱ(s) = cos²((s + 0.008)/1.008 · π/2), β at most 0.999 (Nichol & Dhariwal, 2021)."""
        s = torch.arange(steps + 1, dtype=torch.float64, device="cpu") / steps
        bar = torch.cos((s + 0.008) / 1.008 * math.pi / 2) ** 2
        return cls.from_betas((1 - bar[1:] / bar[:-1]).clamp(max=0.999))

    @classmethod
    def named(cls, name: str) -> "NoiseSchedule":
        """Schedule by the name a checkpoint stores: "linear", "cosine", "squaredcos_cap_v2" (GLIDE's cosine) or "flow".

        Raises:
            ValueError: For any other name.
        """
        known: dict[str, Callable[[], NoiseSchedule]] = {
            "linear": cls.linear,
            "cosine": cls.cosine,
            "squaredcos_cap_v2": cls.cosine,
            "flow": Flow,
        }
        if name not in known:
            raise ValueError(f"Expected a schedule among {', '.join(known)} and got {name!r}; correct the name.")
        return known[name]()

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    @property
    def betas(self) -> Tensor:
        """β_t = 1 − ᾱ_t/ᾱ_{t−1} with ᾱ_{−1} = 1, float64, shape (T,)."""
        previous = torch.cat([self.alphas_cumprod.new_ones(1), self.alphas_cumprod[:-1]])
        return 1 - self.alphas_cumprod / previous

    @property
    def sigma_min(self) -> float:
        """σ at timestep 0."""
        return self.log_sigmas[0].exp().item()

    @property
    def sigma_max(self) -> float:
        """σ at timestep T−1."""
        return self.log_sigmas[-1].exp().item()

    def sigma(self, t: Tensor | float) -> Tensor:
        """Noise level √((1−ᾱ)/ᾱ) at timesteps t of any shape, clamped to 0…T−1."""
        t64, restore = _to_float64(t)
        t64 = t64.clamp(0, len(self) - 1)
        low = t64.floor().long().clamp(max=len(self) - 2)
        return restore(torch.lerp(self.log_sigmas[low], self.log_sigmas[low + 1], t64 - low).exp())

    def t(self, sigma: Tensor | float) -> Tensor:
        """Fractional timesteps at noise levels σ ≥ 0 of any shape, clamped to 0…T−1."""
        sigma64, restore = _to_float64(sigma)
        log_sigma = sigma64.log().clamp(self.log_sigmas[0], self.log_sigmas[-1])
        high = torch.searchsorted(self.log_sigmas, log_sigma).clamp(1, len(self) - 1)
        below, above = self.log_sigmas[high - 1], self.log_sigmas[high]
        return restore(high - 1 + (log_sigma - below) / (above - below))

    def alpha(self, sigma: Tensor | float) -> Tensor:
        """α_t = 1/√(1 + σ²)."""
        sigma64, restore = _to_float64(sigma)
        return restore((1 + sigma64**2).rsqrt())

    def alpha_sigma(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(α_t, σ_t) = (1, σ)/√(1 + σ²), each of the shape of t."""
        t64, restore = _to_float64(t)
        sigma = self.sigma(t64)
        alpha = self.alpha(sigma)
        return restore(alpha), restore(alpha * sigma)


class Flow:
    """Rectified flow: x_t = (1 − s)·x0 + s·n with s = t/1000, so σ = s/(1 − s) runs from 0 to infinity."""

    sigma_min = 0.0
    sigma_max = math.inf
    steps = 1000

    def sigma(self, t: Tensor | float) -> Tensor:
        """Noise level s/(1 − s) at timesteps t, infinite at t = T."""
        t64, restore = _to_float64(t)
        s = (t64 / self.steps).clamp(0, 1)
        return restore(s / (1 - s))

    def t(self, sigma: Tensor | float) -> Tensor:
        """Timesteps T·σ/(1 + σ) at noise levels σ ≥ 0, infinity included."""
        sigma64, restore = _to_float64(sigma)
        return restore(self.steps * (1 - 1 / (1 + sigma64)))

    def alpha(self, sigma: Tensor | float) -> Tensor:
        """α_t = 1 − s = 1/(1 + σ)."""
        sigma64, restore = _to_float64(sigma)
        return restore(1 / (1 + sigma64))

    def alpha_sigma(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(α_t, σ_t) = (1 − s, s)."""
        t64, restore = _to_float64(t)
        s = (t64 / self.steps).clamp(0, 1)
        return restore(1 - s), restore(s)


NoiseSchedule = Schedule | Flow
"""The schedule that a network was trained on."""


def align_noise_level(
    x: Tensor, sigma: Tensor, sigma_min: float, sigma_max: float, alpha: Tensor | float = 1.0
) -> tuple[Tensor, Tensor]:
    """Carry a point of a trajectory to a noise level that an expert was trained at (paper §7.2).

    σ_i = clamp(σ/α, σ_min, σ_max) and x_i = x·√(1 + σ_i²)/√(α² + σ²). Without the clamp, an expert would get noise
    levels it has never seen wherever another expert's schedule reaches further.

    Args:
        x: Point α·x0 + σ·n, shape (B, …).
        sigma: σ, broadcastable to x.
        sigma_min: The expert's lowest noise level.
        sigma_max: The expert's highest noise level.
        alpha: α, 1 on a variance-exploding trajectory; 0 is pure noise.

    Returns:
        x_i in the variance-exploding form, and σ_i of the shape of σ.
    """
    alpha = torch.as_tensor(alpha, dtype=sigma.dtype, device=sigma.device)
    aligned = (sigma / alpha).clamp(sigma_min, sigma_max)
    return x * torch.hypot(torch.ones_like(aligned), aligned) / torch.hypot(alpha, sigma), aligned


def sigma_at_progress(schedule: NoiseSchedule, progress: float) -> float:
    """Noise level σ at a progress through the timesteps, 0 at the noisy end and 1 at the clean one."""
    last = len(schedule) - 1 if isinstance(schedule, Schedule) else schedule.t(torch.tensor(math.inf)).item()
    return schedule.sigma((1.0 - progress) * last).item()


def levels_of(sigmas: Sequence[float] | Tensor) -> list[float]:
    """Noise levels as numbers: not every accelerator has float64."""
    return [float(sigma) for sigma in (sigmas.tolist() if isinstance(sigmas, Tensor) else sigmas)]


def scale_to_known(sigma: Tensor, known: Tensor) -> Tensor:
    """√(1 + σ_known²)/√(1 + σ²), the factor that carries x0 + σ·n to a level that a network knows, x_t unchanged."""
    return torch.sqrt((1.0 + known**2) / (1.0 + sigma**2))


def from_flow(s: float, noise_scale: float = 1.0) -> float:
    """Noise level σ = k·s/(1 − s) of a rectified flow's coordinate s, 0 ≤ s < 1.

    Args:
        s: The coordinate.
        noise_scale: k, the flow's factor of its noise.
    """
    return noise_scale * (s / (1.0 - s))


def to_flow(x: Tensor, sigma: Tensor, noise_scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Carry a point into a rectified flow's form, (1 − s)·x0 + k·s·n with s = σ/(k + σ).

    Args:
        x: x0 + σ·n, shape (B, …).
        sigma: σ, broadcastable to x.
        noise_scale: k, the flow's factor of its noise.

    Returns:
        The point, and s of the shape of σ.
    """
    return noise_scale * x / (noise_scale + sigma), sigma / (noise_scale + sigma)


def per_row(values: Tensor | float, like: Tensor) -> Tensor:
    """A number, or one per row (B,), reshaped to broadcast to `like` (B, …), with its dtype and device."""
    values = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _to_float64(values: Tensor | float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The values as float64 on the CPU (not every accelerator has float64), and a function that takes results back."""
    if not isinstance(values, Tensor):
        return torch.as_tensor(values, dtype=torch.float64, device="cpu"), lambda result: result
    dtype = values.dtype if values.is_floating_point() else torch.float64
    return values.to("cpu", torch.float64), lambda result: result.to(values.device, dtype)
