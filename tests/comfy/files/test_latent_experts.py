"""Experts that make latents of a VAE: in ComfyUI they are ordinary latent models, and what they give is the core's."""

import json

import comfy.model_management
import latent_preview
import numpy as np
import pytest
import torch
from comfy.cli_args import LatentPreviewMethod, args
from mcdm_pack.mcdm_core.checkpoints import autoencoders
from mcdm_pack.nodes.host.files.conditioning import read_condition
from PIL import Image
from torch.nn.functional import pixel_shuffle

import nodes

from ..support.server.comfyui_server import ROOT
from ..support.server.posts import said_of

EMPTY = {"samples": torch.zeros(2, 4, 8, 8)}


@pytest.fixture
def own(core, base, latent_experts):
    """Load an expert by the core alone."""
    return lambda name: core.load_expert(base / "models" / "mcdm" / latent_experts[name])


def picture(height=64, width=64):
    """A picture with coarse shapes, in 0…1, shape (1, height, width, 3)."""
    coarse = torch.rand(1, 3, height // 16, width // 16, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").movedim(1, -1)


def correlation(first, second):
    return torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]


def latents(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def test_the_vae_is_comfyuis_and_codes_as_the_core_does(load_latent, own):
    vae, expert, samples = load_latent("hair").vae, own("hair"), latents(2, 4, 8, 12)
    assert type(vae).__module__ == "comfy.sd"
    decoded = (expert.decode(samples).movedim(1, -1) + 1) / 2
    assert 0.05 < decoded.std() < 1
    torch.testing.assert_close(vae.decode(samples), decoded.clamp(0, 1), atol=1e-5, rtol=0)
    encoded = expert.encode(picture(64, 96).movedim(-1, 1) * 2 - 1)
    torch.testing.assert_close(vae.encode(picture(64, 96)), encoded, atol=1e-4, rtol=0)


@pytest.mark.long
@torch.inference_mode()  # as ComfyUI runs nodes
def test_tiled_decoding_and_encoding(load_latent):
    vae, samples = load_latent("hair").vae, latents(1, 4, 32, 32)
    whole = vae.decode(samples)
    (tiled,) = nodes.VAEDecodeTiled().decode(vae, {"samples": samples}, tile_size=128, overlap=32)
    assert tiled.shape == whole.shape == (1, 256, 256, 3)
    assert correlation(tiled, whole) > 0.95
    (encoded,) = nodes.VAEEncodeTiled().encode(vae, picture(256, 256), tile_size=128, overlap=32)
    expected = vae.encode(picture(256, 256))
    assert encoded["samples"].shape == expected.shape == (1, 4, 32, 32)
    assert correlation(encoded["samples"], expected) > 0.8  # a random encoder sees the seams well


def test_an_area_has_its_part_of_the_map(load_latent, chain, sample, passes):
    """Set Area counts the picture's pixels; of the map the network reads what lies there, folded."""
    expert = passes.watch(load_latent("hair"))
    (area,) = nodes.ConditioningSetArea().append(expert.condition, 32, 40, 16, 8, 1.0)
    sample(chain((expert, {"condition": area})), EMPTY, steps=1)
    (cut,) = (call.given["maps"] for call in passes.found if call.x_t.shape[-2:] == (5, 4))
    told = read_condition(*reversed(expert.condition[0])).maps
    cut = cut[cut.flatten(1).any(1)]  # less the null's rows
    torch.testing.assert_close(pixel_shuffle(cut[:1], 8).cpu(), pixel_shuffle(told, 8)[..., 8:48, 16:48])


@pytest.mark.parametrize("shape", [(1, 4, 5, 9), (1, 4, 1, 2)])
def test_any_8_pixels_are_a_size(load_latent, chain, sample, shape):
    """What does not fit the network's halvings is padded, and the rest is as where it fits."""
    text = chain(load_latent("text"))
    assert sample(text, {"samples": torch.zeros(shape)}, steps=2).shape == shape


def test_padding_leaves_the_other_places_alone(load_latent):
    network = load_latent("text").model.model.diffusion_model
    x, t = latents(1, 4, 9, 16), torch.tensor([500.0])
    padded = torch.cat([x, x[:, :, -2:-1]], dim=2)
    with torch.no_grad():
        torch.testing.assert_close(network(x, t), network(padded, t)[:, :, :9])


def test_a_sketch_is_shown_at_the_size_of_pictures(load_latent, node):
    drawn = torch.zeros(1, 64, 64, 3)
    drawn[:, 20:22] = 1.0
    inputs = {"mode": "drawing light on dark", "low_threshold": 100.0, "high_threshold": 200.0}
    sketch = node("MCDM_EncodeSketch", encoder=load_latent("sketch").encoder, image=drawn, **inputs)[2]
    assert sketch.shape == (1, 64, 64, 3)
    torch.testing.assert_close(sketch, drawn)


def test_memory_is_that_of_latents(load_latent, load):
    """Two networks of one width, asked for samples of one size, of which the other's works on patches of 2 × 2."""
    ours, pixels = (expert.model.model.memory_required([2, 4, 8, 8]) for expert in (load_latent("hair"), load("hair")))
    assert ours == 4 * pixels


def test_previews_are_in_the_colours_of_the_vae(host, comfyui):
    """What Empty Latent would become in the middle of a run, shown without decoding it."""
    vae = autoencoders.load_autoencoder(f"{ROOT}/vae/mcdm_vae.safetensors")
    space = host.files.latent_formats.LatentSpace(4, autoencoders.encoder_key(vae))
    face = Image.open(f"{ROOT}/workflows/inputs/face_1.png").convert("RGB").resize((256, 256), Image.Resampling.NEAREST)
    pixels = torch.from_numpy(np.asarray(face).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    previewer = latent_preview.Latent2RGBPreviewer(space.latent_rgb_factors, space.latent_rgb_factors_bias)
    with torch.no_grad():
        shown = previewer.decode_latent_to_preview(vae.encode(pixels))
    expected = torch.nn.functional.avg_pool2d(pixels, 8)[0].permute(1, 2, 0).flatten()
    seen = torch.from_numpy(np.asarray(shown).copy()).flatten() / 127.5 - 1
    assert correlation(seen, expected) > 0.8


def test_latents_of_other_vaes_have_no_previews(load_latent, chain, sample, monkeypatch):
    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.Auto)
    model = load_latent("hair").model
    assert latent_preview.get_previewer(model.load_device, model.model.latent_format) is None
    assert sample(chain(load_latent("hair")), EMPTY, steps=1).isfinite().all()


@pytest.mark.parametrize(("fast", "dtype"), [(False, torch.float32), (True, torch.float16)])
def test_weights_in_half_precision_are_sampled_so_where_that_is_fast(
    core, own, base, node, chain, sample, load_latent, monkeypatch, fast, dtype
):
    monkeypatch.setattr(comfy.model_management, "should_use_fp16", lambda *_, **__: fast)
    hair = own("hair")
    values = {**hair.metadata, "network": hair.network.config}
    del values["format"]
    name = "latent half.safetensors"
    core.save_expert(base / "models" / "mcdm" / name, hair.network.half(), core.ExpertMetadata(**values))
    expert = load_latent("hair")
    expert.model, _, _ = node("MCDM_LoadExpert", expert_name=name)
    assert expert.model.model.get_dtype() == dtype
    out = sample(chain(expert), EMPTY, steps=2)
    torch.testing.assert_close(out, sample(chain(load_latent("hair")), EMPTY, steps=2), atol=0.05, rtol=0)


# What is refused


def test_a_map_of_another_size_is_told_in_pixels(load_latent, chain, sample):
    match = "expects a latent of 64×64 pixels, the size of its map, and got one of 96×128"
    with pytest.raises(ValueError, match=match):
        sample(chain(load_latent("hair")), {"samples": torch.zeros(1, 4, 16, 12)})


def test_conditions_of_one_kind_are_no_conditions_of_the_other(load, load_latent, chain, sample):
    expert = load_latent("hair")
    expert.condition = load("hair").condition
    match = "driven by a hair map and got a conditioning made for one driven by a hair map, with"
    with pytest.raises(ValueError, match=match):
        sample(chain(expert), EMPTY)


def test_a_vae_that_is_missing_is_refused_at_post(host, node, base, latent_experts, small_vaes, tmp_path):
    file = base / "models" / "vae" / "within" / "other.safetensors"
    name, kept = latent_experts["other"], tmp_path / "kept.safetensors"
    assert said_of(host, node, "MCDM_LoadExpert", expert_name=name) is True
    state = host.files.expert_folders.file_state(name)
    assert json.dumps(state)  # Save Image writes it
    file.rename(kept)
    try:
        sentence = said_of(host, node, "MCDM_LoadExpert", expert_name=name)
        assert f"{name} makes latents of a VAE ({small_vaes['other']}) that is not there; put its file" in sentence
        with pytest.raises(ValueError, match="makes latents of a VAE"):
            node("MCDM_LoadExpert", expert_name=name)
        moved = base / "models" / "mcdm" / "vae.safetensors"
        kept.rename(moved)
        assert host.files.expert_folders.vae_path(name) == moved
        assert host.files.expert_folders.file_state(name) != state  # the node loads again
        moved.rename(kept)
    finally:
        kept.rename(file)
    assert said_of(host, node, "MCDM_LoadExpert", expert_name=name) is True
