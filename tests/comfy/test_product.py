"""Several experts: the rule, the work it takes, masks, windows, noise levels, and what other nodes see of it."""

import copy
import logging
from types import SimpleNamespace

import pytest
import torch

SIGMAS = torch.tensor([20.0, 3.0, 0.5, 0.0])


@pytest.fixture
def predict(node):
    """Ask a product for x0 at one level, through the whole guider: one Euler step to 0 returns the prediction."""
    import comfy.samplers

    def run(experts, sigma=3.0, seed=2):
        (guider,) = node("MCDM_Guider", experts=experts)
        noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        sampler = comfy.samplers.sampler_object("euler")
        return guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor([sigma, 0.0]), seed=seed)

    return run


@pytest.fixture
def unclamped():
    """A MODEL whose predictions may leave −1…1, so that rules can be checked beyond it."""

    def strip(expert):
        expert.model = expert.model.clone()
        expert.model.model_options.pop("sampler_post_cfg_function")
        return expert

    return strip


def alone(expert, **settings):
    return (expert, {"weight": 1.0, **settings})


def null_of(expert):
    return (expert, {"condition": expert.null, "weight": 1.0})


def test_equation_10(load, chain, predict, unclamped):
    hair, skin = unclamped(load("hair")), unclamped(load("skin"))
    product = predict(chain((hair, {"weight": 1.5, "reliability": 1.0}), (skin, {"weight": -0.7, "reliability": 3.0})))
    c = [predict(chain(alone(expert))) for expert in (hair, skin)]
    u = [predict(chain(null_of(expert))) for expert in (hair, skin)]
    unconditional = 0.25 * u[0] + 0.75 * u[1]
    expected = unconditional + 1.5 * (c[0] - unconditional) - 0.7 * (c[1] - unconditional)
    torch.testing.assert_close(product, expected, atol=1e-5, rtol=0)


def test_the_product_is_clamped_once_and_its_terms_are_not(load, chain, predict, unclamped):
    free = [unclamped(load(name)) for name in ("hair", "skin")]
    unclamped_product = predict(chain(*((expert, {"weight": 6.0}) for expert in free)))
    clamped_product = predict(chain(*((load(name), {"weight": 6.0}) for name in ("hair", "skin"))))
    assert unclamped_product.abs().max() > 1
    torch.testing.assert_close(clamped_product, unclamped_product.clamp(-1, 1), atol=1e-5, rtol=0)


def test_order_does_not_matter(load, chain, predict):
    entries = [(load("hair"), {"weight": 1.2}), (load("skin"), {"weight": 0.8}), (load("text"), {"weight": 2.0})]
    torch.testing.assert_close(predict(chain(*entries)), predict(chain(*entries[::-1])), atol=1e-5, rtol=0)


def test_identical_experts_are_cfg_at_the_sum_of_weights(load, chain, predict):
    expert = load("hair")
    three = predict(chain(*[(expert, {"weight": 1.0})] * 3))
    torch.testing.assert_close(three, predict(chain((expert, {"weight": 3.0}))), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        ([{"weight": 2.0}, {"weight": 2.0}], 4),
        ([{"weight": 0.5}, {"weight": 0.5}], 2),
        ([{"weight": 2.0}, {"weight": 2.0, "reliability": 0.0, "null": None}], 3),
        ([{"weight": 2.0}, {"weight": 0.0, "condition": None}], 3),
        ([{"weight": 2.0, "reliability": 0.0}, {"weight": 0.0}], 2),
    ],
)
def test_only_needed_terms_are_evaluated(load, chain, predict, passes, settings, rows):
    experts = [passes.watch(load(name)) for name in ("hair", "skin")]
    predict(chain(*zip(experts, settings, strict=True)))
    assert sum(call.rows for call in passes.found) == rows


def test_experts_on_one_model_run_as_one_batch_with_one_null(load, chain, predict, passes, node):
    expert = passes.watch(load("hair"))
    other, _ = node("MCDM_EncodeMap", encoder=expert.encoder, map="hair", with_text=False, mask=torch.ones(1, 32, 32))
    predict(chain((expert, {"weight": 2.0}), (expert, {"weight": 2.0, "condition": other})))
    assert [call.rows for call in passes.found] == [3]
    assert sorted(passes.found[0].roles) == [0, 0, 1]


def test_cfg_plus_plus_gets_its_null_at_weight_1(load, chain, sample, passes):
    expert = passes.watch(load("hair"))
    sample(chain(alone(expert)), sampler_name="euler_cfg_pp", steps=1)
    assert [call.rows for call in passes.found] == [4]  # two pictures, each under condition and null


@pytest.mark.parametrize(
    ("attach", "rows"),
    [
        (lambda model: None, 3),
        (lambda model: model.set_model_sampler_post_cfg_function(lambda args: args["denoised"]), 3),
        (lambda model: model.set_model_attn1_patch(lambda q, k, v, options: (q, k, v)), 4),
    ],
    ids=["nothing", "guidance", "attention"],
)
def test_equal_nulls_of_clones_are_evaluated_once(load, chain, predict, passes, attach, rows):
    hair = passes.watch(load("hair"))
    other = copy.copy(hair)
    other.model = hair.model.clone()
    attach(other.model)
    predict(chain((hair, {"weight": 2.0}), (other, {"weight": 2.0})))
    assert sum(call.rows for call in passes.found) == rows


def test_masks_give_each_expert_its_region(load, chain, predict):
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1.0  # twice the latent's resolution
    hair, skin = load("hair"), load("skin")
    product = predict(chain((hair, {"weight": 2.0, "mask": left}), (skin, {"weight": 3.0, "mask": 1 - left})))
    torch.testing.assert_close(product[..., :16], predict(chain((hair, {"weight": 2.0})))[..., :16], atol=1e-5, rtol=0)
    torch.testing.assert_close(product[..., 16:], predict(chain((skin, {"weight": 3.0})))[..., 16:], atol=1e-5, rtol=0)


def test_a_null_is_asked_for_only_if_it_counts_somewhere(load, chain, predict, passes):
    left = torch.zeros(1, 32, 32)
    left[..., :16] = 1.0
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    entries = [(hair, {"weight": 1.0, "mask": left, "null": None}), (skin, {"weight": 3.0, "mask": 1 - left})]
    product = predict(chain(*entries))
    assert sum(call.rows for call in passes.found) == 3
    torch.testing.assert_close(product[..., :16], predict(chain(alone(hair)))[..., :16], atol=1e-5, rtol=0)
    torch.testing.assert_close(product[..., 16:], predict(chain((skin, {"weight": 3.0})))[..., 16:], atol=1e-5, rtol=0)


def test_uncovered_places_are_unconditional_and_named_once(load, chain, predict, caplog):
    hair, mask = load("hair"), torch.zeros(1, 32, 32)
    mask[:, :8] = 1.0
    with caplog.at_level(logging.WARNING):
        product = predict(chain((hair, {"weight": 2.0, "mask": mask})))
    assert [record.getMessage() for record in caplog.records if "covers" in record.getMessage()] == [
        "No mask covers 75.0 % of the picture; the unconditional estimate is used there."
    ]
    torch.testing.assert_close(product[:, :, 8:], predict(chain(null_of(hair)))[:, :, 8:], atol=1e-5, rtol=0)


def test_an_expert_costs_nothing_outside_its_window(load, chain, sample, passes):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    sample(chain((hair, {"start": 0.0, "end": 0.5}), (skin, {"start": 0.5, "end": 1.0})), steps=4)
    sampling = hair.model.get_model_object("model_sampling")
    middle = sampling.timestep(torch.tensor(sampling.percent_to_sigma(0.5))).item()
    assert {call.expert.encoder.name for call in passes.found if call.t[0] > middle + 1e-3} == {"hair"}
    assert {call.expert.encoder.name for call in passes.found if call.t[0] < middle - 1e-3} == {"skin"}


@pytest.fixture
def ask():
    """A sampler that asks for x0 at given levels and returns the last answer."""
    import comfy.samplers

    def sampler(*levels):
        def function(model, x, sigmas, extra_args, callback, disable):
            for level in levels:
                denoised = model(x, torch.full((len(x),), level), **extra_args)
            return denoised

        return comfy.samplers.KSAMPLER(function)

    return sampler


@pytest.mark.parametrize("level", [0.0, 25.0], ids=["end", "above the first level"])
def test_samplers_may_ask_at_the_end_and_above_the_first_level(load, chain, node, passes, ask, level):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    sampling = hair.model.get_model_object("model_sampling")
    levels = torch.tensor([sampling.percent_to_sigma(0.5), 1.0, 0.0])
    experts = chain((hair, {"end": 0.5}), (skin, {"start": 0.5}))
    (guider,) = node("MCDM_Guider", experts=experts)
    noise = torch.zeros(1, 3, 32, 32)
    assert guider.sample(noise, noise, ask(level), levels).isfinite().all()
    assert {call.expert.encoder.name for call in passes.found} == {"skin"}


def test_noise_can_be_added_as_well(load, chain, node):
    """FlipSigmas turns the sampling round; the windows stay where they are."""
    import comfy.samplers
    import comfy_extras.nodes_custom_sampler as custom

    (sigmas,) = custom.FlipSigmas().get_sigmas(SIGMAS.clone())
    gap = chain((load("hair"), {"end": 0.3}), (load("skin"), {"start": 0.6}))
    whole = chain((load("hair"), {"end": 0.6}), (load("skin"), {"start": 0.3}))
    picture = torch.full((1, 3, 32, 32), 0.3)
    euler = comfy.samplers.sampler_object("euler")
    with pytest.raises(ValueError, match="active expert at every noise level"):
        node("MCDM_Guider", experts=gap)[0].sample(torch.zeros_like(picture), picture, euler, sigmas)
    noised = node("MCDM_Guider", experts=whole)[0].sample(torch.zeros_like(picture), picture, euler, sigmas)
    assert noised.std() > 5.0


def test_a_null_that_a_sampler_will_want_is_refused_before_the_first_call(load, chain, sample, passes):
    hair, skin = passes.watch(load("hair")), passes.watch(load("skin"))
    experts = chain(alone(hair, end=0.5), alone(skin, start=0.5, null=None))
    sample(experts, steps=4)
    passes.found.clear()
    with pytest.raises(ValueError, match=r"null for expert 2 \(small skin\).* or choose another sampler\."):
        sample(experts, sampler_name="euler_cfg_pp", steps=4)
    with pytest.raises(ValueError, match=r"positive sum .* whatever the weights sum to"):
        sample(chain(alone(hair, reliability=0.0)), sampler_name="euler_cfg_pp", steps=4)
    assert not passes.found


class VideoNetwork(torch.nn.Module):
    """The least that ComfyUI takes for a video model."""

    dtype = torch.float32

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = torch.nn.Conv3d(16, 16, 3, padding=1)

    def forward(self, x_t, t, context=None, control=None, transformer_options=None, **kwargs):
        return self.conv(x_t) + context.mean()


@pytest.fixture
def video():
    """An expert on videos, in the latent space of Wan."""
    import comfy.latent_formats
    import comfy.model_base
    import comfy.supported_models_base
    from comfy.model_patcher import ModelPatcher

    class Config(comfy.supported_models_base.BASE):
        latent_format = comfy.latent_formats.Wan21

    def make(seed):
        config = Config({"disable_unet_model_creation": True})
        model = comfy.model_base.BaseModel(config, comfy.model_base.ModelType.FLOW)
        model.diffusion_model = VideoNetwork(seed)
        patcher = ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
        tokens = [[torch.full((1, 2, 4), value), {}] for value in (0.5 * seed, 0.0)]
        return SimpleNamespace(model=patcher, condition=tokens[:1], null=tokens[1:])

    return make


def test_videos(video, chain, node):
    """A mask for each frame; at the first level each frame is its own expert's."""
    import comfy.samplers

    first, second = video(1), video(2)
    noise = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(4))

    def run(guider):
        euler = comfy.samplers.sampler_object("euler")
        return guider.sample(noise, torch.zeros_like(noise), euler, torch.tensor([0.9, 0.0]))

    def core(expert, cfg):
        guider = comfy.samplers.CFGGuider(expert.model)
        guider.set_conds(expert.condition, expert.null)
        guider.set_cfg(cfg)
        return run(guider)

    def product(*entries):
        return run(node("MCDM_Guider", experts=chain(*entries))[0])

    assert torch.equal(product((first, {"weight": 3.0})), core(first, 3.0))
    frames = torch.zeros(3, 16, 16)
    frames[:1] = 1.0
    mixed = product((first, {"weight": 3.0, "mask": frames}), (second, {"weight": 2.0, "mask": 1 - frames}))
    torch.testing.assert_close(mixed[:, :, :1], core(first, 3.0)[:, :, :1], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed[:, :, 1:], core(second, 2.0)[:, :, 1:], atol=1e-5, rtol=0)


def test_experts_meet_at_one_noise_level(load, chain, predict, passes):
    cosine, linear = load("hair"), passes.watch(load("linear"))
    predict(chain(alone(cosine), (linear, {"weight": 1.0, "reliability": 0.0})), sigma=3.0)
    schedule = linear.model.get_model_object("model_sampling")
    assert schedule.sigma(passes.found[0].t).item() == pytest.approx(3.0, rel=1e-5)
    assert passes.found[0].t.item() != round(passes.found[0].t.item())


def test_above_its_range_an_expert_is_asked_at_its_highest_level(load, chain, predict, passes):
    cosine, linear = load("hair"), passes.watch(load("linear"))
    predict(chain((cosine, {"weight": 0.0, "null": None}), alone(linear)), sigma=5000.0)
    call = passes.found[0]
    assert call.t.item() == pytest.approx(999, abs=1e-3)
    assert call.x_t.std().item() == pytest.approx(1.0, abs=0.1)  # scaled, or it would be 30 times as much


def test_guidance_hooks_run_once_on_the_product(load, chain, predict, caplog):
    hair, skin, seen = load("hair"), load("skin"), []
    for expert, name in ((hair, "hair"), (skin, "skin")):
        expert.model = expert.model.clone()

        def hook(args, name=name):
            seen.append((name, args["cond_scale"]))
            return args["denoised"]

        expert.model.set_model_sampler_post_cfg_function(hook)
    with caplog.at_level(logging.WARNING):
        predict(chain((hair, {"weight": 1.5}), (skin, {"weight": 2.5})))
    assert seen == [("hair", 4.0)]
    assert any("expert 2 (small skin)" in record.getMessage() for record in caplog.records)


def test_the_clamp_of_other_experts_is_no_reason_to_warn(load, chain, predict, caplog):
    with caplog.at_level(logging.WARNING):
        predict(chain(load("hair"), load("skin")))
    assert not caplog.records
