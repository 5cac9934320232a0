"""Products of several spaces, stepped otherwise than as shipped."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from mcdm_core import Expert, Schedule, Term, load_expert, prediction_named, sample_product
from studies.evaluation.joint import Joint, mix_of, sample_joint, with_averages_of
from studies.gaussian import gaussian_expert, label, wide_schedule

from ...support.evaluations import write_small
from ...support.gaussians import recorded

SIZES = {"skin": 32, "hair": 64}


def rng():
    return torch.Generator().manual_seed(3)


@pytest.fixture(scope="module")
def terms(tmp_path_factory):
    """Experts on pictures of two sizes, the smaller ones first."""
    folder = tmp_path_factory.mktemp("experts")
    found = []
    for name, size in SIZES.items():
        write_small(folder, name, {"kind": "map", "map": name}, {"map_channels": 1}, size=size)
        expert = load_expert(folder / f"{name}.safetensors")
        condition = expert.encoder.encode_map(torch.rand(2, size, size, generator=rng()))
        found.append(Term(expert, condition, condition.null(), weight=2.0))
    return found


@pytest.fixture
def sample(terms):
    def sample(joint):
        noise = torch.randn(2, 3, 32, 32, generator=rng())
        return sample_joint(terms, noise, "3", joint, rng(), eta=1.0)

    return sample


def test_the_shipped_choice_is_what_is_shipped(terms, sample):
    noise = torch.randn(2, 3, 32, 32, generator=rng())
    assert torch.equal(sample(Joint()), sample_product(terms, noise, "3", generator=rng(), eta=1.0))


@pytest.mark.parametrize("changes", [{"scale": "equal"}, {"noise": "shared"}])
def test_another_choice_draws_another_picture(sample, changes):
    assert (sample(Joint(**changes)) - sample(Joint())).abs().max() > 1e-3


@pytest.mark.parametrize(("scale", "ratio"), [("sides", 2.0), ("equal", 1.0)])
def test_equal_scales_start_all_spaces_at_one_level(scale, ratio):
    terms = []
    for size, most in ((32, 100.0), (64, 1000.0)):
        gaussians = recorded(gaussian_expert([0.5, 0.0], [1.0, 1.0], wide_schedule(sigma_max=most)))
        terms.append(Term(replace(gaussians, image_size=size, clamp_x0=True), label(0), label(1), weight=2.0))
    noise = torch.randn(2, 1, 32, 32, generator=rng(), dtype=torch.float64)
    sample_joint(terms, noise, "1", Joint(scale=scale), rng(), eta=1.0)
    (first,), (second,) = (term.expert.network.levels for term in terms)
    assert second == pytest.approx(ratio * first)


def test_shared_noise_is_white_and_has_the_averages_of_the_references():
    reference, own = torch.randn(64, 4, 8, 8, generator=rng()), torch.randn(64, 3, 16, 16, generator=rng())
    mix = torch.linalg.qr(torch.randn(4, 3, generator=rng())).Q.T
    shared = with_averages_of(reference, own, mix)
    torch.testing.assert_close(F.avg_pool2d(shared, 2), torch.einsum("dc, bchw -> bdhw", mix, reference) / 2)
    rows = F.unfold(shared, 2, stride=2).movedim(1, -1).flatten(0, 1)  # the 12 values of a piece
    torch.testing.assert_close(rows.T @ rows / len(rows), torch.eye(12), atol=0.06, rtol=0)


class Mixing(torch.nn.Module):
    """A VAE whose pictures are mixes of the channels, and a ripple that no mix is."""

    def __init__(self, mix, ripple=0.0):
        super().__init__()
        self.mix, self.ripple = mix, ripple

    def decode(self, latents):
        mixed = torch.einsum("dc, bchw -> bdhw", 0.1 * self.mix, latents)
        return F.interpolate(mixed + self.ripple * latents[:, :3] ** 2, scale_factor=8.0)


def on_latents(vae):
    """An expert, asked for no more than its pictures."""
    settings = {"image_size": 64, "channels": 4, "downscale": 8, "clamp_x0": False}
    return Expert(torch.nn.Identity(), Schedule.cosine(), prediction_named("eps"), load_vae=lambda: vae, **settings)


@pytest.fixture
def mix():
    return torch.linalg.qr(torch.randn(4, 3, generator=rng())).Q.T


def test_channels_are_mixed_as_they_are_decoded(mix):
    torch.testing.assert_close(mix_of(on_latents(Mixing(mix)), (8, 8)), mix, atol=1e-5, rtol=0)


def test_the_mix_is_the_same_to_the_bit_in_a_process_of_any_number_of_threads(mix):
    expert, threads = on_latents(Mixing(mix, ripple=0.01)), torch.get_num_threads()
    fitted = []
    try:
        for count in (1, 2, 3, 4):
            torch.set_num_threads(count)
            fitted.append(mix_of.__wrapped__(expert, (64, 64)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(fitted[0], other) for other in fitted[1:])


def test_the_mix_is_fitted_once_for_all_batches(terms, monkeypatch):
    decoded = []
    decode = Expert.decode
    monkeypatch.setattr(Expert, "decode", lambda self, samples: decoded.append(len(samples)) or decode(self, samples))
    mix_of.cache_clear()
    counts = []
    for _ in range(2):
        sample_joint(terms, torch.randn(2, 3, 32, 32), "2", Joint(noise="shared"), rng(), eta=1.0)
        counts.append(decoded.count(8))
    assert counts == [1, 1]


def test_experts_of_one_space_are_refused(terms):
    with pytest.raises(ValueError, match=r"^Expected experts of several spaces for `joint` and got one space"):
        sample_joint(terms[:1], torch.randn(2, 3, 32, 32), "1", Joint(), rng(), eta=1.0)


def test_what_can_not_share_noise_is_refused():
    with pytest.raises(ValueError, match=r"^Expected samples whose sides are multiples of the reference's"):
        with_averages_of(torch.randn(1, 3, 8, 8), torch.randn(1, 3, 12, 12), torch.eye(3))
    with pytest.raises(ValueError, match=r"^Expected a space of pixels to share noise with and got samples of 4 "):
        with_averages_of(torch.randn(1, 3, 8, 8), torch.randn(1, 4, 16, 16), torch.eye(3))
    with pytest.raises(ValueError, match=r"^Expected sides or equal as scale of the spaces and got 'none'; set one"):
        Joint(scale="none")
