"""Choose Samples: what it keeps, and what it refuses; where its scores come from is tested in `run/test_scores.py`."""

import pytest
import torch

from ..support.server.posts import posted, prompt_node


@pytest.fixture
def sampled(node):
    """A LATENT of a run with scores."""

    def sample(experts, batch=4):
        settings = {"seed": 3, "steps": 3, "sampler_name": "euler_ancestral", "scheduler": "simple", "denoise": 1.0}
        latent = {"samples": torch.zeros(batch, 3, 32, 32)}
        return node("MCDM_KSampler", experts=experts, latent_image=latent, scores=True, **settings)[0]

    return sample


@pytest.fixture
def experts(load, chain):
    return lambda: chain((load("hair"), {"weight": 1.5}), (load("skin"), {"weight": 2.0}))


def test_choosing_keeps_places_and_masks_and_changes_nothing(experts, node, sampled):
    product, mask = experts(), torch.rand(4, 1, 32, 32)
    latent = sampled(product) | {"noise_mask": mask, "batch_index": [7, 8, 9, 10]}
    samples = latent["samples"].clone()
    first, scores = node("MCDM_Choose", experts=product, samples=latent, count=3)
    rows = [int(line.split()[1].rstrip(":")) - 1 for line in scores.splitlines()][:3]
    assert torch.equal(first["samples"], samples[rows])
    assert torch.equal(first["noise_mask"], mask[rows])
    assert first["batch_index"] == [7 + row for row in rows]
    assert torch.equal(latent["samples"], samples)
    assert node("MCDM_Choose", experts=product, samples=latent, count=3)[1] == scores


@pytest.mark.parametrize(
    ("count", "batch", "message"),
    [
        (1, 1, r"at least 2 samples to choose from and got 1; raise"),
        (3, 2, r"from 1 to all 2 samples and got 3; lower"),
    ],
)
def test_choices_that_are_none_are_refused(experts, node, sampled, count, batch, message):
    product = experts()
    with pytest.raises(ValueError, match=message):
        node("MCDM_Choose", experts=product, samples=sampled(product, batch), count=count)


def test_a_choice_that_is_none_is_refused_at_post(host, node):
    def said(count, batch, class_type="MCDM_EmptyLatent"):
        choose = prompt_node("MCDM_Choose", experts=["e", 0], samples=["run", 0], count=count)
        run = prompt_node("MCDM_KSampler", latent_image=["latent", 0], scores=True)
        prompt = {"choose": choose, "run": run, "latent": prompt_node(class_type, batch_size=batch)}
        return posted(host, node, prompt, "choose")

    assert said(2, 4) is True
    assert said(9, 4, "RepeatLatentBatch") is True  # which may start from many
    assert "from 1 to all 4 samples and got 5" in said(5, 4)
    assert "at least 2 samples to choose from and got 1" in said(1, 1)


@pytest.mark.parametrize(
    ("run", "refused"),
    [
        (prompt_node("MCDM_KSampler"), True),
        (prompt_node("MCDM_KSampler", scores=True), False),
        (prompt_node("MCDM_KSampler", scores=["switch", 0]), False),
        (prompt_node("SamplerCustomAdvanced", guider=["off", 0]), True),
        (prompt_node("SamplerCustomAdvanced", guider=["on", 0]), False),
        (prompt_node("SamplerCustomAdvanced", guider=["other", 0]), False),
        (prompt_node("MCDM_Inspect"), True),
        (prompt_node("LatentOfAnotherPack"), False),
    ],
)
def test_samples_that_certainly_carry_no_scores_are_refused_at_post(host, node, run, refused):
    choose = prompt_node("MCDM_Choose", experts=["e", 0], samples=["run", 0], count=1)
    guiders = {name: prompt_node("MCDM_Guider", scores=name == "on") for name in ("on", "off")}
    prompt = {"choose": choose, "run": run, "other": prompt_node("GuiderOfAnotherPack"), **guiders}
    answer = posted(host, node, prompt, "choose")
    assert ("turn `scores` on where they are sampled" in answer) if refused else answer is True
