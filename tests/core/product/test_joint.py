"""Products across spaces against plain loops: with matrices for the maps, and with the identity for them."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from mcdm_core import Passes, Term, sample_ddim, sample_logic, sample_product
from mcdm_core.cli.sampling_options import SamplingOptions
from mcdm_core.expert.expert import Expert
from mcdm_core.product.denoisers.joint_denoiser import JointDenoiser
from mcdm_core.product.methods.lift_scores import LiftScores
from mcdm_core.product.methods.method import Method
from mcdm_core.product.rules.own_null import OWN_NULL
from mcdm_core.product.spaces import resized
from mcdm_core.product.terms.curve import factor_at, progress_at
from mcdm_core.sampling import SAMPLERS
from studies.gaussian import gaussian_expert, label

from ...support.joint import Said, carried_picture, joint_product

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


def carried(source, target, x, finer=None):
    """T: the reference of all maps, written out.

    Args:
        source: The expert whose sample is carried.
        target: The expert in whose space it is wanted.
        x: The sample.
        finer: A sample of the target; what a smaller picture can't hold is taken from its picture.
    """
    if source is target:
        return x
    smaller = finer is not None and source.image_size < target.image_size
    details = (finer - target.offset) / target.gain if smaller else None
    size = (target.image_size, target.image_size)
    return target.gain * carried_picture((x - source.offset) / source.gain, size, details) + target.offset


def guided(reference, terms, points, own_null=False):
    """The product of the module's equation in plain loops: x0 in the space of the reference.

    Args:
        reference: Its expert.
        terms: Those that act; weights and reliabilities are numbers.
        points: For each expert x and σ in its space.
        own_null: Whether each condition is measured against its own null.
    """
    total = sum(term.reliability for term in terms)

    def said(expert):
        own = [term for term in terms if term.expert is expert]
        of = torch.tensor([[term.weight, term.reliability / total] for term in own], dtype=torch.float64)
        predictions = (
            [predicted(each.labels.item(), *points[expert]) for each in conditions]
            for conditions in ([term.condition for term in own], [term.null for term in own])
        )
        return Said(of[:, 0], of[:, 1], [term.reliability for term in own], *predictions)

    experts = dict.fromkeys(term.expert for term in terms)
    return joint_product(
        {expert: said(expert) for expert in experts},
        reference,
        lambda expert, x0, finer: carried(expert, reference, x0, finer),
        own_null,
    )


def plain_denoiser(terms_at, own_null=False):
    """The joint state's x0 in plain loops: parts y_s by expert, and σ, to parts of x0.

    Args:
        terms_at: The terms that act at a noise level, with their weights there.
        own_null: Whether each condition is measured against its own null.
    """

    def denoised(y, sigma):
        reference = next(iter(y))
        scale = {expert: expert.image_size / reference.image_size for expert in y}
        points = {expert: (scale[expert] * y[expert], scale[expert] * sigma) for expert in y}
        x0 = guided(reference, terms_at(sigma), points, own_null)
        return {expert: carried(reference, expert, x0) / scale[expert] for expert in y}

    return denoised


def plain_run(terms, noise, own_null=False):
    """DDIM, η = 0, of the joint state; returns the sample of every expert's space."""
    terms_at = terms if callable(terms) else lambda sigma: terms
    denoised = plain_denoiser(terms_at, own_null)
    y = {expert: LEVELS[0] * part for expert, part in noise.items()}
    for sigma, following in pairwise(LEVELS):
        clean = denoised(y, sigma)
        y = {expert: clean[expert] + following / sigma * (y[expert] - clean[expert]) for expert in y}
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
@pytest.mark.parametrize("networks", ["two networks", "one network"])
@pytest.mark.parametrize(("weights", "reliabilities"), WEIGHTS)
@pytest.mark.parametrize("sizes", [(4, 4), (4, 8), (8, 4)])
def test_a_run_across_spaces_is_the_recursion_of_its_equation(sizes, weights, reliabilities, networks, rule):
    first, second = AffineExpert("first", sizes[0], 0.8, 0.1), AffineExpert("second", sizes[1], 1.7, -0.4)
    if networks == "one network":
        second.network, second.schedule = first.network, first.schedule
    terms = terms_of(first, second, weights, reliabilities)
    noise = joint_noise(terms)
    expected = plain_run(terms, noise, own_null=rule == "own null")
    found = run(terms, noise, **({"rule": OWN_NULL} if rule == "own null" else {}))
    for part, expert in zip(found, (first, second), strict=True):
        torch.testing.assert_close(part, expected[expert], rtol=1e-9, atol=1e-9)


def two_spaces(sizes=(4, 8), weights=(2.0, 1.0, 3.0, 0.5), reliabilities=(1.0,) * 4, settings=({},) * 4):
    """Two terms of each of two experts of different spaces."""
    experts = AffineExpert("first", sizes[0], 0.8, 0.1), AffineExpert("second", sizes[1], 1.7, -0.4)
    terms = terms_of(*experts, weights, reliabilities)
    return experts, [replace(term, **own) for term, own in zip(terms, settings, strict=True)]


def test_at_every_place_masks_are_weights_and_reliabilities():
    """Without resizing places are independent: each is a run of its own, at numbers."""
    generator = torch.Generator().manual_seed(1)
    masks = torch.tensor([0.0, 0.5, 1.0])[torch.randint(3, (4, 4, 4), generator=generator)].double()
    masks[:, 0, 0] = 0.0  # no expert at all: the unconditional estimate
    settings = [{"mask": mask} for mask in masks]
    _, terms = two_spaces((4, 4), settings=settings)
    noise = joint_noise(terms)
    found = run(terms, noise)[0]
    for row in range(4):
        for column in range(4):
            own = masks[:, row, column].tolist()
            scalars = [{"weight": t.weight * m, "mask": None} for t, m in zip(terms, own, strict=True)]
            if any(own):
                scalars = [s | {"reliability": m} for s, m in zip(scalars, own, strict=True)]
            place = [replace(term, **s) for term, s in zip(terms, scalars, strict=True)]
            expected = plain_run(place, noise)[terms[0].expert][..., row, column]
            torch.testing.assert_close(found[..., row, column], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("sizes", "windowed"), [((4, 8), 1), ((8, 4), 0)])
@pytest.mark.parametrize(("start", "end"), [(2.5, 0.0), (0.0, 2.0), (0.0, 0.5), (5.0, 0.9)])
def test_windows_and_curves_hold_in_every_space(start, end, sizes, windowed):
    """A space begins late, ends early, or both, the reference too; a curve changes a weight of the first."""
    curve = ((0.0, 0.5), (1.0, 2.0))
    settings = [{"sigma_start": start, "sigma_end": end} if place // 2 == windowed else {} for place in range(4)]
    settings[0] = settings[0] | {"weight_curve": curve}
    (first, _), terms = two_spaces(sizes, settings=settings)
    denoiser = JointDenoiser(terms, (sizes[0], sizes[0]))

    def terms_at(sigma):
        factor = factor_at(curve, progress_at(sigma, denoiser._sigma_at))
        weighted = [replace(terms[0], weight=factor * terms[0].weight), *terms[1:]]
        inside = (start == 0 or sigma <= start) and sigma > end
        return [term for place, term in enumerate(weighted) if inside or place // 2 != windowed]

    noise = joint_noise(terms)
    found = run(terms, noise)
    torch.testing.assert_close(found[0], plain_run(terms_at, noise)[first], rtol=1e-9, atol=1e-9)


def test_a_space_is_carried_to_only_while_it_acts():
    """Three means to the reference, the reference decoded once and carried back; afterwards nothing."""
    (first, second), terms = two_spaces(
        weights=(2.0, 1.0, 3.0, -0.5), settings=({}, {}, {"sigma_end": 1.0}, {"sigma_end": 1.0})
    )
    run(terms, joint_noise(terms))
    steps = 2  # at 6 and 2.5; at 1 and 0.4 the second space is left alone
    assert Counter(first.maps) == {"encode": 3 * steps, "decode": steps}
    assert Counter(second.maps) == {"decode": 3 * steps, "encode": steps}


def test_details_of_smaller_pictures_take_one_decoding_more():
    (first, second), terms = two_spaces((8, 4))
    run(terms, joint_noise(terms))
    steps = len(LEVELS) - 1
    assert Counter(first.maps) == {"encode": 2 * steps, "decode": 2 * steps}
    assert Counter(second.maps) == {"decode": 2 * steps, "encode": steps}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_steps_the_joint_state_or_refuses_it(name):
    _, terms = two_spaces()
    if name in ("ddpm-learned", "logic"):
        with pytest.raises(ValueError, match=r"^Expected experts of one latent space .* got a JointDenoiser .*; use "):
            run(terms, joint_noise(terms), SAMPLERS[name])
        return
    experts = list(dict.fromkeys(term.expert for term in terms))
    denoiser, plain = JointDenoiser(terms, (4, 4)), plain_denoiser(lambda sigma: terms)

    def packed(x, sigma):
        parts = dict(zip(experts, denoiser.spaces.unpack(x), strict=True))
        return denoiser.spaces.pack([*plain(parts, float(sigma)).values()])

    start = LEVELS[0] * denoiser.spaces.pack([*joint_noise(terms).values()])
    found, expected = (
        SAMPLERS[name](each, start, LEVELS, generator=torch.Generator().manual_seed(3)) for each in (denoiser, packed)
    )
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_a_run_keeps_the_first_experts_noise_and_each_pictures_own():
    """Pictures don't depend on what else is in the batch; the other spaces' noise follows from the first's."""
    _, terms = two_spaces()
    noise = torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    seen = []
    faces = sample_product(terms, noise, "5", callback=lambda step, sigma, x0: seen.append(x0))
    torch.testing.assert_close(sample_product(terms, noise[1:2], "5"), faces[1:2], rtol=1e-12, atol=1e-12)
    assert [tuple(x0.shape) for x0 in seen] == [(3, 1, 4, 4)] * 5
    parts = JointDenoiser(terms, (4, 4)).spaces.unpack(JointDenoiser(terms, (4, 4)).start_noise(noise))
    assert torch.equal(parts[0], noise)
    assert parts[1].shape == (3, 1, 8, 8)
    assert abs(parts[1].std().item() - 1) < 0.2


def test_outside_a_guidance_interval_no_null_is_asked_in_any_space():
    (first, second), terms = two_spaces()
    interval = Passes(sigma_start=3.0, sigma_end=0.9)

    def terms_at(sigma):
        if 0.9 < sigma <= 3.0:
            return terms
        total = sum(term.weight for term in terms)
        return [replace(term, weight=term.weight / total, reliability=term.weight / total) for term in terms]

    rows = []
    for expert in (first, second):
        expert.network.register_forward_pre_hook(lambda network, args: rows.append(len(args[0])))
    noise = joint_noise(terms)
    found = run(terms, noise, settings=[interval])
    torch.testing.assert_close(found[0], plain_run(terms_at, noise)[first], rtol=1e-9, atol=1e-9)
    assert sum(rows) == 2 * (4 + 8 + 8 + 4)


def test_unguided_weights_of_all_spaces_together_keep_their_sum():
    class Weaker(Method):
        def draft(self, draft, phase):
            return replace(draft, weights=[0.5 * weight for weight in draft.weights])

    _, terms = two_spaces()
    with pytest.raises(ValueError, match=r"sum to 1 outside a guidance interval, .* changed to 0\.5 in all"):
        run(terms, joint_noise(terms), settings=[Passes(start=0.6), Weaker()])


def test_a_null_of_another_space_grows_by_the_levels_of_its_own():
    """D_∅ = D + s(κσ)/s(κσ') (D'_∅ − D'), with κ = 2: of a Gaussian expert both predictions are known."""
    experts = AffineExpert("first", 4), AffineExpert("second", 8)
    terms = [Term(e, label(k), label(k + 4), weight=2.0) for k, e in enumerate(experts)]
    denoiser = JointDenoiser(terms, (4, 4), settings=[Passes(threshold=-1.0, refresh=2)])
    noise = joint_noise(terms)
    x = {sigma: sigma * denoiser.spaces.pack([*noise.values()]) for sigma in (2.0, 0.5)}
    with denoiser.running([2.0, 0.5, 0.0]):
        denoiser(x[2.0], 2.0)
        found = denoiser(x[0.5], 0.5)
    expected = 0.0
    for k, (expert, kappa) in enumerate(zip(experts, (1.0, 2.0), strict=True)):
        cond, before = (predicted(k, kappa * s * noise[expert], kappa * s) for s in (0.5, 2.0))
        null_before = predicted(k + 4, kappa * 2.0 * noise[expert], kappa * 2.0)
        own, last = (s / math.hypot(1.0, s) for s in (kappa * 0.5, kappa * 2.0))
        null = cond + own / last * (null_before - before)
        expected = expected + carried(expert, experts[0], 2.0 * cond) - carried(expert, experts[0], 1.5 * null)
    torch.testing.assert_close(denoiser.spaces.unpack(found)[0], expected, rtol=1e-9, atol=1e-9)


def test_every_space_has_noise_of_its_own():
    """Spaces of one shape too; each row goes with that of the first."""
    experts = [AffineExpert(name, 64) for name in ("first", "second", "third")]
    terms = [Term(expert, label(0), label(4)) for expert in experts]
    denoiser = JointDenoiser(terms, (64, 64))
    noise = torch.randn(2, 1, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parts = denoiser.spaces.unpack(denoiser.start_noise(noise))
    rows = torch.stack([row.flatten() for part in parts for row in part])
    assert (torch.corrcoef(rows) - torch.eye(6, dtype=torch.float64)).abs().max() < 0.06
    with torch.device("meta"):  # as a default device of a user's
        again = denoiser.spaces.unpack(denoiser.start_noise(noise[1:].requires_grad_()))
    assert all(torch.equal(part[1:], own) for part, own in zip(parts, again, strict=True))


@pytest.mark.parametrize("by", ["sample_product", "the command line"])
def test_the_temperature_of_start_noise_is_that_of_every_space(by):
    _, terms = two_spaces()
    noise = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    starts = []

    def no_sampler(denoiser, x, sigmas, **given):
        starts.append(x)
        return x

    for temperature in (1.0, 0.5):
        if by == "sample_product":
            sample_product(terms, noise, "5", sampler=no_sampler, temperature=temperature)
        else:
            SamplingOptions("5", no_sampler, temperature).sample(terms, 0, 2)
    assert torch.equal(starts[1], 0.5 * starts[0])


def test_noise_levels_that_rise_are_refused():
    _, terms = two_spaces()
    denoiser = JointDenoiser(terms, (4, 4))
    start = denoiser.start_noise(joint_noise(terms)[terms[0].expert])
    with pytest.raises(
        ValueError, match=r"^Expected noise levels that fall throughout the run, because .* some that rise"
    ):
        denoiser.check_run(start, [6.0, 0.5, 2.0, 0.0])


@pytest.mark.parametrize("shape", [(4,), (3, 4, 4), (1, 2, 4, 4), (1, 1, 1, 4, 4)])
def test_masks_of_another_shape_are_refused(shape):
    _, terms = two_spaces(settings=({"mask": torch.ones(shape)}, {}, {}, {}))
    with pytest.raises(
        ValueError, match=r"^Expected a mask of shape .* for first, one or as many as samples \(2\), and"
    ):
        run(terms, joint_noise(terms))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda terms: run(terms, joint_noise(terms), sample_logic), "for this sampler, .* another sampler than logic"),
        (
            lambda terms: sample_product(terms, joint_noise(terms)[terms[0].expert], settings=[LiftScores(terms)]),
            "score samples",
        ),
        (
            lambda terms: run([*terms[:2], *(replace(t, null=None) for t in terms[2:])], joint_noise(terms)),
            "Second needs a negative, because each latent space",
        ),
    ],
)
def test_what_works_in_one_space_alone_is_refused(make, sentence):
    with pytest.raises(ValueError, match=rf"^(Expected .*)?{sentence}"):
        make(two_spaces()[1])


def test_latents_without_a_vae_are_refused():
    _, terms = two_spaces()
    terms[0].expert.downscale = 2
    with pytest.raises(ValueError, match=r"^Expected a VAE for \w+, whose latents .* and got none; pass `load_vae`"):
        JointDenoiser(terms, (4, 4))


@pytest.mark.parametrize(("names", "numbers"), [("abcd", "1 and those of c 4"), ("cdab", "4 and those of a 1")])
def test_latents_taken_for_pictures_are_refused(names, numbers):
    """Those of an expert of one's own that was told neither its VAE nor that pictures are larger."""
    terms = [Term(AffineExpert(name, 8 if name in "cd" else 4), label(0), label(4)) for name in names]
    for term in terms:
        term.expert.channels = 4 if term.expert.name in "cd" else 1
    with pytest.raises(ValueError, match=rf"^Expected pictures of one number of channels to .* have {numbers}; pass "):
        JointDenoiser(terms, (4, 4))


def test_sizes_follow_the_first_experts_aspect_ratio():
    _, terms = two_spaces((4, 8))
    spaces = JointDenoiser(terms, (4, 9)).spaces
    assert [space.size for space in spaces.spaces] == [(4, 9), (5, 12)]
    assert spaces.kappas[1] == pytest.approx(math.sqrt(60 / 36))


def test_what_a_device_cannot_resize_is_resized_on_the_cpu(monkeypatch):
    pictures, resize, tried = torch.randn(1, 3, 8, 8), F.interpolate, []

    def lacking(values, *args, **more):
        tried.append(values)
        if len(tried) == 1:
            raise NotImplementedError("aten::_upsample_bilinear2d_aa.out")
        return resize(values, *args, **more)

    expected = resized(pictures, (4, 6))
    monkeypatch.setattr(F, "interpolate", lacking)
    assert torch.equal(resized(pictures, (4, 6)), expected)
    assert len(tried) == 2
