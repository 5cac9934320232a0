"""A product of several spaces, sampled otherwise than `sample_product` does: what its choices are measured against."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from mcdm_core.expert.expert import Expert
from mcdm_core.product.denoisers.joint_denoiser import JointDenoiser, several_spaces
from mcdm_core.product.spaces import JointSpaces, Size, Space
from mcdm_core.product.terms.term import Term
from mcdm_core.sampling import sigmas_for
from mcdm_core.sampling.ddim import DDIM, ddim_step
from mcdm_core.sampling.stepwise import Step, noise_like
from mcdm_core.sampling.types import Denoiser

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
    """The spaces of a product, stepped as `Joint` says; `reference` is an expert of the first."""

    def __init__(self, spaces: Sequence[Space], joint: Joint, reference: Expert):
        super().__init__(spaces)
        if joint.scale == EQUAL:
            self.kappas = [1.0] * len(self.spaces)
        self._mix = mix_of(reference, self.spaces[0].size) if joint.noise == SHARED else None

    def noise_of(self, space: int, noise: Tensor) -> Tensor:
        """The part of the noise that is a space's own."""
        own = super().noise_of(space, noise)
        return own if self._mix is None else with_averages_of(noise, own, self._mix)

    def shared(self, noise: Tensor) -> Tensor:
        """Noise of joint samples, shared among the spaces if that is wanted."""
        if self._mix is None:
            return noise
        first, *others = self.unpack(noise)
        return self.pack([first, *(with_averages_of(first, own, self._mix) for own in others)])


@dataclass(eq=False)
class _SharedDDIM(DDIM):
    """DDIM whose noise on the way may be shared among the spaces."""

    spaces: _Spaces = field(kw_only=True)

    def step(self, denoiser: Denoiser, x: Tensor, step: Step) -> Tensor:
        """A step of DDIM, see `ddim_step`."""
        denoised = denoiser(x, step.sigma)
        noise = self.spaces.shared(noise_like(x, step.generator)) if self.eta > 0 and step.sigma_next > 0 else None
        return ddim_step(x, denoised, step.sigma, step.sigma_next, self.eta, noise)


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
    spaces = product.spaces = _Spaces(product.spaces.spaces, joint, terms[0].expert)

    sigmas = sigmas_for(product.reference.schedule, spacing)
    start = product.start_noise(noise)
    product.check_run(start, sigmas)
    sampler = _SharedDDIM(eta, spaces=spaces)
    with product.running(sigmas):
        samples = sampler(product, start * math.hypot(1.0, sigmas[0]), sigmas, generator=generator)
        return product.reference_part(samples)


def with_averages_of(reference: Tensor, own: Tensor, mix: Tensor) -> Tensor:
    """White noise whose averages over pieces are those of another.

    Args:
        reference: Standard normal, shape (B, C, H, W).
        own: Standard normal, shape (B, c, k·H, k·W).
        mix: Rows that are orthogonal and of length 1, shape (c, C), as of `mix_of`: the channels to the other's.

    Returns:
        Standard normal, shape of `own`, whose averages over k × k values are those of the reference's channels / k.

    Raises:
        ValueError: If own has other channels than the mix, or k isn't a whole number.
    """
    if own.shape[1] != len(mix):
        raise ValueError(
            f"Expected a space of pixels to share noise with and got samples of {own.shape[1]} channels; leave out "
            "noise, or choose experts on pixels."
        )
    side = own.shape[-1] // reference.shape[-1]
    if own.shape[-2:] != tuple(side * length for length in reference.shape[-2:]):
        raise ValueError(
            f"Expected samples whose sides are multiples of the reference's for shared noise and got sizes of "
            f"{tuple(reference.shape[-2:])} and {tuple(own.shape[-2:])}; leave out noise, or choose other experts."
        )
    with torch.autocast(own.device.type, enabled=False):
        wanted = torch.einsum("dc, bchw -> bdhw", mix.to(reference), reference) / side
        return own + F.interpolate(wanted - F.avg_pool2d(own, side), scale_factor=side, mode="nearest")


@functools.lru_cache(maxsize=1)  # the batches of a setting share it
@torch.no_grad()
def mix_of(reference: Expert, size: Size) -> Tensor:
    """How much of each channel of an expert's samples is in the colours of its pictures.

    It is fitted to decoded noise by least squares; of the fit the nearest matrix of orthogonal rows is taken, so that
    mixed noise stays white. Float64 makes it the same to the bit in every process, as sums depend on the threads.

    Args:
        reference: The expert.
        size: Height and width of its samples.

    Returns:
        Shape (3, channels), float32.
    """
    samples = torch.randn(_DECODED, reference.channels, *size, generator=torch.Generator().manual_seed(0))
    with torch.autocast(samples.device.type, enabled=False):
        pictures = reference.decode(samples).clamp(-1, 1)
    pairs = (samples.double(), F.adaptive_avg_pool2d(pictures.double(), size))
    channels, colors = (values.movedim(1, -1).flatten(0, -2) for values in pairs)
    fitted = torch.linalg.lstsq(channels - channels.mean(0), colors - colors.mean(0)).solution.T
    left, _, right = torch.linalg.svd(fitted, full_matrices=False)
    return (left @ right).float()
