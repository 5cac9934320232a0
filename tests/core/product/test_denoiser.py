"""The product denoiser, by Eq. 10 and by own nulls: what it evaluates, and that experts meet at one noise level."""

import logging

import pytest
import torch

from mcdm_core import (
    EQ10,
    OWN_NULL,
    PREDICTIONS,
    Condition,
    Expert,
    Passes,
    ProductDenoiser,
    Schedule,
    Term,
    UNet,
    UNetConfig,
    own_null_epsilon,
    sample_product,
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


@pytest.mark.parametrize("schedule", [Schedule.linear(), Schedule.cosine()], ids=["linear", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_may_be_in_half_precision_and_noise_may_not(schedule, dtype):
    network = UNet(UNetConfig(model_channels=32, channel_mult=(1,), attention_downsamplings=(), num_classes=3)).eval()
    terms = [Term(Expert(network.to(dtype), schedule, PREDICTIONS["v"], image_size=8), label(0), label(2), weight=2.0)]
    noise = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    sampled = sample_product(terms, noise, "4", eta=1.0)
    assert sampled.dtype == torch.float32
    assert sampled.isfinite().all()
    with pytest.raises(ValueError, match=rf"Expected noise in float32 or float64 and got {str(dtype)[6:]}; draw"):
        sample_product(terms, noise.to(dtype), "4")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_masks_that_sum_to_1_do_so_in_half_precision(dtype):
    """Outside the guidance interval positive weights are divided by their sum, and no null is asked."""
    expert = gaussian_expert(MEANS, VARIANCES)
    masks = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(0))
    terms = [Term(expert, label(0), label(1), weight=w, mask=mask) for w, mask in zip((1, 2, 3), masks, strict=True)]
    unguided = ProductDenoiser(terms, settings=[Passes(start=0.2, end=0.8)])
    alone = ProductDenoiser([Term(expert, label(0), None)])
    x = torch.ones(1, 1, 2, 2, dtype=dtype)
    torch.testing.assert_close(unguided(x, 9000.0), alone(x, 9000.0), rtol=torch.finfo(dtype).eps, atol=0)


def test_a_denoiser_gives_gradients_after_it_ran_without():
    expert = gaussian_expert(MEANS, VARIANCES)
    denoiser = ProductDenoiser([Term(expert, label(0), label(1), weight=2.0, mask=torch.full((1, 1), 0.5))])
    x = torch.ones(1, 1, 1, 1)
    with torch.inference_mode():
        plain = denoiser(x, 1.0)
    guided = denoiser(x.requires_grad_(), 1.0)
    guided.sum().backward()
    assert torch.equal(guided, plain)
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("noise", "got"), [(torch.randn(3, 8, 8), r"shape \(3, 8, 8\)"), ([0.0], "list")], ids=["no batch", "no tensor"]
)
def test_noise_of_another_shape_is_refused(noise, got):
    expert = Expert(UNet(UNetConfig(num_classes=3)), Schedule.linear(), PREDICTIONS["eps"], image_size=8)
    with pytest.raises(ValueError, match=rf"shape \(batch, 3, 8, 8\), .* and got {got}; draw"):
        sample_product([Term(expert, label(0), label(2))], noise)


@pytest.mark.parametrize("depths", [[4], [1, 4]])
def test_noise_of_a_size_that_a_network_does_not_take_is_refused(depths):
    shape = {"model_channels": 32, "num_res_blocks": 1, "attention_downsamplings": (), "num_classes": 3}
    networks = [UNet(UNetConfig(**shape, channel_mult=(1,) * depth)) for depth in depths]
    experts = [Expert(network, Schedule.linear(), PREDICTIONS["eps"], image_size=8) for network in networks]
    with pytest.raises(ValueError, match=r"multiples of 8, as the network of expert .* and got 15×8; draw"):
        sample_product([Term(expert, label(0), label(2)) for expert in experts], torch.zeros(1, 3, 15, 8))


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


SIGMA = 2.0
NULLS = label(2), label(0)


@pytest.fixture
def named():
    return [recorded(gaussian_expert(MEANS, VARIANCES, name=name)) for name in ("first", "second")]


def terms_of(named, weights, reliabilities, nulls=NULLS):
    rows = zip(named, (label(0), label(1)), nulls, weights, reliabilities, strict=True)
    return [Term(expert, condition, null, weight=w, reliability=a) for expert, condition, null, w, a in rows]


def own_null(terms):
    return ProductDenoiser(terms, rule=OWN_NULL)


@pytest.mark.parametrize(
    ("weights", "reliabilities"), [((2.0, 3.0), (1.0, 3.0)), ((-0.5, 0.5), (1.0, 0.0)), ((0.5, 0.5), (1.0, 3.0))]
)
def test_by_own_nulls_it_is_the_rule_on_predictions_made_one_by_one(weights, reliabilities, named):
    cond = [expert.predict_x0(X, SIGMA, label(k)) for expert, k in zip(named, (0, 1), strict=True)]
    null = [expert.predict_x0(X, SIGMA, label(k)) for expert, k in zip(named, (2, 0), strict=True)]
    shares = [a / sum(reliabilities) for a in reliabilities]
    expected = own_null_epsilon(cond, null, weights, shares)
    terms = terms_of(named, weights, reliabilities)
    torch.testing.assert_close(own_null(terms)(X, SIGMA), expected)
    assert not torch.allclose(ProductDenoiser(terms)(X, SIGMA), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("weights", "reliabilities", "rows"),
    [
        ((2.0, 2.0), (1.0, 1.0), (4, 4)),
        ((0.5, 2.0), (1.0, 1.0), (2, 4)),  # its null cancels: a = w
        ((0.5, 0.5), (1.0, 1.0), (2, 2)),
        ((0.25, 0.75), (1.0, 1.0), (4, 4)),  # weights that sum to 1 are not enough
        ((1.0, 1.0), (1.0, 0.0), (2, 4)),  # a null counts for its weight too
        ((0.0, 2.0), (1.0, 1.0), (2, 4)),
        ((0.0, 2.0), (0.0, 1.0), (0, 4)),
    ],
)
def test_only_own_nulls_that_enter_are_evaluated(weights, reliabilities, rows, named):
    own_null(terms_of(named, weights, reliabilities))(X, SIGMA)
    assert tuple(sum(expert.network.batches) for expert in named) == rows


@pytest.mark.parametrize(
    ("weights", "rows"),
    [((0.7, 0.3), 4), ((0.7, 0.4), 6), ((2.0, -1.0), 4), ((0.5, 0.5), 4)],
)
def test_a_shared_null_is_evaluated_only_where_it_counts_for_all_that_share_it(weights, rows):
    one = recorded(gaussian_expert(MEANS, VARIANCES))
    cond, null = [one.predict_x0(X, SIGMA, label(k)) for k in (0, 1)], [one.predict_x0(X, SIGMA, label(2))] * 2
    one.network.batches.clear()
    denoised = own_null(terms_of([one, one], weights, (1.0, 1.0), (label(2), label(2))))(X, SIGMA)
    torch.testing.assert_close(denoised, own_null_epsilon(cond, null, weights, (0.5, 0.5)))
    assert sum(one.network.batches) == rows


def test_a_missing_null_is_refused_before_the_run(named):
    terms = terms_of(named, (0.5, 0.5), (1.0, 3.0), (None, None))
    with pytest.raises(
        ValueError, match=r"First needs a negative, because its weight is 0.5 and its reliability 1\. Give"
    ):
        sample_product(terms, X, "10", rule=OWN_NULL)
    with pytest.raises(
        ValueError, match=r"Second needs a negative, because its weight is 1 and its reliability 0\. Give"
    ):
        own_null(terms_of(named, (1.0, 1.0), (1.0, 0.0), (None, None)))(X, SIGMA)
    with pytest.raises(ValueError, match="positive sum and got 0 for first, second"):
        own_null(terms_of(named, (0.5, 0.5), (0.0, 0.0)))(X, SIGMA)
    assert [expert.network.batches for expert in named] == [[], []]
    sample_product(terms_of(named, (0.25, 0.75), (1.0, 3.0), (None, None)), X, "2", rule=OWN_NULL)
