"""The network of a VAE: pictures to latents of an eighth of their size, and back.

The layers, their order and their names are those of TAESD (Ollin Boer Bohan, 2023), the tiny autoencoder that ComfyUI
recognizes by its keys, so ComfyUI's own nodes open VAEs trained here. TAESD is 64 channels wide at every level; here
each level has a width of its own, because a network trained on two cores has to be narrow where pictures are large.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DOWNSCALE = 8  # pixels to a latent's side
WIDTH = 64  # channels of every level of TAESD
LEVELS = 4
COLORS = 3


@dataclass(frozen=True)
class AutoencoderConfig:
    """Everything that fixes the architecture.

    Attributes:
        widths: Channels of each level, the finest first.
        latent_channels: Channels of a latent.

    Raises:
        ValueError: There are not four levels, one of them is wider than TAESD's or empty, or a latent has no channel.
    """

    widths: tuple[int, ...] = (WIDTH,) * LEVELS
    latent_channels: int = 4

    def __post_init__(self) -> None:
        if len(self.widths) != LEVELS or not all(type(width) is int and 1 <= width <= WIDTH for width in self.widths):
            raise ValueError(
                f"A VAE has {LEVELS} levels of 1 to {WIDTH} channels, and its widths are {list(self.widths)}; correct "
                "them."
            )
        if self.latent_channels < 1:
            raise ValueError(f"A latent has 1 channel or more, not {self.latent_channels}; correct latent_channels.")


class Autoencoder(nn.Module):
    """Encoder, decoder, and between them a norm that gives every channel of the latents mean 0 and deviation 1.

    The norm has no counterpart in TAESD; when a file is written, it is moved into the encoder's last convolution, see
    `mcdm_core.checkpoints.autoencoders.folded`.

    Args:
        config: The architecture.
    """

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = config
        fine, half, quarter, coarse = config.widths
        self.encoder = nn.Sequential(
            _convolution(COLORS, fine),
            Block(fine),
            *_halved(fine, half),
            *_halved(half, quarter),
            *_halved(quarter, coarse),
            _convolution(coarse, config.latent_channels),
        )
        self.norm: nn.Module = LatentNorm(config.latent_channels)
        self.decoder = nn.Sequential(
            Clamp(),
            _convolution(config.latent_channels, coarse),
            nn.ReLU(),
            *_doubled(coarse, quarter),
            *_doubled(quarter, half),
            *_doubled(half, fine),
            Block(fine),
            _convolution(fine, COLORS),
        )

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures.

        Args:
            pictures: Colours in −1…1, shape (B, 3, H, W), sides multiples of 8.

        Returns:
            Shape (B, latent_channels, H/8, W/8), dtype of the pictures.
        """
        return self.norm(self.features(pictures))

    def features(self, pictures: Tensor) -> Tensor:
        """Latents before the norm, otherwise as `encode`."""
        return self.encoder(pictures / 2 + 0.5).to(pictures.dtype)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of latents, not clipped; the learned inverse of `encode`."""
        return self.decoder(latents).to(latents.dtype) * 2 - 1


class LatentNorm(nn.Module):
    """Brings every channel to mean 0 and deviation 1 by statistics measured over many batches.

    Before the first measurement it is the identity.

    Args:
        channels: Channels of the latents.
    """

    mean: Tensor
    square: Tensor
    batches: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("square", torch.ones(channels))  # mean of squares; batches differ in their means, too
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @property
    def deviation(self) -> Tensor:
        """Measured standard deviation of every channel, (C,)."""
        return (self.square - self.mean.square()).sqrt()

    def forward(self, latents: Tensor) -> Tensor:
        """Normalize latents (B, C, h, w)."""
        return (latents - self.mean.view(1, -1, 1, 1)) / self.deviation.view(1, -1, 1, 1)

    @torch.no_grad()
    def measure(self, latents: Tensor) -> None:
        """Add a batch, (B, C, h, w), to the measured statistics; all batches count equally."""
        self.batches += 1
        self.mean.lerp_(latents.mean(dim=(0, 2, 3)), 1 / int(self.batches))
        self.square.lerp_(latents.square().mean(dim=(0, 2, 3)), 1 / int(self.batches))


class Block(nn.Module):
    """Residual block of three convolutions; channels of zeros stay zeros."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(
            _convolution(channels, channels),
            nn.ReLU(),
            _convolution(channels, channels),
            nn.ReLU(),
            _convolution(channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform features x (B, channels, H, W)."""
        return F.relu(self.conv(x) + x)


class Clamp(nn.Module):
    """Clamps latents smoothly to ±3, so that outliers don't disturb the decoder."""

    def forward(self, latents: Tensor) -> Tensor:
        """Shape of the latents."""
        return torch.tanh(latents / 3) * 3


def _convolution(channels: int, out_channels: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=bias)


def _halved(channels: int, out_channels: int) -> list[nn.Module]:
    """The encoder's next level, at half the side."""
    return [_convolution(channels, out_channels, stride=2, bias=False), *(Block(out_channels) for _ in range(3))]


def _doubled(channels: int, out_channels: int) -> list[nn.Module]:
    """A level of the decoder, and the upsampling to the next, at twice the side."""
    upsample = [nn.Upsample(scale_factor=2), _convolution(channels, out_channels, bias=False)]
    return [*(Block(channels) for _ in range(3)), *upsample]
