"""An expert: a network with the schedule and prediction type needed to predict x0 at any noise level."""

from collections.abc import Callable, Collection
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..diffusion.prediction import Prediction
from ..diffusion.schedule import NoiseSchedule, align_noise_level, per_row
from ..networks.autoencoder import Autoencoder
from .condition import Condition

CODED_AT_ONCE = 8  # pictures in one pass of the VAE


@dataclass(eq=False)
class Expert:
    """A denoising network with its schedule and prediction type.

    Example:
        >>> expert = load_expert("hair")
        >>> condition = expert.encoder.encode(hair_map)
        >>> output = expert.raw(x_t, t, condition)  # one raw pass of the network
        >>> x0 = expert.predict_x0(x0_plus_noise, sigma, condition)

    Attributes:
        network: Called as `network(x_t, t, **condition.kwargs())`; returns `channels` channels, or twice as many where
            the second half is the learned variance. Its attribute `reads`, if it has one, names the condition's
            tensors that it uses; see `check_read`.
        schedule: Noise schedule the network was trained on.
        prediction: What the network predicts.
        image_size: Height and width of its pictures in pixels.
        channels: Channels of a sample.
        encoder: Turns a person's input into a `Condition`.
        name: Shown in messages.
        clamp_x0: Whether x0 lies in [−1, 1] (pixels) or anywhere (latents).
        metadata: The checkpoint's description of itself.
        downscale: Side of a picture divided by that of its sample: 1 for pixels, 8 for latents.
        load_vae: Loads the VAE that decodes samples, when it is first needed; None where samples are pictures.
    """

    network: nn.Module
    schedule: NoiseSchedule
    prediction: Prediction
    _: KW_ONLY
    image_size: int
    channels: int = 3
    encoder: Any = None
    name: str = "expert"
    clamp_x0: bool = True
    metadata: dict = field(default_factory=dict)
    downscale: int = 1
    load_vae: Callable[[], Autoencoder] | None = None

    def __post_init__(self) -> None:
        self.metadata = self.metadata or {}  # None, too, is taken for none

    def __repr__(self) -> str:
        return f"Expert({self.name!r}, {self.image_size} px, {self.prediction.name}-prediction)"

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a sample."""
        return self.channels, self.image_size // self.downscale, self.image_size // self.downscale

    @property
    def space(self) -> tuple:
        """Equal for experts whose samples are of one space: pictures of one size, or latents of one VAE."""
        if self.clamp_x0:
            return self.channels, self.image_size
        return self.channels, self.metadata.get("vae")

    @cached_property
    def vae(self) -> Autoencoder | None:
        """The VAE between samples and pictures, on the CPU; None where samples are pictures.

        Raises:
            ValueError: Its file is missing or cannot be used.
        """
        return self.load_vae() if self.load_vae is not None else None

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Samples (B, channels, H/downscale, W/downscale) of pictures (B, 3, H, W) in −1…1, on their device."""
        if self.vae is None:
            return pictures
        return torch.cat([self.vae.to(p.device).encode(p) for p in pictures.float().split(CODED_AT_ONCE)])

    @torch.no_grad()
    def decode(self, samples: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), −1…1 but for overshoot, of samples (B, channels, …), on their device.

        Raises:
            ValueError: If the samples have another shape: no batch, say.
        """
        self._check_samples(samples)
        if self.vae is None:
            return samples
        return torch.cat([self.vae.to(s.device).decode(s) for s in samples.float().split(CODED_AT_ONCE)])

    @property
    def key(self) -> tuple:
        """Equal for experts whose passes may share a batch, and whose equal nulls are one."""
        return id(self.network), id(self.schedule), self.prediction.name, self.space

    def to(self, device: torch.device | str) -> "Expert":
        """Move the network to a device."""
        self.network.to(device)
        return self

    def check_read(self, condition: Condition, role: str = "condition") -> None:
        """Refuse a condition of which the network would ignore something, such as a caption given to a map expert.

        A network without an attribute `reads` takes what it is given: it refuses unknown arguments by itself.

        Args:
            condition: The condition, or the null.
            role: What messages call it.

        Raises:
            ValueError: If it has a tensor that is not among `network.reads`.
        """
        reads: Collection[str] | None = getattr(self.network, "reads", None)
        if reads is None:
            return
        ignored = [name for name in condition.tensors() if name not in reads]
        if ignored:
            remedy = f"encode it with {self.name}'s own encoder" if reads else "give `Condition()`"
            raise ValueError(
                f"Expected a {role} that {self.name} reads ({' or '.join(sorted(reads)) or 'none'}) and got "
                f"{' and '.join(ignored)}, which it would ignore; {remedy}."
            )

    def raw(self, x_t: Tensor, t: Tensor | float, condition: Condition) -> Tensor:
        """One pass of the network, its output unchanged.

        Args:
            x_t: α_t·x0 + σ_t·n in the form of the expert's schedule, shape (B, channels, H, W).
            t: Original timesteps, fractional ones allowed, one number or shape (B,).
            condition: One row, or B.

        Returns:
            The network's output, shape (B, channels or 2·channels, H, W), dtype of x_t.

        Raises:
            ValueError: If the sample's channels or the condition's rows don't fit.
        """
        self._check_samples(x_t)
        t = torch.as_tensor(t, dtype=x_t.dtype, device=x_t.device).expand(len(x_t))
        condition = condition.to(x_t.device, x_t.dtype).expand(len(x_t))
        return self.network(x_t, t, **condition.kwargs()).to(x_t.dtype)

    def predict_x0(self, x: Tensor, sigma: Tensor | float, condition: Condition) -> Tensor:
        """Prediction of the clean sample, not clamped.

        Args:
            x: x0 + σ·n, shape (B, channels, H, W).
            sigma: Noise level, one number or shape (B,). Outside the schedule's range the expert is asked at the
                nearest level it knows, about x scaled accordingly.
            condition: One row, or B.

        Returns:
            Shape of x.
        """
        return self.predict(x, sigma, condition)[0]

    def predict(self, x: Tensor, sigma: Tensor | float, condition: Condition) -> tuple[Tensor, Tensor | None]:
        """As `predict_x0`, together with the learned variance if the network has one.

        Returns:
            x0, and v in −1…1 that places the variance between its bounds (Nichol & Dhariwal, Eq. 15), of the same
            shape, or None.
        """
        x, sigma = align_noise_level(x, per_row(sigma, x), self.schedule.sigma_min, self.schedule.sigma_max)
        alpha_t = self.schedule.alpha(sigma)
        x_t = alpha_t * x
        output = self.raw(x_t, self.schedule.t(sigma).flatten(), condition)
        x0 = self.prediction.to_x0(output[:, : self.channels], x_t, alpha_t, alpha_t * sigma)
        variance = output[:, self.channels :] if output.shape[1] == 2 * self.channels else None
        return x0, variance

    def holds(self, samples: Tensor) -> bool:
        """Whether these can be samples of its space: of shape (B, channels, H, W)."""
        return samples.ndim == 4 and samples.shape[1] == self.channels

    def _check_samples(self, samples: Tensor) -> None:
        if not self.holds(samples):
            raise ValueError(
                f"{self.name} expects samples of shape (B, {self.channels}, H, W) and got {tuple(samples.shape)}; "
                "start from this expert's own empty latent, and keep the batch."
            )
