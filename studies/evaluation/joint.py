"""A product of several spaces, sampled otherwise than `sample_product` does: what its choices are measured against."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mcdm_core.product.joint import JointDenoiser, several_spaces
from mcdm_core.product.spaces import JointSpaces, Space
from mcdm_core.product.term import Term
from mcdm_core.sampling.ddim import sample_ddim
from mcdm_core.sampling.noise import noise_like
from mcdm_core.sampling.run import sample_denoiser

SIDES, EQUAL = "sides", "equal"
OWN, SHARED = "own", "shared"
_DECODED = 8  # samples from which the colours of a reference's channels are told


@dataclass(frozen=True)
class Joint:
    """How the spaces of a product are stepped.

    Attributes:
        scale: κ, by which a space's noise level is that of the reference times κ: "sides", the ratio of the sides of
            their samples, as shipped, or "equal", 1.
        noise: "own" of each space, as shipped, or "shared": the noise of each other space, averaged over the piece of
            picture that a value of the reference stands for, is the reference's, so that all see one noise (Lee et al.,
            "SyncSDE", CVPR 2025, arXiv 2503.21555, correlate them).

    Raises:
        ValueError: If either is something else.
    """

    scale: str = SIDES
    noise: str = OWN

    def __post_init__(self) -> None:
        for name, value, known in (("scale", self.scale, (SIDES, EQUAL)), ("noise", self.noise, (OWN, SHARED))):
            if value not in known:
                raise ValueError(f"Expected {' or '.join(known)} as {name} of the spaces and got {value!r}; set one.")


class _Spaces(JointSpaces):
    """The spaces of a product, stepped as `Joint` says."""

    def __init__(self, spaces: Sequence[Space], joint: Joint):
        super().__init__(spaces)
        self._is_shared = joint.noise == SHARED
        if joint.scale == EQUAL:
            self.scales = [1.0] * len(self.spaces)
        if self._is_shared:
            self._mixes = [mix_of(self.spaces[0], space) for space in self.spaces[1:]]

    def noise_of(self, place: int, noise: Tensor) -> Tensor:
        """See the base class."""
        own = super().noise_of(place, noise)
        return with_averages_of(noise, own, self._mixes[place - 1]) if self._is_shared else own

    def shared(self, noise: Tensor) -> Tensor:
        """Noise of joint samples, shared among the spaces if that is wanted."""
        if not self._is_shared:
            return noise
        first, *others = self.unpack(noise)
        mixed = [with_averages_of(first, own, mix) for own, mix in zip(others, self._mixes, strict=True)]
        return self.pack([first, *mixed])


def sample_joint(
    terms: Sequence[Term], noise: Tensor, spacing: str, joint: Joint, generator: torch.Generator, eta: float
) -> Tensor:
    """As `sample_product` with DDIM, with the spaces stepped as `joint` says.

    Args:
        terms: The experts, of several spaces.
        noise: See `sample_product`.
        spacing: Likewise.
        joint: How the spaces are stepped.
        generator: Source of the noise that DDIM adds.
        eta: η of DDIM.

    Returns:
        Samples of the first expert, shape of the noise.

    Raises:
        ValueError: As `sample_product`; or the experts are of one space, or their spaces can't share noise.
    """
    if not several_spaces(terms):
        raise ValueError("Expected experts of several spaces for `joint` and got one space; leave that out.")
    product = JointDenoiser(terms, (noise.shape[2], noise.shape[3]))
    spaces = product.spaces = _Spaces(product.spaces.spaces, joint)

    def draw(x: Tensor, generator: torch.Generator | None) -> Tensor:
        return spaces.shared(noise_like(x, generator))

    return sample_denoiser(product, noise, spacing, sampler=sample_ddim, generator=generator, eta=eta, draw=draw)


def with_averages_of(reference: Tensor, own: Tensor, mix: Tensor) -> Tensor:
    """White noise whose averages over pieces are those of another.

    Args:
        reference: Standard normal, shape (B, C, H, W).
        own: Standard normal, shape (B, c, k·H, k·W).
        mix: Rows that are orthogonal and of length 1, shape (c, C): the channels to the other's.

    Returns:
        Standard normal, shape of `own`, whose averages over k × k values are those of the reference's channels / k.

    Raises:
        ValueError: If k isn't a whole number.
    """
    side = own.shape[-1] // reference.shape[-1]
    if own.shape[-2:] != tuple(side * length for length in reference.shape[-2:]):
        raise ValueError(
            f"Expected samples whose sides are multiples of the reference's for shared noise and got sizes of "
            f"{tuple(reference.shape[-2:])} and {tuple(own.shape[-2:])}; leave out noise, or choose other experts."
        )
    with torch.autocast(own.device.type, enabled=False):
        wanted = torch.einsum("dc, bchw -> bdhw", mix.to(reference), reference) / side
        return own + F.interpolate(wanted - F.avg_pool2d(own, side), scale_factor=side, mode="nearest")


@torch.no_grad()
def mix_of(reference: Space, other: Space) -> Tensor:
    """How much of each channel of a reference's samples is in those of another space, which is of pixels.

    It is fitted to decoded noise by least squares; of the fit the nearest matrix of orthogonal rows is taken, so that
    mixed noise stays white.

    Args:
        reference: The first space.
        other: One of pixels.

    Returns:
        Shape (other's channels, reference's channels).

    Raises:
        ValueError: If the other's samples have not as many channels as pictures.
    """
    samples = torch.randn(_DECODED, *reference.shape, generator=torch.Generator().manual_seed(0))
    pictures = F.adaptive_avg_pool2d(reference.decode(samples), reference.size)
    if pictures.shape[1] != other.shape[0]:
        raise ValueError(
            f"Expected a space of pixels to share noise with and got samples of {other.shape[0]} channels; leave out "
            "noise, or choose experts on pixels."
        )
    channels, colors = (values.movedim(1, -1).flatten(0, -2) for values in (samples, pictures))
    fitted = torch.linalg.lstsq(channels - channels.mean(0), colors - colors.mean(0)).solution.T
    left, _, right = torch.linalg.svd(fitted, full_matrices=False)
    with torch.autocast(left.device.type, enabled=False):
        return left @ right
