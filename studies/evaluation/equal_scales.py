"""A product of several spaces that are all at one noise level, to measure the scales of `JointSpaces` against."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mcdm_core.product.denoisers.joint_denoiser import JointDenoiser, several_spaces
from mcdm_core.product.terms.term import Term
from mcdm_core.sampling import sigmas_for
from mcdm_core.sampling.ddim import DDIM


def sample_at_equal_scales(
    terms: Sequence[Term], noise: Tensor, spacing: str, generator: torch.Generator, eta: float
) -> Tensor:
    """As `sample_product` with DDIM, with κ = 1 for every space in place of the ratio of the sides of their samples.

    Args:
        terms: The experts, of several spaces.
        noise: See `sample_product`.
        spacing: Likewise.
        generator: Source of the noise that DDIM adds.
        eta: η of DDIM.

    Returns:
        Samples of the first expert, shape of the noise.

    Raises:
        ValueError: As `sample_product`; or the experts are of one space.
    """
    if not several_spaces(terms):
        raise ValueError("Expected experts of several spaces for `equal_scales` and got one space; leave that out.")
    product = JointDenoiser(terms, (noise.shape[2], noise.shape[3]))
    product.spaces.kappas = [1.0] * len(product.spaces.spaces)

    sigmas = sigmas_for(product.reference.schedule, spacing)
    start = product.start_noise(noise)
    product.check_run(start, sigmas)
    with product.running(sigmas):
        samples = DDIM(eta)(product, start * math.hypot(1.0, sigmas[0]), sigmas, generator=generator)
        return product.reference_part(samples)
