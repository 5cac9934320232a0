"""The template of two families, and the blueprint, in a server with files as users have.

SD3 is in the place of SDXL, whose text encoders are large.
"""

import copy
import shutil

import pytest

from ...support.workflow_twins import read_json
from ..support.server.comfyui_server import ROOT, started
from ..support.server.downloads import write_checkpoint, write_sd3_checkpoint
from ..support.server.pages import page_prompt

pytestmark = pytest.mark.long  # each file holds a text encoder, which ComfyUI knows by one size alone

TEMPLATE = read_json(ROOT / "workflows" / "api" / "sd15_and_sdxl.json")
LOADERS, PROMPTS = ("2", "6"), ("3", "7")


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


def template(words=("a cat", "a cat")):
    """The template with a small picture and few steps."""
    prompt = copy.deepcopy(TEMPLATE)
    prompt["10"]["inputs"] |= {"width": 128, "height": 128}
    prompt["11"]["inputs"] |= {"steps": 3, "sampler_name": "euler", "scheduler": "normal"}
    for positive, said in zip(PROMPTS, words, strict=True):
        prompt[positive]["inputs"]["text"] = said
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
