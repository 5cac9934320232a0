"""The server as users start it, with the pack installed among its custom nodes; everything goes over HTTP."""

import json
import shutil
import urllib.error

import numpy as np
import pytest
from PIL import Image

from ...support.watchdog import result_of
from ..support.server.comfyui_server import ROOT, page_events
from ..support.server.posts import prompt_node as node
from ..support.server.prompts import expert, product, sweep


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_node_has_help_where_the_page_asks_first(server, pack, language):
    for path in (ROOT / "web" / "docs").glob("*.md"):
        assert server.request(f"/extensions/mcdm/docs/{path.stem}/{language}.md") == path.read_bytes()
    for missing in ("MCDM_Nothing/en.md", "MCDM_Expert/en.txt"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            server.request(f"/extensions/mcdm/docs/{missing}")


WORKFLOWS = {
    "faces": {"hair_color": "red", "background": "white"},
    "faces_fewer_passes": {"hair_color": "red", "background": "white"},
    "faces_four_modalities": {"hair_color": "purple", "background": "green"},
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_shipped_workflows_obey_their_conditions(server, studies, name):
    parser, metrics = studies("data.face_parser"), studies("metrics")
    prompt = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
    (picture,) = server.pictures(prompt)
    assert picture.shape == (256, 256, 3)
    parsed = parser.parse_face(picture)
    for kind in ("hair", "skin"):
        (file,) = [value["inputs"]["image"] for value in prompt.values() if f"_{kind}.png" in str(value["inputs"])]
        truth = np.asarray(Image.open(ROOT / "workflows" / "inputs" / file.removeprefix("mcdm_")).convert("L")) > 127
        assert metrics.intersection_over_union(getattr(parsed, kind), truth) > 0.65
    assert {key: parsed.colors[key] for key in WORKFLOWS[name]} == WORKFLOWS[name]


def test_the_best_of_four_faces_is_one_of_them_and_has_its_hair_and_skin_in_place(server, studies):
    parser, metrics = studies("data.face_parser"), studies("metrics")
    prompt = json.loads((ROOT / "workflows" / "api" / "faces_best_of_four.json").read_text(encoding="utf-8"))
    outputs = server.wait(server.queue(prompt))["outputs"]
    (best,), four = ([server.picture(image) for image in outputs[key]["images"]] for key in ("18", "19"))
    assert [picture.shape for picture in four] == [(256, 256, 3)] * 4
    assert any(np.abs(best.astype(int) - picture).max() <= 3 for picture in four)  # decoded alone, and in a batch
    for kind in ("hair", "skin"):
        path = ROOT / "workflows" / "inputs" / f"face_1_{kind}.png"
        truth = np.asarray(Image.open(path).convert("L")) > 127
        assert metrics.intersection_over_union(getattr(parser.parse_face(best), kind), truth) > 0.65


def test_or_draws_faces_of_one_caption_or_of_the_other(server, studies):
    """Red hair or blue hair, both among four faces of one seed; the product's four are saved beside them."""
    parser = studies("data.face_parser")
    prompt = json.loads((ROOT / "workflows" / "api" / "faces_or.json").read_text(encoding="utf-8"))
    outputs = server.wait(server.queue(prompt))["outputs"]
    product, either = ([server.picture(image) for image in outputs[key]["images"]] for key in ("16", "17"))
    assert [picture.shape for picture in (*product, *either)] == [(256, 256, 3)] * 8
    assert {parser.parse_face(picture).colors["hair_color"] for picture in either} == {"red", "blue"}


def test_the_shipped_scene_shows_its_animal_in_its_landscape(server, studies):
    animals, landscapes = studies("evaluation.animals"), studies("evaluation.landscape_parser")
    prompt = json.loads((ROOT / "workflows" / "api" / "scenes.json").read_text(encoding="utf-8"))
    prompt["16"]["inputs"] |= {"steps": 4, "seeds": 1}  # of the sweep beside it
    picture, sweep_grid = sorted(server.pictures(prompt), key=lambda found: found.shape[1])
    assert picture.shape == (256, 256, 3)
    assert animals.read_animals(picture[None]) == ["fox"]
    assert landscapes.parse_landscape(picture) == {"sky": "purple", "orb": "moon", "hills": "green"}
    assert sweep_grid.std() > 20


def test_a_second_load_of_a_file_in_a_graph_costs_nothing(server, small_experts):
    def loads(name: str, **changes) -> int:
        folder = server.log.parent / "models" / "mcdm"
        shutil.copyfile(folder / small_experts["hair"], folder / name)
        load = node("MCDM_LoadExpert", expert_name=name)
        skin = {"skin map": node("MCDM_EncodeMap", encoder=["hair", 1], image=["map", 0], map="auto", with_text=False)}
        prompt = product(small_experts, **{"hair": load, "skin": load, **skin, **changes})
        assert server.pictures(prompt)
        return sum("Loaded" in line and name in line for line in server.log.read_text(encoding="utf-8").splitlines())

    twice = loads("twice.safetensors")
    once = loads("once.safetensors", second=expert("skin", model=["hair", 0], experts=["first", 0]))
    assert twice == once > 0


def test_a_file_replaced_under_the_same_name_is_loaded_anew(server, small_experts):
    folder = server.log.parent / "models" / "mcdm"
    maps = {"skin map": node("MCDM_EncodeMap", encoder=["skin", 1], image=["map", 0], map="auto", with_text=False)}

    def picture(name: str, prefix: str) -> np.ndarray:
        save = node("SaveImage", images=["decode", 0], filename_prefix=prefix)
        prompt = product(small_experts, skin=node("MCDM_LoadExpert", expert_name=name), save=save, **maps)
        (found,) = server.pictures(prompt)
        return found

    shutil.copyfile(folder / small_experts["hair"], folder / "replaced.safetensors")
    before = picture("replaced.safetensors", "before")
    shutil.copyfile(folder / small_experts["skin"], folder / "replaced.safetensors")
    after = picture("replaced.safetensors", "after")
    assert not np.array_equal(before, after)
    assert np.array_equal(after, picture(small_experts["skin"], "named"))


def test_previews_and_progress_arrive_while_sampling(server, small_experts):
    previews, progress = (
        result_of(page_events(server, [prompt], kind, "execution_success"), "the end of a run")
        for prompt, kind in (
            (product(small_experts, seed=21, steps=6), "binary"),
            (product(small_experts, seed=22, steps=6), "progress"),
        )
    )
    assert any(b"\xff\xd8" in picture for picture in previews)  # a JPEG begins
    assert len(progress) >= 6


EMPTY_MAP = node("MCDM_EncodeMap", encoder=["skin", 1], map="skin", with_text=False)


def test_what_a_prompt_is_refused_for_is_sent_to_its_page(server, small_experts):
    """All at once for each prompt, so that what was mended is forgotten; to no other page."""
    changes = {"first": expert("hair", condition=None), "skin map": EMPTY_MAP}
    changes["first"]["_meta"] = {"title": "Hair expert"}
    prompts = [product(small_experts, seed=42, **changes), product(small_experts, seed=42, cut=expert("hair"))]
    refused, mended = result_of(
        page_events(server, prompts, "mcdm.refusals", "mcdm.refusals", count=2), "the answers to two prompts"
    )
    assert refused["workflow"] == mended["workflow"] == "a workflow"
    assert mended["refusals"] == refused["warnings"] == []
    ((told,), nowhere) = mended["warnings"], "This expert takes no part in the picture"
    assert (told["node"], told["type"], told["text"][: len(nowhere)]) == ("cut", "MCDM_Expert", nowhere)
    assert {told["node"]: told["type"] for told in refused["refusals"]} == {
        "first": "MCDM_Expert",
        "skin map": "MCDM_EncodeMap",
    }
    texts = {told["node"]: told["text"] for told in refused["refusals"]}
    assert texts["first"].startswith("Hair expert needs a prompt, because its weight is 1.5. Connect positive")
    assert "an image or a mask" in texts["skin map"]


def test_a_warning_is_sent_for_the_node_that_gives_it(server, small_experts):
    said = node("MCDM_EncodeText", encoder=["skin", 1], text="a smiling man with a purple zeppelin")
    changes = {"skin": node("MCDM_LoadExpert", expert_name=small_experts["text"]), "skin map": said}
    prompt = product(small_experts, seed=41, **changes)
    told = result_of(page_events(server, [prompt], "mcdm.warning", "execution_success"), "the end of a run")
    (warning,) = [each for each in told if each["node"] == "skin map"]
    assert (warning["type"], warning["workflow"]) == ("MCDM_EncodeText", "a workflow")
    assert "zeppelin" in warning["text"]


def two_spaces(pixels: dict, latents: dict, vae: str) -> dict:
    """A product of pixels and latents; the VAE of the latter's expert is that of another loader.

    It comes through a node that may make any MODEL of it, so that only the run can tell.
    """
    changes = {"skin": node("MCDM_LoadExpert", expert_name=latents["skin"]), "first": expert("hair", vae=["hair", 2])}
    changes["merged"] = node("ModelMergeSimple", model1=["skin", 0], model2=["skin", 0], ratio=1.0)
    second = expert("skin", model=["merged", 0], vae=[vae, 2], experts=["first", 0])
    return product(pixels, **changes, second=second)


def as_a_model(pixels: dict, latents: dict, vae: str) -> dict:
    """As `two_spaces`, with the latents' expert as the model that is sampled."""
    prompt = two_spaces(pixels, latents, vae)
    settings = {name: value for name, value in prompt["sample"]["inputs"].items() if name != "experts"}
    links = {"model": ["first", 0], "positive": ["skin map", 0], "negative": ["skin map", 1]}
    model = {"model": ["merged", 0], "reliability": 1.0, "experts": ["second", 0], "vae": [vae, 2]}
    return prompt | {
        "first": node("MCDM_ProductModel", **model),
        "second": expert("hair", vae=["hair", 2]),
        "latent": node("MCDM_EmptyLatent", encoder=["skin", 1], batch_size=1),
        "sample": node("KSampler", **settings, **links, cfg=2.0),
        "decode": node("VAEDecode", samples=["sample", 0], vae=["skin", 2]),
    }


def in_a_sweep(pixels: dict, latents: dict, vae: str) -> dict:
    """As `two_spaces`, many times."""
    pictures = node("SaveImage", images=["sample", 1], filename_prefix="test")
    prompt = two_spaces(pixels, latents, vae) | {"sample": sweep(), "save": pictures}
    return {key: value for key, value in prompt.items() if key != "decode"}


@pytest.mark.parametrize(("prompt", "marked"), [(two_spaces, "second"), (as_a_model, "first"), (in_a_sweep, "second")])
def test_a_run_is_refused_at_the_node_of_the_expert_that_mends_it(
    server, small_experts, latent_experts, prompt, marked
):
    """ComfyUI's own message stands at the sampler."""
    wrong = prompt(small_experts, latent_experts, "hair")
    (told,) = result_of(page_events(server, [wrong], "mcdm.refusal", "execution_error"), "a failure of a run")
    assert (told["node"], told["type"]) == (marked, wrong[marked]["class_type"])
    assert " needs a VAE with 4 channels that shrinks pictures 8 times and got one with 3 channels" in told["text"]
    assert server.pictures(prompt(small_experts, latent_experts, "skin"))


def test_a_negative_of_product_as_model_is_the_samplers(server, small_experts):
    changes = {
        "first": node("MCDM_ProductModel", model=["hair", 0], reliability=1.0, experts=["second", 0]),
        "second": expert("skin"),
        "guider": node("BasicGuider", model=["first", 0], conditioning=["hair map", 0]),
        "noise": node("RandomNoise", noise_seed=1),
        "sampler": node("KSamplerSelect", sampler_name="euler"),
        "sigmas": node("BasicScheduler", model=["first", 0], scheduler="normal", steps=2, denoise=1.0),
    }
    links = {name: [name, 0] for name in ("guider", "noise", "sampler", "sigmas")}
    changes["sample"] = node("SamplerCustomAdvanced", **links, latent_image=["latent", 0])
    wrong = product(small_experts, **changes)
    told, failed = (
        result_of(page_events(server, [wrong], kind, "execution_error"), "a failure of a run")
        for kind in ("mcdm.refusal", "execution_error")
    )
    assert told == []
    assert failed[0]["node_id"] == "sample"
    assert failed[0]["exception_message"].startswith("Expert 1 (small hair) needs a negative, ")


SPARE = expert("hair", condition=None)
"""At fault in its weight, and nothing takes it."""


@pytest.mark.parametrize("beside", [{"spare": SPARE}, {"first": SPARE}], ids=["spare", "in the chain"])
def test_an_expert_at_fault_leaves_the_others_their_ranges(server, small_experts, beside):
    too_strong = expert("skin", weight=50.0, experts=["first", 0])
    status, body = server.refusal(product(small_experts, second=too_strong, **beside))
    assert status == 400
    (error,) = json.loads(body)["node_errors"]["second"]["errors"]
    assert error["extra_info"]["input_name"] == "weight"
    assert "50.0 bigger than max of 20.0" in error["message"] + error["details"]


def test_choices_are_checked_beside_a_node_at_fault(server, small_experts):
    encode = node("MCDM_EncodeMap", encoder=["hair", 1], image=["map", 0], map="nose", with_text=False)
    status, body = server.refusal(product(small_experts, **{"hair map": encode, "skin map": EMPTY_MAP}))
    assert status == 400
    errors = {key: of["errors"] for key, of in json.loads(body)["node_errors"].items()}
    assert {key: [error["extra_info"]["input_name"] for error in of] for key, of in errors.items()} == {
        "hair map": ["map"],
        "skin map": ["map"],
    }


def test_an_expert_of_an_output_that_is_not_asked_for_marks_nothing(server, small_experts):
    prompt = product(small_experts, second=expert("skin", start=0.7, end=0.2, experts=["first", 0]), spare=SPARE)
    prompt["other"] = node("MCDM_KSampler", **{**prompt["sample"]["inputs"], "experts": ["spare", 0]})
    prompt["other decode"] = node("VAEDecode", samples=["other", 0], vae=["hair", 2])
    prompt["other save"] = node("SaveImage", images=["other decode", 0], filename_prefix="test")
    for targets, marked in ((["save"], {"second"}), (["save", "other save"], {"second", "spare"})):
        with pytest.raises(urllib.error.HTTPError) as error:
            server.request("/prompt", {"prompt": prompt, "partial_execution_targets": targets})
        of = json.loads(error.value.read())["node_errors"]
        assert {key for key in of if of[key]["errors"]} == marked
