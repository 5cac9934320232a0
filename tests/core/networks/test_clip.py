"""The CLIP towers against the published code, and what does not depend on weights."""

import pytest
import torch
from torch import nn

from mcdm_core.networks import (
    ClipImageConfig,
    ClipImageTower,
    ClipTextConfig,
    ClipTextTower,
    GlideClipImageConfig,
    GlideClipImageTower,
    GlideClipTextConfig,
    GlideClipTextTower,
)
from mcdm_core.networks.clip import MEAN, STD

from ...support.reference_weights import reference_config, reference_values, reference_weights

CAPTIONS = ["This person wears eyeglasses", "She has blonde hair", ""]


def _load(tower: nn.Module, name: str, prefix: str = "") -> nn.Module:
    weights = reference_weights(name)
    tower.load_state_dict({key: weights[prefix + key] for key in tower.state_dict()})
    return tower.requires_grad_(False)


def _clip_text() -> ClipTextTower:
    c = reference_config("farl_clip")
    config = ClipTextConfig(
        width=c["transformer_width"], layers=c["transformer_layers"], heads=c["transformer_heads"], dim=c["embed_dim"]
    )
    return _load(ClipTextTower(config), "farl_clip")


def _clip_image() -> ClipImageTower:
    c = reference_config("farl_clip")
    config = ClipImageConfig(
        c["image_resolution"], c["vision_patch_size"], c["vision_width"], c["vision_layers"], 1, c["embed_dim"]
    )
    return _load(ClipImageTower(config), "farl_clip", "visual.")


def _glide_text() -> GlideClipTextTower:
    c = reference_config("glide_clip_text")
    width = c["n_head"] * c["n_head_state"]
    config = GlideClipTextConfig(width=width, layers=c["n_xf_blocks"], heads=c["n_head"], dim=c["n_embd"])
    return _load(GlideClipTextTower(config), "glide_clip_text")


def _glide_image() -> GlideClipImageTower:
    c = reference_config("glide_clip_image")
    config = GlideClipImageConfig(
        image_size=c["image_size"],
        patch_size=c["patch_size"],
        width=c["n_head"] * c["n_head_state"],
        layers=c["n_xf_blocks"],
        heads=c["n_head"],
        dim=c["n_embd"],
        timesteps=c["n_timestep"],
    )
    return _load(GlideClipImageTower(config), "glide_clip_image")


# Tower, its reference, the names of its inputs and of its output.
REFERENCES = {
    "clip text": (_clip_text, "farl_clip", ("tokens",), "text_embed"),
    "clip image": (_clip_image, "farl_clip", ("image",), "image_embed"),
    "glide text": (_glide_text, "glide_clip_text", ("tokens", "lens"), "z_t"),
    "glide image": (_glide_image, "glide_clip_image", ("x", "t"), "z_i"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", REFERENCES)
def test_towers_agree_with_the_published_code(name, dtype):
    build, reference, inputs, output = REFERENCES[name]
    values = reference_values(reference)
    result = build().to(dtype)(*(values[f"inputs/{key}"] for key in inputs))
    expected = values[f"outputs/{output}"]
    # Weights in half precision are rounded once; all that is computed with them is float32.
    tolerance = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-1}[dtype]
    assert result.dtype == torch.float32
    assert (result - expected).abs().max() < tolerance * expected.abs().max()


def test_clip_reads_captions_as_published():
    unit = reference_values("farl_clip")["outputs/text_embed_unit"]
    torch.testing.assert_close(_clip_text().encode(CAPTIONS), unit, atol=1e-5, rtol=0)


def test_glide_clip_reads_captions():
    tower = _glide_text()
    tokens, lengths = tower.tokenizer(CAPTIONS)
    embedding = tower.encode(CAPTIONS)
    assert torch.equal(embedding, torch.nn.functional.normalize(tower(tokens, lengths), dim=1))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))


def test_text_after_the_end_token_changes_nothing():
    for tower, rest in ((_clip_text(), ()), (_glide_text(), (torch.tensor([5]),))):
        tokens, _ = tower.tokenizer(["blonde hair"])
        assert tokens[0, 3] == tower.tokenizer.end
        changed = tokens.clone()
        changed[0, 5:] = 7
        lengths = [torch.tensor([4])] if rest else []
        torch.testing.assert_close(tower(tokens, *lengths), tower(changed, *lengths), atol=1e-6, rtol=0)


def test_pictures_of_the_right_size_are_only_normalized():
    tower = _clip_image()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    pixels = ((images + 1) / 2 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(tower.encode(images), torch.nn.functional.normalize(tower(pixels), dim=1))


def test_of_other_pictures_the_middle_is_read():
    tower = _clip_image()
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    wide = torch.nn.functional.pad(images, (9, 9), value=1.0)
    assert torch.equal(tower.encode(wide), tower.encode(images))


def test_large_pictures_are_made_smaller():
    tower = _clip_image()
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 128), torch.linspace(-1, 1, 128), indexing="ij")
    large = torch.stack([rows, columns, rows * columns])[None]
    small = torch.nn.functional.avg_pool2d(large, 4)
    assert (tower.encode(large) * tower.encode(small)).sum() > 0.999
    assert (tower.encode(large) * tower.encode(-small)).sum() < 0.9


def test_noise_aware_embeddings_have_length_one_and_gradients_to_the_picture():
    tower = _glide_image()
    images = torch.rand(2, 3, 32, 32).requires_grad_()
    embedding = tower.encode(images, torch.tensor([3, 900]))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    embedding[:, 0].sum().backward()
    assert images.grad.abs().amax(dim=(1, 2, 3)).min() > 0


def test_pictures_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"shape \(B, 3, 32, 32\) and got \(1, 3, 64, 64\)"):
        _glide_image()(torch.zeros(1, 3, 64, 64), torch.tensor([0]))
