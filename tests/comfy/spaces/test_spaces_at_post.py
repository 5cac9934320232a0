"""Experts of several latent spaces at POST /prompt: who lacks a VAE or has another's, and what can't be combined."""

import pytest
import safetensors.torch
import torch

from ..support.server.posts import apply_check, faults_of, prompt_node
from ..support.server.prompts import chain_sampled, chained

SAMPLED_BY = ("MCDM_Guider", "MCDM_OwnNullGuider", "MCDM_KSampler", "MCDM_Inspect", "MCDM_ReliabilitySweep")
PICTURES, LATENTS, OTHERS = "pictures of 32×32 pixels", "latents of the VAE {vae}", "latents of the VAE {other}"


def lacking(place, own, other, others):
    return f"Expert {place} needs a VAE, because it works on {own} and expert {other} on {others}. Connect"


MISSING = {
    "one VAE": (("latent hair", "latent text"), (), {}),
    "one size": (("small hair", "small text"), (), {}),
    "both": (
        ("latent hair", "small text"),
        (),
        {"1": f"Expert 1 works on {LATENTS} and expert 2 on {PICTURES}, so each needs a VAE. Connect"},
    ),
    "the second": (("latent hair", "small text"), (1,), {"2": lacking(2, PICTURES, 1, LATENTS)}),
    "none": (("latent hair", "small text"), (1, 2), {}),
    "of another in its space": (("latent hair", "latent text", "latent other"), (2, 3), {}),
    "a space's, told to its first": (
        ("latent other", "latent hair", "latent text"),
        (1,),
        {"2": lacking(2, LATENTS, 1, OTHERS)},
    ),
    "an unknown expert's": (("latent hair", "small text", None), (), {"1": "so each needs a VAE"}),
    "may be an unknown expert's": (("latent hair", "small text", None), (3,), {}),
    "of a checkpoint alone": ((None, "small text"), (), {}),
}


@pytest.mark.parametrize("case", MISSING)
@pytest.mark.parametrize("class_type", SAMPLED_BY)
def test_a_missing_vae_is_asked_for_where_it_is_missing(
    host, small_experts, latent_experts, small_vaes, class_type, case
):
    names, vaes, expected = MISSING[case]
    widgets = {"expert_index": 1, "values": "0, 1", "vary": "reliability", "guidance": "1", "seed": 5, "seeds": 1}
    prompt = chain_sampled(chained(names, vaes), class_type, **widgets)
    found = faults_of(host, prompt)
    assert found.keys() == expected.keys()
    for key, sentence in expected.items():
        assert found[key].input == "vae"
        assert sentence.format(**small_vaes) in found[key].sentence


def test_pictures_of_two_sizes_are_of_two_spaces(host, small_experts, save_small):
    save_small("smaller hair", {"kind": "map", "map": "hair"}, 21, size=16, shape={"patch": 2, "map_channels": 1})
    found = faults_of(host, chain_sampled(chained(("small hair", "smaller hair"), (1,))))
    assert found.keys() == {"2"}
    assert lacking(2, "pictures of 16×16 pixels", 1, PICTURES) in found["2"].sentence


def test_what_no_output_needs_is_not_faults_of(host, small_experts, latent_experts):
    prompt = chained(("latent hair", "small text"))
    assert faults_of(host, prompt) == {}
    prompt = chain_sampled(prompt)
    del prompt["show"]
    assert faults_of(host, prompt) == {}


def test_a_product_of_one_space_runs_beside_one_that_lacks_a_vae(host, small_experts, latent_experts):
    prompt = chain_sampled(chained(("latent hair", "latent text", "small text"), (3,)), last="2")
    assert faults_of(host, prompt) == {}
    prompt["all"] = prompt_node("MCDM_KSampler", experts=["3", 0], denoise=1.0)
    prompt["show all"] = prompt_node("PreviewImage", images=["all", 0])
    assert faults_of(host, prompt).keys() == {"all"}
    del prompt["show"]
    assert faults_of(host, prompt).keys() == {"1"}


@pytest.mark.parametrize(
    ("vaes", "model_vae", "marked"), [((1,), False, {"node"}), ((), True, {"1"}), ((1,), True, ())]
)
def test_the_model_of_product_as_model_is_its_first_expert(
    host, small_experts, latent_experts, small_vaes, vaes, model_vae, marked
):
    inputs = {"model": ["load own", 0], "reliability": 1.0} | ({"vae": ["load own", 2]} if model_vae else {})
    prompt = chain_sampled(chained(("latent hair",), vaes), "MCDM_ProductModel", **inputs)
    prompt["load own"] = prompt_node("MCDM_LoadExpert", expert_name="small text.safetensors")
    found = faults_of(host, prompt)
    assert found.keys() == set(marked)
    if "node" in found:
        assert lacking(1, PICTURES, 2, LATENTS.format(**small_vaes)) in found["node"].sentence


OWN, CHECKPOINTS = "the vae output of its Load Diffusion Expert", "the VAE of its checkpoint"
WRONG = {  # files, whose VAE is wrong, what is wired to it, what it is called, and what to connect
    "another expert's": (("latent hair", "small text"), 1, ["load 2", 2], "that of small text.safetensors", OWN),
    "pictures', of latents": (("latent hair", "small text"), 2, ["load 1", 2], "that of latent hair.safetensors", OWN),
    "a file": (("latent hair", "small text"), 1, "within/other.safetensors", "within/other.safetensors", OWN),
    "ComfyUI's for pixels": (("latent hair", "small text"), 1, "pixel_space", "pixel_space", OWN),
    "a checkpoint's": (("latent hair", "small text"), 1, ["checkpoint", 2], "that of a.safetensors", OWN),
    "its own": (("latent hair", "small text"), 1, ["load 1", 2], None, OWN),
    "its own by its file": (("latent hair", "small text"), 1, "small vae.safetensors", None, OWN),
    "pixels by ComfyUI's": (("latent hair", "small text"), 2, "pixel_space", None, OWN),
    "pixels by an unknown file": (("latent hair", "small text"), 2, "foreign.safetensors", None, OWN),
    "an unknown node's": (("latent hair", "small text"), 1, ["?", 0], None, OWN),
    "beside a checkpoint": (("latent hair", "checkpoint"), 1, ["checkpoint", 2], "that of a.safetensors", OWN),
    "a checkpoint": (("latent hair", "checkpoint"), 2, ["load 1", 2], "that of latent hair.safetensors", CHECKPOINTS),
    "a checkpoint's own": (("latent hair", "checkpoint"), 2, ["checkpoint", 2], None, OWN),
    "in one space, where none is used": (("latent hair", "latent text"), 2, ["checkpoint", 2], None, OWN),
    "beside an unknown model": (("latent hair", None), 1, ["checkpoint", 2], None, OWN),
    "pixels beside a checkpoint, which may be of pixels": (
        ("small hair", "checkpoint"),
        1,
        ["checkpoint", 2],
        None,
        OWN,
    ),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("class_type", ["MCDM_KSampler", "MCDM_ProductModel"])
def test_another_vae_than_an_experts_own_is_refused_where_it_is_wired(
    host, base, small_experts, latent_experts, class_type, case
):
    (base / "models" / "vae" / "foreign.safetensors").write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    names, place, vae, called, remedy = WRONG[case]
    prompt = chained([None if name == "checkpoint" else name for name in names], (1, 2))
    prompt["checkpoint"] = prompt_node("CheckpointLoaderSimple", ckpt_name="a.safetensors")
    prompt["file"] = prompt_node("VAELoader", vae_name=vae)
    for at, name in enumerate(names, start=1):
        if name == "checkpoint":
            prompt[str(at)]["inputs"] |= {"model": ["checkpoint", 0], "vae": ["checkpoint", 2]}
    prompt[str(place)]["inputs"]["vae"] = ["file", 0] if isinstance(vae, str) else vae
    if class_type == "MCDM_ProductModel":  # the first expert is the node's own
        first = prompt.pop("1")["inputs"]
        del prompt["2"]["inputs"]["experts"]
        prompt = chain_sampled(prompt, class_type, model=first["model"], vae=first["vae"], reliability=1.0)
    else:
        prompt = chain_sampled(prompt)
    found = faults_of(host, prompt)
    marked = "node" if class_type == "MCDM_ProductModel" and place == 1 else str(place)
    assert found.keys() == ({marked} if called else set())
    if called:
        sentence = f"Expert {place} needs the VAE of its own model and got {called}; connect {remedy}."
        assert (found[marked].input, found[marked].sentence) == ("vae", sentence)


def test_an_expert_on_a_worker_is_of_the_space_of_all(host, small_experts, latent_experts, small_vaes):
    away = {"class_type": "MCDM_ExpertRemote", "graph": ""}
    prompt = chain_sampled(chained(("latent hair", "small text"), (1,), at_2=away))
    found = faults_of(host, prompt)
    assert found.keys() == {"2"}
    assert found["2"].input == "model"
    both = f"expert 1 works on {LATENTS.format(**small_vaes)} and expert 2 on {PICTURES}. Put expert 2 on this machine"
    assert both in found["2"].sentence
    assert faults_of(host, chain_sampled(chained(("latent hair", "latent text"), at_2=away))) == {}


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ({"weight": 0.5, "null": None}, {"weight": 0.5, "null": None}, False),  # each space's W is its A
        ({"weight": 0.7, "null": None}, {"weight": 0.3, "null": None}, True),  # though all weights sum to 1
        ({"weight": 0.5, "null": None}, {"weight": 3.0}, False),  # though all weights don't
        ({"weight": 3.0}, {"weight": 3.0}, False),
    ],
)
def test_each_space_needs_nulls_of_its_own(host, small_experts, latent_experts, first, second, refused):
    prompt = chain_sampled(chained(("latent hair", "small text"), (1, 2), at_1=first, at_2=second))
    fault = apply_check(host, host.prompt.chain_checks.check_chain, prompt, "node")
    assert (fault is not None) == refused
    if refused:
        assert (fault.at, fault.input) == ("1", "null")
        assert "Expert 1 needs a negative" in fault.sentence
        assert "each latent space is guided away from negatives of its own" in fault.sentence


def test_nulls_of_unknown_spaces_are_left_to_the_run(host, small_experts):
    """With a VAE the checkpoints may be of two spaces, whose own rule decides."""
    lacks = {"weight": 0.5, "null": None}
    prompt = chained((None, None), at_1=lacks, at_2={"weight": 3.0})
    prompt["load 1"] = prompt["load 2"] = prompt_node("CheckpointLoaderSimple", ckpt_name="a.safetensors")
    check = host.prompt.chain_checks.check_chain
    assert "Expert 1 needs a negative" in apply_check(host, check, chain_sampled(dict(prompt)), "node").sentence
    prompt["2"]["inputs"]["vae"] = ["load 2", 2]
    assert apply_check(host, check, chain_sampled(dict(prompt)), "node") is None


@pytest.mark.parametrize(("of", "at_fault"), [("this sampler", "operation"), ("scores", "scores")])
def test_what_compares_experts_is_refused_across_spaces(host, small_experts, latent_experts, of, at_fault):
    for names, refused in ((("latent hair", "small text"), True), (("latent hair", "latent text"), False)):
        if of == "scores":
            prompt, key = chain_sampled(chained(names, (1, 2)), scores=True), "node"
            check = host.prompt.chain_checks.check_chain
        else:
            prompt, key = chain_sampled(chained(names, (1, 2)), "MCDM_Inspect", sampler=["compares", 0]), "compares"
            prompt[key], check = prompt_node("MCDM_Logic"), host.prompt.sampler_checks.check_logic_node
        fault = apply_check(host, check, prompt, key)
        assert (fault is not None) == refused
        if refused:
            assert fault.input == at_fault
            assert f"Expected experts of one latent space for {of}" in fault.sentence
