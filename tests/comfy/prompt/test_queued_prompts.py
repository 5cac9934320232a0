"""A whole prompt as ComfyUI validates it at POST /prompt: what is refused, and how much work that is."""

import asyncio
import json
from pathlib import Path

import execution
import pytest

from ...support.calls import counted_calls
from ..support.server.comfyui_server import ROOT
from ..support.server.posts import MARKED, PAINTED, VALIDATED, queued
from ..support.server.posts import prompt_node as node
from ..support.server.prompts import expert, product, sweep


def titled(title, of):
    """A node that the user has given a title."""
    return {**of, "_meta": {"title": title}}


PREVIEW = node("PreviewImage", images=["sample", 1])


@pytest.fixture
def refusals(host):
    """What the pack refuses a prompt with: of each node at fault the inputs marked, and what is said."""

    def validate(prompt):
        with queued(host, prompt):
            _, _, _, found = asyncio.run(execution.validate_prompt("test", prompt, None))
        ours = {key: [error for error in found[key]["errors"] if error["type"] == VALIDATED] for key in found}
        return {key: [(each["extra_info"]["input_name"], each["details"]) for each in of] for key, of in ours.items()}

    return validate


def of_latents(names):
    """An expert whose samples are latents, with its VAE, beside one that makes pictures and has none."""
    return {
        "skin": node("MCDM_LoadExpert", expert_name="latent skin.safetensors"),
        "second": expert("skin", experts=["first", 0], vae=["skin", 2]),
    }


def sampled_by(sampler, **nodes):
    """The product, sampled and shown by a sampler."""
    links = {"experts": ["second", 0], "latent_image": ["latent", 0], "vae": ["hair", 2], "sampler": [sampler, 0]}
    more = {
        "noise": node("MCDM_RandomNoise", noise_seed=1, temperature=1.0),
        "sigmas": node("MCDM_Sigmas", model=["hair", 0], spacing="3", denoise=1.0),
        "sample": node("MCDM_Inspect", **links, noise=["noise", 0], sigmas=["sigmas", 0], steps_shown="1"),
        "save": PREVIEW,
    }
    return {**more, **nodes}


LOGIC = {"operation": "and", "sharpness": 1.0, "prior": 0.5, "largest": 2.0}
GRAPH = {
    "1": node("OnlyThere"),
    "2": node("MCDM_Expert", model=["1", 0], condition=["1", 1], null=["1", 2]),
}
AWAY = node(
    "MCDM_ExpertRemote",
    weight=1.5,
    reliability=1.0,
    start=0.0,
    end=1.0,
    address="127.0.0.1:6379",
    worker="away",
    timeout=5.0,
    graph=json.dumps(GRAPH),
)

MISTAKES = {
    "no null": (
        {"second": titled("Skin expert", expert("skin", null=None, experts=["first", 0]))},
        (
            "second",
            "negative",
            "Skin expert needs a negative, because its reliability is 1 and the weights sum to 3. Connect "
            "negative, set",
        ),
    ),
    "no condition": (
        {"first": expert("hair", condition=None)},
        ("first", "positive", "This expert needs a prompt, because its weight is 1.5. Connect positive, or set"),
    ),
    "a caption at a map expert": (
        {"skin map": node("MCDM_EncodeText", encoder=["skin", 1], text="red hair")},
        ("skin map", "encoder", "This expert is driven by a skin map, not by text"),
    ),
    "a class at a map expert": (
        {"skin map": node("MCDM_EncodeClass", encoder=["skin", 1], class_name="fox", null_kind="class 0")},
        ("skin map", "encoder", "This expert is driven by a skin map, not by a class"),
    ),
    "a caption at a map expert, which is that of another expert": (
        lambda names: {
            "text": node("MCDM_LoadExpert", expert_name=names["text"]),
            "skin map": node("MCDM_EncodeText", encoder=["skin", 1], text="red hair"),
            "second": expert("text", condition=["skin map", 0], null=["skin map", 1], experts=["first", 0]),
        },
        ("skin map", "encoder", "This expert is driven by a skin map, not by text"),
    ),
    "two spaces": (
        of_latents,
        (
            "first",
            "vae",
            "Expert 1 needs a VAE, because it works on pictures of 32×32 pixels and expert 2 on",
        ),
    ),
    "no positive weight": (
        sampled_by(
            "logic",
            logic=node("MCDM_Logic", **LOGIC),
            first=expert("hair", weight=0.0),
            second=expert("skin", weight=-1.0, experts=["first", 0]),
        ),
        ("logic", "operation", "and got none among expert 1, expert 2; raise the weight of one of them"),
    ),
    "a weight that is no number": (
        {"second": expert("skin", weight=float("nan"), experts=["first", 0])},
        ("second", "weight", "Expected a number for weight, -20 to 20, and got nan; set one"),
    ),
    "a negative reliability": (
        {"second": expert("skin", reliability=-1.0, experts=["first", 0])},
        ("second", "reliability", "Expected a reliability of 0 or more for this expert and got -1.0; set one"),
    ),
    "a text as condition": (
        {"second": expert("skin", condition="red hair", experts=["first", 0])},
        ("second", "positive", "Expected a link for positive and got 'red hair'; connect an output of a node."),
    ),
    "a text as encoder": (
        {"latent": node("MCDM_EmptyLatent", encoder="hair", batch_size=1)},
        ("latent", "encoder", "Expected a link for encoder and got 'hair'; connect an output of a node."),
    ),
    "a chain that is none": (
        lambda names: {"sample": node("MCDM_KSampler", **{**product(names)["sample"]["inputs"], "experts": None})},
        ("sample", "experts", "Expected a link for experts and got None; connect an output of a node."),
    ),
    "something else to vary": (
        lambda names: {**sampled_by("sample"), "sample": sweep(vary="all")},
        ("sample", "vary", "Expected to vary one of reliability, weight, reliability and weight, absolute weight and"),
    ),
    "an empty window": (
        {"second": expert("skin", start=0.7, end=0.2, experts=["first", 0])},
        ("second", "end", "Expected start below end for this expert and got 0.7 and 0.2; swap them"),
    ),
    "a missing file": (
        {"hair": node("MCDM_LoadExpert", expert_name="gone.safetensors")},
        ("hair", "expert_name", 'found no "gone.safetensors" there; copy it to '),
    ),
    "no file": (
        {"hair": node("MCDM_LoadExpert", expert_name="")},
        ("hair", "expert_name", "Expected the name of an expert file and got none; choose one of animals.safetensors,"),
    ),
    "a wrong latent": (
        {"latent": node("EmptyLatentImage", width=512, height=512, batch_size=1)},
        ("sample", "latent_image", "Expected a latent of 32×32 pixels, the size of the map of expert 1, and got one"),
    ),
    "an unknown word": (
        lambda names: {
            "skin": node("MCDM_LoadExpert", expert_name=names["class"]),
            "skin map": node("MCDM_EncodeClass", encoder=["skin", 1], class_name="wolf", null_kind="class 0"),
        },
        ("skin map", "class_name", "Fox, owl, dog"),
    ),
    "no map": (
        {"skin map": node("MCDM_EncodeMap", encoder=["skin", 1], map="skin", with_text=False)},
        ("skin map", "map", "Expected either an image or a mask and got neither"),
    ),
    "a sampler that can't": (
        sampled_by("logic", logic=node("MCDM_Logic", **{**LOGIC, "sharpness": 0.0})),
        ("logic", "sharpness", "sharpness above 0 and got 0"),
    ),
    "a worker away": ({"first": AWAY}, ("first", "graph", "Expected Ray")),
}
"""Changes of a product, and the node and input at fault. Masks are seen by the run alone, before any pass."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused_at_post(refusals, small_experts, latent_experts, mistake, without_ray):
    changes, (key, at_fault, sentence) = MISTAKES[mistake]
    changes = changes(small_experts) if callable(changes) else changes
    prompt = product(small_experts, map=PAINTED, **changes)
    found = refusals(prompt)
    assert found.keys() == {key}
    ((name, said),) = found[key]
    assert name == MARKED[prompt[key]["class_type"]]
    assert said.startswith(f"{name} - " if name == at_fault else f"{name} - {at_fault}: ")
    assert sentence in said


def test_an_expert_that_only_one_of_two_samplers_refuses_is_refused_there(refusals, small_experts):
    prompt = product(small_experts, map=PAINTED, first=titled("Hair expert", expert("hair", end=0.8)))
    prompt["second"] = expert("skin", end=0.5, experts=["first", 0])
    finishing = {**prompt["sample"]["inputs"], "denoise": 0.3}
    links = {"samples": ["finish", 0], "vae": ["hair", 2]}
    shown = {"decode more": node("VAEDecode", **links), "save more": node("SaveImage", images=["decode more", 0])}
    shown["save more"]["inputs"]["filename_prefix"] = "more"
    both = {**prompt, "finish": node("MCDM_KSampler", **finishing), **shown}
    (said,) = refusals(both)["sample"]
    gap = "Hair expert ends at 0.8, and no expert is active from 0.8 to 1 of the sampling. Set its end to 1."
    assert said[1].endswith(gap)
    assert refusals(both).keys() == {"sample"}
    assert refusals(prompt).keys() == {"first"}


def test_a_choice_of_the_samples_leaves_an_experts_fault_at_the_expert(refusals, small_experts):
    prompt = product(small_experts, map=PAINTED, first=titled("Hair expert", expert("hair", end=0.8)))
    prompt["second"] = expert("skin", end=0.5, experts=["first", 0])
    prompt["sample"]["inputs"]["scores"] = True
    prompt["choose"] = node("MCDM_Choose", experts=["second", 0], samples=["sample", 0], count=1)
    prompt["decode"]["inputs"]["samples"] = ["choose", 0]
    prompt["latent"]["inputs"]["batch_size"] = 2
    assert refusals(prompt).keys() == {"first"}


def swept(names, first, second, **settings):
    """A sweep of two experts that have these settings."""
    prompt = product(names, map=PAINTED)
    del prompt["sample"], prompt["decode"]
    prompt["first"] = titled("Hair expert", expert("hair", **first))
    prompt["second"] = titled("Skin expert", expert("skin", experts=["first", 0], **second))
    return {**prompt, "sweep": sweep(**settings), "save": node("SaveImage", images=["sweep", 1], filename_prefix="x")}


@pytest.mark.parametrize(
    ("first", "second", "settings", "key", "sentence"),
    [
        (
            {"weight": 0.5, "null": None},
            {"weight": 0.5, "null": None},
            {"guidance": "1, 2"},
            "sweep",
            "At the value 0 and the guidance 2 of this sweep: Skin expert needs a negative, because its reliability",
        ),
        (
            {"end": 0.9},
            {},
            {"values": "0.5, 1"},
            "sweep",
            'The value 1 leaves "Skin expert" no reliability where it acts without "Hair expert"; leave 1 out',
        ),
        (
            {},
            {"end": 0.9},
            {"values": "0, 0.5"},
            "sweep",
            'The value 0 leaves "Hair expert" no reliability where it acts alone; leave 0 out of values.',
        ),
        (
            {"null": None},
            {},
            {"guidance": "1, 2"},
            "first",
            "Hair expert needs a negative, because its reliability is 1",
        ),
        (
            {},
            {"weight": 0.0, "condition": None},
            {"expert_index": 2, "vary": "absolute weight", "values": "0, 2"},
            "sweep",
            "Skin expert needs a prompt, because this sweep gives it the weight 2.",
        ),
        (
            {},
            {"weight": 1.0, "condition": None},
            {"expert_index": 2, "vary": "absolute weight", "values": "0, 2"},
            "second",
            "Skin expert needs a prompt, because its weight is 1.",
        ),
    ],
)
def test_what_a_sweep_alone_makes_wrong_is_the_sweeps(refusals, small_experts, first, second, settings, key, sentence):
    found = refusals(swept(small_experts, first, second, **settings))
    assert found.keys() == {key}
    assert sentence in found[key][0][1]


def test_a_window_that_is_none_hides_no_gap_of_another(refusals, small_experts):
    prompt = product(small_experts, map=PAINTED, first=titled("Hair expert", expert("hair", start=0.3, end=0.2)))
    prompt["second"] = titled("Skin expert", expert("skin", start=0.4, experts=["first", 0]))
    found = refusals(prompt)
    assert found.keys() == {"first", "second"}
    assert "Skin expert starts at 0.4, and no expert is active from 0 to 0.4" in found["second"][0][1]


@pytest.mark.parametrize(("denoise", "refused"), [(1.0, {"second"}), (0.3, set())])
def test_a_negative_that_is_needed_once_another_has_ended_is_asked_for_at_post(
    refusals, small_experts, denoise, refused
):
    prompt = product(small_experts, map=PAINTED, first=expert("hair", weight=0.5, end=0.8))
    prompt["second"] = titled("Skin expert", expert("skin", weight=0.5, null=None, experts=["first", 0]))
    prompt["sample"]["inputs"]["denoise"] = denoise
    found = refusals(prompt)
    assert found.keys() == refused
    assert all("Skin expert needs a negative, because its reliability is 1" in said for [(_, said)] in found.values())
    assert not any("reliability to 0" in said for [(_, said)] in found.values())  # nobody else would supply U there
    prompt["first"]["inputs"]["end"] = 1.0
    assert refusals(prompt) == {}  # the weights sum to 1


@pytest.mark.parametrize("onward", [{}, {"experts": ["first", 0]}], ids=["the first is left out", "both lead on"])
def test_an_expert_that_leads_nowhere_beside_a_product_is_known(host, small_experts, onward):
    prompt = product(small_experts, map=PAINTED)
    prompt["second"] = expert("skin", **onward)
    with queued(host, prompt):
        found = [node.id for node in host.prompt.queued_chain.cut_experts()]
    assert found == ([] if onward else ["first"])


def test_an_expert_that_is_wired_to_nothing_where_nothing_is_sampled_is_left_alone(host, small_experts):
    prompt = {key: value for key, value in product(small_experts, map=PAINTED).items() if key != "sample"}
    with queued(host, prompt):
        assert host.prompt.queued_chain.cut_experts() == []


@pytest.mark.usefixtures("latent_experts")
def test_an_expert_that_has_no_title_of_its_own_is_called_by_its_place(refusals, small_experts):
    in_french = json.loads((ROOT / "locales" / "fr" / "nodeDefs.json").read_text(encoding="utf-8"))
    for title in (in_french["MCDM_Expert"]["display_name"], "Face"):  # the second stands on both
        changes = of_latents(small_experts)
        changes |= {"first": titled(title, expert("hair")), "second": titled(title, changes["second"])}
        found = refusals(product(small_experts, map=PAINTED, **changes))
        assert (
            "Expert 1 needs a VAE, because it works on pictures of 32×32 pixels and expert 2 on" in found["first"][0][1]
        )


def test_a_product_without_them_passes(refusals, small_experts):
    assert refusals(product(small_experts, map=PAINTED)) == {}
    logic = sampled_by("logic", logic=node("MCDM_Logic", **LOGIC))
    assert refusals(product(small_experts, map=PAINTED, **logic)) == {}


@pytest.mark.parametrize("settings", [{}, {"values": "0, 2"}], ids=["sound", "at fault"])
def test_validation_is_linear_in_the_nodes_of_a_prompt(refusals, pack, small_experts, settings):
    def calls(count):
        prompt = product(small_experts, map=PAINTED)
        del prompt["sample"], prompt["decode"], prompt["save"]
        for place in range(count):
            prompt[f"sweep {place}"] = sweep(**settings)
            prompt[f"save {place}"] = node("SaveImage", images=[f"sweep {place}", 1], filename_prefix="x")
        with counted_calls(within=str(Path(pack.__file__).parent)) as counted:
            found = refusals(prompt)
        assert len(found) == (count if settings else 0)
        return counted.count

    calls(1)  # what is found out of files is kept
    few, more, many = (calls(count) for count in (5, 20, 80))
    # Not to the call: garbage that is collected meanwhile may be the pack's. Of a quadratic it would be four times.
    assert (many - more) / 60 == pytest.approx((more - few) / 15, rel=0.05), f"{few}, {more} and {many} calls"
