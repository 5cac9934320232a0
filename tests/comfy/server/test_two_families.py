"""The template of two families, and the blueprint, in a server with files as users have.

SD3 is in the place of SDXL, whose text encoders are large.
"""

import copy
import shutil

import pytest

from ...support.watchdog import result_of
from ...support.workflow_twins import read_json
from ..support.server.comfyui_server import ROOT, page_events, started
from ..support.server.downloads import write_checkpoint, write_sd3_checkpoint
from ..support.server.pages import page_prompt

pytestmark = pytest.mark.long  # each file holds a text encoder, which ComfyUI knows by one size alone

TEMPLATE = read_json(ROOT / "workflows" / "api" / "sd15_and_sdxl.json")
FIRST, SECOND = LOADERS = ("2", "6")
PROMPTS, EXPERTS = ("3", "7"), ("5", "9")


@pytest.fixture(scope="module")
def server(pack, comfyui, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-families")
    (folder / "input").mkdir()
    for loader, write in zip(LOADERS, (write_sd3_checkpoint, write_checkpoint), strict=True):
        write(folder / "models" / "checkpoints" / TEMPLATE[loader]["inputs"]["ckpt_name"], seed=int(loader))
    try:
        with started(comfyui, folder) as running:
            yield running
    finally:
        shutil.rmtree(folder / "models")  # pytest would keep several hundred megabytes


def template(vaes=LOADERS, words=("a cat", "a cat")):
    """The template with a small picture and few steps; `vaes` says whose VAE each expert has."""
    prompt = copy.deepcopy(TEMPLATE)
    prompt["10"]["inputs"] |= {"width": 128, "height": 128}
    prompt["11"]["inputs"] |= {"steps": 3, "sampler_name": "euler", "scheduler": "normal"}
    for expert, vae, positive, said in zip(EXPERTS, vaes, PROMPTS, words, strict=True):
        prompt[positive]["inputs"]["text"] = said
        prompt[expert]["inputs"]["vae"] = [vae, 2]
        if vae is None:
            del prompt[expert]["inputs"]["vae"]
    return prompt


def test_they_draw_one_picture(server):
    (picture,) = server.pictures(template())
    assert picture.shape == (128, 128, 3)
    assert picture.std() > 5
    for words in (("a dog on a sofa", "a cat"), ("a cat", "a dog on a sofa")):
        (other,) = server.pictures(template(words=words))
        assert abs(picture.astype(int) - other).max() > 5


def test_the_blueprint_of_two_checkpoints_takes_them(server):
    graph = read_json(ROOT / "subgraphs" / "Combine Two Checkpoints (MCDM).json")
    (inside,) = graph["definitions"]["subgraphs"]
    prompt = page_prompt(inside, server.get("/object_info"))
    for chosen, loader in zip(("1", "2"), LOADERS, strict=True):
        prompt[chosen]["inputs"]["ckpt_name"] = TEMPLATE[loader]["inputs"]["ckpt_name"]
    prompt["9"]["inputs"] |= {"width": 128, "height": 128}
    prompt["10"]["inputs"] |= {"steps": 1}
    prompt["save"] = {"class_type": "SaveImage", "inputs": {"images": ["11", 0], "filename_prefix": "blueprint"}}
    (picture,) = server.pictures(prompt)
    assert picture.std() > 5


@pytest.mark.parametrize(
    ("vaes", "marked", "sentence"),
    [
        (
            (FIRST, None),
            EXPERTS[1],
            "Expert 2 needs a VAE, because it works on SD15 (4 channels) and expert 1 on SD3 (16 channels). Connect "
            "the VAE of its model to its vae input, or combine models of one family.",
        ),
        (
            (None, None),
            EXPERTS[0],
            "Expert 1 works on SD3 (16 channels) and expert 2 on SD15 (4 channels), so each needs a VAE. Connect the "
            "VAE of each model to the vae input of its expert, or combine models of one family.",
        ),
        (
            (SECOND, SECOND),
            EXPERTS[0],
            "Expert 1 needs a VAE with 16 channels and got one with 4 channels; connect the VAE that belongs to its "
            "model.",
        ),
    ],
    ids=["one is missing", "both are missing", "one is the other's"],
)
def test_a_vae_is_asked_for_at_its_experts_node(server, vaes, marked, sentence):
    """Known when the run begins: these files do not say of what latents they are until they are loaded."""
    events = page_events(server, [template(vaes=vaes)], "mcdm.refusal", "execution_error")
    (told,) = result_of(events, "a failure of a run")
    assert (told["node"], told["type"], told["text"]) == (marked, "MCDM_Expert", sentence)
