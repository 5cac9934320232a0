"""Products across spaces against plain loops: with matrices for the maps, and with the identity for them."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from mcdm_core import Passes, Term, sample_ddim, sample_ddpm, sample_langevin, sample_logic, sample_product
from mcdm_core.expert.expert import Expert
from mcdm_core.expert.gaussian import gaussian_expert, label
from mcdm_core.product.agreement import Agreement
from mcdm_core.product.joint import JointDenoiser
from mcdm_core.product.lifts import Lifts
from mcdm_core.product.own_null import OWN_NULL
from mcdm_core.sampling import SAMPLERS

MEANS, VARIANCES = [-1.0, 0.5, 1.5, 0.2, 2.0, -0.6], [0.3, 2.0, 0.7, 1.2, 0.4, 0.9]
LEVELS = [6.0, 2.5, 1.0, 0.4, 0.0]


class AffineExpert(Expert):
    """A Gaussian expert whose samples are pictures, multiplied and shifted; counts its maps."""

    def __init__(self, name, size, gain=1.0, offset=0.0):
        own = gaussian_expert(MEANS, VARIANCES, name=name)
        super().__init__(
            own.network, own.schedule, own.prediction, image_size=size, channels=1, clamp_x0=False, name=name
        )
        self.metadata = {"vae": name}
        self.gain, self.offset = gain, offset
        self.maps = []

    def encode(self, pictures):
        self.maps.append("encode")
        return self.gain * pictures + self.offset

    def decode(self, samples):
        self.maps.append("decode")
        return (samples - self.offset) / self.gain


def predicted(k, x, sigma):
    """E[x0 | x] of Gaussian k."""
    return MEANS[k] + VARIANCES[k] / (VARIANCES[k] + sigma**2) * (x - MEANS[k])


def resize(x, size):
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True)


def carried(source, target, x):
    """T: the reference of all maps, written out."""
    if source is target:
        return x
    return target.gain * resize((x - source.offset) / source.gain, target.image_size) + target.offset


def guided(terms, points, own_null=False):
    """The product of the module's equation in plain loops: x0 of the first space.

    Args:
        terms: All of them; weights and reliabilities are numbers.
        points: For each expert x and σ in its space.
    """
    reference = terms[0].expert
    total_trust = sum(term.reliability for term in terms)
    result = 0.0
    for expert in dict.fromkeys(term.expert for term in terms):
        own = [term for term in terms if term.expert is expert]
        x, sigma = points[expert]
        cond = [predicted(term.condition.labels.item(), x, sigma) for term in own]
        null = [predicted(term.null.labels.item(), x, sigma) if term.null else None for term in own]
        w, a = [term.weight for term in own], [term.reliability / total_trust for term in own]
        to_reference = partial(carried, expert, reference)
        for sign in (1, -1):
            parts = [max(sign * each, 0.0) for each in w]
            if sum(parts):
                mean = sum(part / sum(parts) * d for part, d in zip(parts, cond, strict=True))
                result = result + sign * sum(parts) * to_reference(mean)
        if own_null:
            for sign in (1, -1):
                parts = [max(sign * (each - weight), 0.0) for each, weight in zip(a, w, strict=True)]
                if sum(parts):
                    mean = sum(part / sum(parts) * d for part, d in zip(parts, null, strict=True) if part)
                    result = result + sign * sum(parts) * to_reference(mean)
        elif abs(sum(a) - sum(w)) > 1e-6:
            trust = a if sum(a) else [1.0 if d is not None else 0.0 for d in null]
            mean = sum(part / sum(trust) * d for part, d in zip(trust, null, strict=True) if part)
            result = result + (sum(a) - sum(w)) * to_reference(mean)
    return result


def plain_run(terms, noise, levels, own_null=False):
    """DDIM, η = 0, of the joint state; returns the sample of every expert's space."""
    experts = list(dict.fromkeys(term.expert for term in terms))
    side = experts[0].image_size
    scale = {expert: expert.image_size / side for expert in experts}
    y = {expert: levels[0] * noise[expert] for expert in experts}
    for sigma, following in zip(levels, levels[1:], strict=False):
        points = {expert: (scale[expert] * y[expert], scale[expert] * sigma) for expert in experts}
        x0 = guided(terms, points, own_null)
        for expert in experts:
            clean = carried(experts[0], expert, x0) / scale[expert]
            y[expert] = clean + following / sigma * (y[expert] - clean)
    return y


def terms_of(first, second, weights, reliabilities):
    """Two experts of the first space, two of the second."""
    pairs = zip((first, first, second, second), (0, 1, 2, 3), (4, 5, 4, 5), weights, reliabilities, strict=True)
    return [Term(e, label(k), label(n), weight=w, reliability=a) for e, k, n, w, a in pairs]


def joint_noise(terms, seed=0, batch=2):
    generator = torch.Generator().manual_seed(seed)
    experts = dict.fromkeys(term.expert for term in terms)
    sizes = ((batch, 1, expert.image_size, expert.image_size) for expert in experts)
    return {e: torch.randn(s, dtype=torch.float64, generator=generator) for e, s in zip(experts, sizes, strict=True)}


def run(terms, noise, sampler=sample_ddim, **options):
    size = terms[0].expert.image_size
    denoiser = JointDenoiser(terms, (size, size), **options)
    start = LEVELS[0] * denoiser.spaces.pack([*noise.values()])
    with denoiser.running(LEVELS):
        return denoiser.spaces.unpack(sampler(denoiser, start, LEVELS))


WEIGHTS = [
    ((2.0, 1.0, 3.0, 0.5), (1.0, 1.0, 1.0, 1.0)),
    ((2.0, -0.7, 3.0, -1.5), (1.0, 2.0, 0.5, 1.0)),
    ((0.4, 0.1, 0.3, 0.2), (1.0, 1.0, 1.0, 1.0)),
    ((2.0, 1.0, 3.0, 0.5), (1.0, 1.0, 0.0, 0.0)),
    ((0.0, 0.0, 3.0, 0.5), (1.0, 1.0, 1.0, 0.0)),
]


@pytest.mark.parametrize("rule", ["eq10", "own null"])
@pytest.mark.parametrize(("weights", "reliabilities"), WEIGHTS)
@pytest.mark.parametrize("sizes", [(4, 4), (4, 8), (8, 4)])
def test_a_run_across_spaces_is_the_recursion_of_its_equation(sizes, weights, reliabilities, rule):
    first, second = AffineExpert("first", sizes[0], 0.8, 0.1), AffineExpert("second", sizes[1], 1.7, -0.4)
    terms = terms_of(first, second, weights, reliabilities)
    noise = joint_noise(terms)
    expected = plain_run(terms, noise, LEVELS, own_null=rule == "own null")
    found = run(terms, noise, **({"rule": OWN_NULL} if rule == "own null" else {}))
    for part, expert in zip(found, (first, second), strict=True):
        torch.testing.assert_close(part, expected[expert], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("agree", ["nulls", "weights and reliabilities"])
def test_two_names_of_one_space_are_its_plain_product(agree):
    """Where all nulls are one prediction, or W_s = W·A_s, and both parts hold the same noise."""
    same = {"nulls": [(2.0, 3.0), (0.6, 0.4)], "weights and reliabilities": [(3.0, 1.0), (0.75, 0.25)]}[agree]
    nulls = (4, 4) if agree == "nulls" else (4, 5)
    experts = AffineExpert("one", 4), AffineExpert("other", 4)
    make = [dict(weight=w, reliability=a) for w, a in zip(*same, strict=True)]
    terms = [Term(e, label(k), label(n), **s) for e, k, n, s in zip(experts, (0, 1), nulls, make, strict=True)]
    noise = joint_noise(terms)
    noise[experts[1]] = noise[experts[0]]
    found = run(terms, noise)
    plain = [Term(experts[0], label(k), label(n), **s) for k, n, s in zip((0, 1), nulls, make, strict=True)]
    from mcdm_core import ProductDenoiser

    expected = sample_ddim(ProductDenoiser(plain), LEVELS[0] * noise[experts[0]], LEVELS)
    for part in found:
        torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-9)
