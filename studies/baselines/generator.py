"""A small generator with spatially-adaptive normalization.

References:
    Park, Liu, Wang and Zhu, "Semantic Image Synthesis with Spatially-Adaptive Normalization", CVPR 2019 (SPADE).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BASE = 4  # height and width of the first level
SLOPE = 0.2  # of every leaky ReLU


@dataclass(frozen=True)
class GeneratorConfig:
    """Everything that fixes the architecture.

    Attributes:
        channels: Width of each level, from 4 × 4 pixels upwards; each level doubles the one before.
        hidden: Width of the layer between the maps and each normalization's scale and shift.
        noise_dim: Length of the noise z.
        map_channels: Number of maps.
        patch: Ratio of the picture's side to the last level's; each pixel there reads a square of the maps this wide.
        full_channels: Width at full size, where each pixel reads the maps around it again.
        norm_groups: Groups of every norm; divides each of `channels`.

    Raises:
        ValueError: A value is not a positive integer, or the groups don't divide a width.
    """

    channels: tuple[int, ...] = (128, 128, 96, 64)
    hidden: int = 32
    noise_dim: int = 64
    map_channels: int = 2
    patch: int = 2
    full_channels: int = 12
    norm_groups: int = 8

    def __post_init__(self) -> None:
        values = {name: value for name, value in asdict(self).items() if name != "channels"}
        values |= {f"channels[{i}]": width for i, width in enumerate(self.channels)}
        for name, value in values.items():
            if type(value) is not int or value < 1:
                raise ValueError(
                    f"Expected a positive integer as the generator's {name} and got {value!r}; correct it."
                )
        if not self.channels or any(width % self.norm_groups for width in self.channels):
            raise ValueError(
                f"Expected widths that {self.norm_groups} norm groups divide and got {self.channels}; change channels "
                "or norm_groups."
            )

    @property
    def image_size(self) -> int:
        """Height and width of its pictures."""
        return BASE * 2 ** (len(self.channels) - 1) * self.patch


class Spade(nn.Module):
    """Normalization whose scale and shift at each place depend on the maps there (Eq. 1 of SPADE).

    The norm is over groups of channels, not over the batch as in the paper, so that a picture does not depend on others
    in its batch.

    Args:
        channels: Width of the features.
        config: The generator's architecture.
    """

    def __init__(self, channels: int, config: GeneratorConfig):
        super().__init__()
        self.groups = config.norm_groups
        self.read = nn.Conv2d(config.map_channels * config.patch**2, config.hidden, 3, padding=1)
        self.modulate = nn.Conv2d(config.hidden, 2 * channels, 3, padding=1)

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        """Modulate features (B, C, h, w) by maps (B, map_channels · patch², h, w)."""
        scale, shift = self.modulate(F.leaky_relu(self.read(maps), SLOPE)).chunk(2, dim=1)
        return F.group_norm(x, self.groups) * (1 + scale) + shift


class SpadeBlock(nn.Module):
    """Residual block whose norms read the maps; where the width changes, the shortcut is a 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int, config: GeneratorConfig):
        super().__init__()
        self.norm_in, self.conv_in = Spade(inputs, config), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm_out, self.conv_out = Spade(outputs, config), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        """Transform features (B, inputs, h, w), given maps as for `Spade`."""
        h = self.conv_in(F.leaky_relu(self.norm_in(x, maps), SLOPE))
        h = self.conv_out(F.leaky_relu(self.norm_out(h, maps), SLOPE))
        return self.shortcut(x) + h


class Generator(nn.Module):
    """Maps and noise to pictures: a linear layer of the noise, then a SPADE block per level with ×2 upsampling between.

    Args:
        config: Architecture.
    """

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        widths = config.channels
        self.base = nn.Linear(config.noise_dim, widths[0] * BASE**2)
        inputs = (widths[0], *widths[:-1])
        self.levels = nn.ModuleList(SpadeBlock(i, o, config) for i, o in zip(inputs, widths, strict=True))
        full = config.full_channels
        self.narrow = nn.Conv2d(widths[-1], full, 3, padding=1)
        self.refine = nn.Conv2d(full + config.map_channels, full, 3, padding=1)
        self.head = nn.Conv2d(full, 3, 3, padding=1)

    def forward(self, maps: Tensor, noise: Tensor) -> Tensor:
        """Pictures of maps and noise.

        Args:
            maps: Coverage in 0…1, 0 everywhere for a map that is not given, shape (B, map_channels, H, W).
            noise: Standard normal, shape (B, noise_dim).

        Returns:
            Shape (B, 3, H, W), in [−1, 1].
        """
        x = self.base(noise).unflatten(1, (-1, BASE, BASE))
        for index, level in enumerate(self.levels):
            if index:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            # At the last level all pixels of the maps, at lower levels averages.
            at_level = F.adaptive_avg_pool2d(maps, x.shape[-1] * self.config.patch)
            x = level(x, F.pixel_unshuffle(at_level, self.config.patch))
        # Nearest-neighbour, since a pixel shuffle of channels would show as a lattice.
        x = F.interpolate(self.narrow(F.leaky_relu(x, SLOPE)), scale_factor=self.config.patch, mode="nearest")
        x = self.refine(torch.cat([F.leaky_relu(x, SLOPE), maps.to(x)], dim=1))
        return self.head(F.leaky_relu(x, SLOPE)).float().tanh()

    @torch.inference_mode()
    def generate(self, maps: Tensor, seeds: Sequence[int]) -> Tensor:
        """A picture for each row of maps, which depends only on that row and its seed.

        Args:
            maps: See `forward`.
            seeds: Seed of the noise of each row.

        Returns:
            Shape (B, 3, H, W), in [−1, 1].

        Raises:
            ValueError: The maps have another shape, or there are more or fewer seeds than rows.
        """
        size = self.config.image_size
        expected = (self.config.map_channels, size, size)
        if maps.ndim != 4 or tuple(maps.shape[1:]) != expected:
            raise ValueError(
                f"Expected maps of shape (B, {', '.join(map(str, expected))}) and got {tuple(maps.shape)}; resize "
                "them, and leave a map that is not given black."
            )
        if len(seeds) != len(maps):
            raise ValueError(f"Expected a seed for each of {len(maps)} rows and got {len(seeds)}; give one a row.")
        rows = [torch.randn(self.config.noise_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return self(maps, torch.stack(rows).to(maps)) if rows else maps.new_empty(0, 3, size, size)
