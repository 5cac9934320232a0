"""The product denoiser: what it evaluates, and that experts meet at one noise level."""

import logging

import pytest
import torch

from mcdm_core import (
    EQ10,
    OWN_NULL,
    PREDICTIONS,
    Condition,
    Expert,
    ProductDenoiser,
    Schedule,
    Term,
    UNet,
    UNetConfig,
    sigmas_for,
)
from studies.gaussian import gaussian_expert, label, wide_schedule

from ...support.gaussians import recorded, samples

MEANS, VARIANCES = [-1.0, 1.5, 0.2], [0.3, 0.8, 2.0]
X = samples(3.0, -1.0)


def pair(**options) -> tuple[Expert, Expert]:
    one, two = (recorded(gaussian_expert(MEANS, VARIANCES, **options)) for _ in range(2))
    return one, two


def rows(*experts: Expert) -> list[list[int]]:
    return [expert.network.batches for expert in experts]


ASKED = {
    "two terms of one network and their nulls are one batch": ((0, {}), (0, {"null": label(0)}), [[8], []]),
    "equal nulls of two networks are two": ((0, {}), (1, {}), [[4], [4]]),
    "a null without reliability isn't asked": ((0, {}), (1, {"reliability": 0}), [[4], [2]]),
    "weights that sum to 1 need no null": (
        (0, {"null": None, "weight": 0.9}),
        (1, {"null": None, "weight": 0.1}),
        [[2], [2]],
    ),
    "a condition without weight isn't asked": ((0, {"weight": 3}), (1, {"weight": 0}), [[4], [2]]),
    "a mask of zeros leaves a term out": ((0, {}), (1, {"mask": torch.zeros(1, 1)}), [[2], []]),
    "equal nulls of one network are one": ((0, {}), (0, {}), [[6], []]),
    "outside its window a term isn't asked": ((0, {}), (1, {"sigma_start": 1.0}), [[2], []]),
    "conditions that may not share a batch run apart": (
        (0, {"null": None, "weight": 0.5}),
        (0, {"null": None, "weight": 0.5, "condition": Condition(labels=torch.tensor([1]), text_active=True)}),
        [[2, 2], []],
    ),
}


@pytest.mark.parametrize("case", ASKED)
def test_nothing_but_what_counts_is_asked(case):
    """Of two terms, each of one of two networks that are alike, with a null of its own or the same."""
    *terms, expected = ASKED[case]
    experts = pair()
    given = [(experts[place], {"condition": label(k), "null": label(2), **own}) for k, (place, own) in enumerate(terms)]
    ProductDenoiser([Term(expert, **own) for expert, own in given])(X, 2.0)
    assert rows(*experts) == expected


def test_terms_of_equal_numbers_are_no_equal_terms():
    one, two = (Term(expert, label(0), label(2)) for expert in pair())
    assert one != two
    assert len({one, two, one}) == 2


def test_an_unconditional_expert_lends_its_null():
    one, two = pair()
    terms = [Term(one, label(0), None, weight=3, reliability=0), Term(two, None, label(2), weight=0)]
    alone = ProductDenoiser([Term(one, label(0), label(2), weight=3)])
    torch.testing.assert_close(ProductDenoiser(terms)(X, 2.0), alone(X, 2.0))


def test_windows_that_touch_leave_no_gap_at_any_level():
    one, two = pair()
    for share in torch.rand(50).tolist():
        denoiser = ProductDenoiser([Term(one, label(0), end=share), Term(two, label(1), start=share)])
        edge = denoiser.windows[1][0]
        denoiser.check_run(X, [edge * 2, edge, 0.0])
        denoiser(X, edge)
    assert rows(one, two) == [[], [2] * 50]


def test_an_expert_is_never_asked_outside_its_schedule():
    expert = recorded(gaussian_expert(MEANS, VARIANCES, Schedule.linear()))
    for sigma in (1e5, 1.0, 1e-4):
        ProductDenoiser([Term(expert, label(0))])(X, sigma)
    assert expert.network.levels == pytest.approx([157.4073, 1.0, 0.0100005], rel=1e-5)


@pytest.mark.parametrize("rule", [EQ10, OWN_NULL])
def test_one_hot_masks_reproduce_each_expert_in_its_region(rule):
    one, two = pair()
    left = torch.zeros(4, 6)
    left[:, :3] = 1
    x = torch.randn(2, 1, 4, 6, dtype=torch.float64)
    for weight in (1.0, 3.5):
        terms = [Term(e, label(i), label(2), weight=weight) for i, e in enumerate((one, two))]
        alone = [ProductDenoiser([term], rule=rule)(x, 2.0) for term in terms]
        masked = [
            Term(e, label(i), label(2), weight=weight, mask=mask)
            for i, (e, mask) in enumerate(((one, left), (two, 1 - left)))
        ]
        together = ProductDenoiser(masked, rule=rule)(x, 2.0)
        torch.testing.assert_close(together[..., :3], alone[0][..., :3])
        torch.testing.assert_close(together[..., 3:], alone[1][..., 3:])


def test_uncovered_places_get_the_unconditional_estimate_and_one_warning(caplog):
    expert = gaussian_expert(MEANS, VARIANCES)
    mask = torch.zeros(2, 1, 4, 4)
    mask[..., :1] = 1
    denoiser = ProductDenoiser([Term(expert, label(0), label(2), weight=2, mask=mask)])
    x = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    with caplog.at_level(logging.WARNING):
        denoised = denoiser(x, 2.0)
        denoiser(x.float(), 1.0)
    assert [record.getMessage() for record in caplog.records] == [
        "No mask covers 75.0 % of the picture, which follows no prompt there; widen a mask, or remove one."
    ]
    torch.testing.assert_close(denoised[..., 1:], expert.predict_x0(x, 2.0, label(2))[..., 1:])


def test_pixels_are_clamped_after_combining():
    expert = gaussian_expert(MEANS, VARIANCES)
    expert.clamp_x0 = True
    terms = [Term(expert, label(1), None, weight=2), Term(expert, label(0), None, weight=-1)]
    raw = 2 * expert.predict_x0(X, 2.0, label(1)) - expert.predict_x0(X, 2.0, label(0))
    assert raw.max() > 1
    torch.testing.assert_close(ProductDenoiser(terms)(X, 2.0), raw.clamp(-1, 1))


def test_the_variance_is_the_reference_experts():
    config = UNetConfig(
        model_channels=32, num_res_blocks=1, channel_mult=(1,), attention_downsamplings=(), out_channels=6
    )
    networks = [UNet(config).requires_grad_(False) for _ in range(2)]
    experts = [Expert(n, Schedule.cosine(), PREDICTIONS["eps"], image_size=8) for n in networks]
    x = torch.randn(1, 3, 8, 8)
    terms = [Term(e, Condition(), None, weight=0.5) for e in experts]
    _, v = ProductDenoiser(terms).with_variance(x, 2.0)
    torch.testing.assert_close(v, experts[0].predict(x, 2.0, Condition())[1])
    gauss = gaussian_expert(MEANS, VARIANCES)
    assert ProductDenoiser([Term(gauss, label(0))]).with_variance(X, 2.0)[1] is None


def test_refusals_before_sampling():
    pixel, latent = pair()
    pixel.clamp_x0 = True
    with pytest.raises(ValueError, match="at least one term"):
        ProductDenoiser([])
    with pytest.raises(ValueError, match=r"1 channels of 1 × 1 pixels.*1 channels of latents\).*by `sample_product`"):
        ProductDenoiser([Term(pixel, label(0)), Term(latent, label(0))])
    of_a, of_b = pair()
    of_a.metadata, of_b.metadata = {"vae": "A"}, {"vae": "B"}
    with pytest.raises(ValueError, match=r"latents of the VAE A\).*latents of the VAE B\)"):
        ProductDenoiser([Term(of_a, label(0)), Term(of_b, label(0))])


def test_refusals_while_denoising():
    one, two = pair()
    with pytest.raises(ValueError, match=r"Gauss needs a negative.*the weights sum to 3\. Give"):
        ProductDenoiser([Term(one, label(0), None, weight=3)])(X, 2.0)
    with pytest.raises(ValueError, match="positive sum"):
        ProductDenoiser([Term(one, label(0), label(2), weight=3, reliability=0)])(X, 2.0)
    with pytest.raises(ValueError, match="one noise level"):
        ProductDenoiser([Term(one, label(0))])(X, torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="active expert at this noise level"):
        ProductDenoiser([Term(one, label(0), end=0.5)])(X, 0.01)
    assert rows(one, two) == [[], []]


def test_a_run_is_refused_before_the_first_network_call():
    one, two = pair()
    sigmas = sigmas_for(wide_schedule(), "10")
    gap = [Term(one, label(0), end=0.4), Term(two, label(1), start=0.6)]
    with pytest.raises(ValueError, match="none at σ"):
        ProductDenoiser(gap).check_run(X, sigmas)
    lone = [Term(one, label(0), weight=0.5), Term(two, label(1), weight=0.5, start=0.5)]
    with pytest.raises(ValueError, match="Gauss needs a negative"):
        ProductDenoiser(lone).check_run(X, sigmas)
    ProductDenoiser(lone).check_run(X, [level for level in sigmas if level < 1])
    assert rows(one, two) == [[], []]
