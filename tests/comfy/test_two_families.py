"""Two checkpoints of two families, wired as docs/latent-spaces.md says, in a server and with files as users have."""

import shutil

import pytest

from ..support.watchdog import result_of
from .support.comfyui_server import page_events, started
from .support.posts import prompt_node

pytestmark = pytest.mark.long  # each file holds a text encoder, which ComfyUI knows by one size alone

SD3, SD15 = "sd3.safetensors", "sd15.safetensors"


@pytest.fixture(scope="module")
def server(pack, comfyui, tmp_path_factory):
    from .support.downloads import write_checkpoint, write_sd3_checkpoint

    folder = tmp_path_factory.mktemp("two-families")
    (folder / "input").mkdir()
    write_checkpoint(folder / "models" / "checkpoints" / SD15, 1)
    write_sd3_checkpoint(folder / "models" / "checkpoints" / SD3, 2)
    try:
        with started(comfyui, folder) as running:
            yield running
    finally:
        shutil.rmtree(folder / "models")  # pytest would keep several hundred megabytes


def wired(vaes=(1, 2), words=("a cat", "a cat")):
    """The page's five steps, of a small picture; `vaes` says whose VAE each expert has, from 1."""
    prompt = {"latent": prompt_node("EmptyLatentImage", width=128, height=128, batch_size=1)}
    for n, (file, vae, said) in enumerate(zip((SD3, SD15), vaes, words, strict=True), start=1):
        prompt[f"load {n}"] = prompt_node("CheckpointLoaderSimple", ckpt_name=file)
        for role, text in (("positive", said), ("negative", "blurry")):
            prompt[f"{role} {n}"] = prompt_node("CLIPTextEncode", clip=[f"load {n}", 1], text=text)
        links = {"model": [f"load {n}", 0], "condition": [f"positive {n}", 0], "null": [f"negative {n}", 0]}
        links |= {"vae": [f"load {vae}", 2]} if vae else {}
        links |= {"experts": [f"expert {n - 1}", 0]} if n > 1 else {}
        prompt[f"expert {n}"] = prompt_node("MCDM_Expert", weight=3.5, reliability=1.0, start=0.0, end=1.0, **links)
    settings = {"seed": 5, "steps": 2, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    prompt["sample"] = prompt_node("MCDM_KSampler", experts=["expert 2", 0], latent_image=["latent", 0], **settings)
    prompt["decode"] = prompt_node("VAEDecode", samples=["sample", 0], vae=["load 1", 2])
    prompt["save"] = prompt_node("SaveImage", images=["decode", 0], filename_prefix="test")
    return prompt


def test_they_draw_one_picture(server):
    (picture,) = server.pictures(wired())
    assert picture.shape == (128, 128, 3)
    assert picture.std() > 5
    for words in (("a dog on a sofa", "a cat"), ("a cat", "a dog on a sofa")):
        (other,) = server.pictures(wired(words=words))
        assert abs(picture.astype(int) - other).max() > 5


@pytest.mark.parametrize(
    ("vaes", "marked", "sentence"),
    [
        (
            (1, 0),
            "expert 2",
            "Expert 2 needs a VAE, because it works on SD15 (4 channels) and expert 1 on SD3 (16 channels). Connect "
            "the VAE of its model to its vae input, or combine models of one family.",
        ),
        (
            (0, 0),
            "expert 1",
            "Expert 1 works on SD3 (16 channels) and expert 2 on SD15 (4 channels), so each needs a VAE. Connect the "
            "VAE of each model to the vae input of its expert, or combine models of one family.",
        ),
        (
            (2, 2),
            "expert 1",
            "Expert 1 needs a VAE with 16 channels and got one with 4 channels; connect the VAE that belongs to its "
            "model.",
        ),
    ],
    ids=["one is missing", "both are missing", "one is the other's"],
)
def test_a_vae_is_asked_for_at_its_experts_node(server, vaes, marked, sentence):
    """Known when the run begins: these files do not say of what latents they are until they are loaded."""
    events = page_events(server, [wired(vaes=vaes)], "mcdm.refusal", "execution_error")
    (told,) = result_of(events, "a failure of a run")
    assert (told["node"], told["type"], told["text"]) == (marked, "MCDM_Expert", sentence)
