"""Pictures to enlarge and to fill in."""

import pytest
import torch

import nodes

from .given import TEXTS, condition_of, draw, half, picture


@pytest.mark.long
def test_an_upsampler_reads_the_picture_and_keeps_the_text(upsampler, chain, sample):
    def enlarged(image, text=TEXTS[0]):
        return draw(sample, chain(upsampler(image, text)), size=64)

    usual = enlarged(picture(1))
    assert not torch.equal(usual, enlarged(picture(2)))
    assert not torch.equal(usual, enlarged(picture(1), TEXTS[1]))


def test_condition_and_null_hold_the_same_picture(upsampler, chain, sample, passes):
    expert = upsampler(picture(1))
    held = [condition_of(side).low_res for side in (expert.condition, expert.null)]
    assert torch.equal(*held)
    assert torch.equal(held[0], picture(1).movedim(-1, 1) * 2 - 1)
    passes.watch(expert)
    draw(sample, chain(expert), size=64, steps=1)
    assert [call.rows for call in passes.found] == [2]


def test_an_upsampler_alone_needs_no_text(told, chain, sample):
    alone = told("upsample.pt", "MCDM_EncodeLowRes", image=picture(1))
    assert torch.equal(alone.condition[0][0], alone.null[0][0])
    assert draw(sample, chain(alone), size=64).isfinite().all()


def test_a_batch_of_pictures_is_enlarged(upsampler, chain, sample):
    both = upsampler(torch.cat([picture(1), picture(2)]))
    latent = {"samples": torch.zeros(2, 3, 64, 64), "batch_index": [0, 0]}
    first, second = sample(chain(both), latent, "euler", 2)
    torch.testing.assert_close(first[None], draw(sample, chain(upsampler(picture(1))), 64), atol=1e-3, rtol=0)
    torch.testing.assert_close(second[None], draw(sample, chain(upsampler(picture(2))), 64), atol=1e-3, rtol=0)


def test_a_class_upsampler_keeps_the_class(told, chain, sample):
    def enlarged(name):
        expert = told("64_256_upsampler.pt", "MCDM_EncodeClass", class_name=name, null_kind="mean of all classes")
        expert = told(expert, "MCDM_EncodeLowRes", image=picture(1), condition=expert.condition, null=expert.null)
        return draw(sample, chain(expert), size=64)

    assert not torch.equal(enlarged("281"), enlarged("282"))


def test_an_area_reads_its_part_of_the_small_picture(upsampler, chain, sample, passes):
    """In an area of the latent, the expert sees what lies there of the picture, enlarged to the whole latent."""
    expert = passes.watch(upsampler(picture(1)))
    whole = torch.nn.functional.interpolate(picture(1).movedim(-1, 1) * 2 - 1, (64, 64), mode="bilinear")
    (area,) = nodes.ConditioningSetArea().append(expert.condition, 8 * 24, 8 * 32, 8 * 16, 8 * 8, 1.0)
    draw(sample, chain((expert, {"condition": area})), size=64, steps=1)
    (cut,) = (call.given["low_res"] for call in passes.found if call.x_t.shape[-2:] == (32, 24))
    torch.testing.assert_close(cut[:1].cpu(), whole[..., 8:40, 16:40])


@pytest.mark.parametrize("name", ["base_inpaint.pt", "upsample_inpaint.pt"])
def test_inpainting(told, chain, sample, name):
    size = 32 if name == "base_inpaint.pt" else 64

    def filled(mask, seed=1):
        expert = told(name, "MCDM_EncodeText", text=TEXTS[0])
        inputs = {"condition": expert.condition, "null": expert.null}
        expert = told(expert, "MCDM_EncodeInpaint", image=picture(seed, size), mask=mask, **inputs)
        if size == 64:
            inputs = {"condition": expert.condition, "null": expert.null}
            expert = told(expert, "MCDM_EncodeLowRes", image=picture(seed), **inputs)
        maps = condition_of(expert.condition).maps
        assert torch.equal(maps, condition_of(expert.null).maps)
        known = picture(seed, size).movedim(-1, 1) * 2 - 1
        assert torch.equal(maps, torch.cat([known * (1 - mask), 1 - mask[:, None]], dim=1))
        return draw(sample, chain(expert), size)

    everything, some = (filled(mask) for mask in (torch.ones(1, size, size), half("face", size)))
    assert not torch.equal(everything, some)
