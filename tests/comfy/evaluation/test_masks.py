"""Masks: every expert acts in its own place."""

import logging
from functools import partial

import pytest
import torch

from ..support.attachments import alone, null_of


@pytest.fixture(params=["MCDM_Guider", "MCDM_OwnNullGuider"])
def predict(request, predict):
    """The prediction of a chain at one level, by either guider."""
    return partial(predict, kind=request.param)


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
        "No mask covers 75.0 % of the picture, which follows no prompt there; widen a mask, or remove one."
    ]
    torch.testing.assert_close(product[:, :, 8:], predict(chain(null_of(hair)))[:, :, 8:], atol=1e-5, rtol=0)


NO_SAY = "The mask of expert {} is 0 everywhere, so it has no say; widen the mask, or remove it."


def test_every_black_mask_is_named_whenever_its_expert_acts(load, load_latent, chain, node, caplog):
    """In one space and in two, of experts that act one after the other, beside one without a mask."""
    black, settings = torch.zeros(1, 64, 64), {"weight": 2.0}
    for other in (load("skin"), load_latent("skin")):
        hair = load("hair")
        whole, vae = (hair, settings | {"vae": hair.vae}), {"vae": other.vae, "mask": black}
        experts = chain(whole, (other, settings | vae | {"end": 0.5}), (other, settings | vae | {"start": 0.5}))
        with caplog.at_level(logging.WARNING):
            node("MCDM_Guider", experts=experts)[0].check_run(torch.randn(1, 3, 32, 32), torch.tensor([9.0, 0.1, 0.0]))
        names = [expert.label.removeprefix("expert ") for expert in experts[1:]]
        assert [record.getMessage() for record in caplog.records] == [NO_SAY.format(name) for name in names]
        caplog.clear()


def test_masks_of_single_frames_are_those_of_the_pictures(host):
    """A latent of Qwen-Image or Wan is a video of one frame for each picture of the batch."""
    two = torch.stack([torch.zeros(8, 8), torch.ones(8, 8)])
    shape = (2, 16, 1, 4, 4)
    found = host.comfyui.latents.mask_like(two, torch.zeros(shape), [shape], torch.device("cpu"))
    assert found.shape == (2, 1, 1, 4, 4)
    assert found[:, 0, 0, 0, 0].tolist() == [0.0, 1.0]


def test_a_mask_of_booleans_is_one_of_zeros_and_ones(load, chain, predict):
    half = torch.zeros(1, 20, 20)
    half[:, :10] = 1
    numbers, booleans = (predict(chain((load("hair"), {"mask": mask}))) for mask in (half, half.bool()))
    assert torch.equal(numbers, booleans)


def test_there_is_one_mask_for_single_frames_or_one_for_each(joint, chain, node):
    (guider,) = node("MCDM_Guider", experts=chain((joint.expert_in("Wan21", 1), {"mask": torch.ones(3, 8, 8)})))
    with pytest.raises(ValueError, match="one for each of the 2 pictures, and got 3"):
        guider.check_run(torch.zeros(2, 16, 1, 4, 4), torch.tensor([0.9, 0.0]))
