"""The generator and the discriminator of a GAN, and their losses."""

from torch import Tensor, nn

from .config import GanConfig
from .discriminator import Discriminator, adversarial_loss, discriminator_loss, matching_loss
from .generator import Generator

LOSSES = ("generator", "matching", "discriminator")
"""Names of the losses that a step reports."""


class Adversaries(nn.Module):
    """Both networks of a run.

    Args:
        config: Their architectures.
    """

    def __init__(self, config: GanConfig):
        super().__init__()
        self.generator = Generator(config.generator)
        self.discriminator = Discriminator(config.generator.map_channels, config.discriminator_width, config.scales)

    def losses(self, x0: Tensor, maps: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses of one batch, in the order of `LOSSES`, all from the same state of both networks.

        Gradients of the first two reach only the generator, of the third only the discriminator.

        Args:
            x0: Pictures in [−1, 1], shape (B, 3, H, W).
            maps: Maps of the pictures, which the generator gets too, shape (B, map_channels, H, W).
            noise: Noise of the generator, shape (B, noise_dim).
        """
        pictures = self.generator(maps, noise)
        self.discriminator.requires_grad_(False)
        generated = self.discriminator(pictures, maps)
        self.discriminator.requires_grad_(True)
        real = self.discriminator(x0, maps)
        judged = self.discriminator(pictures.detach(), maps)
        return adversarial_loss(generated), matching_loss(real, generated), discriminator_loss(real, judged)
