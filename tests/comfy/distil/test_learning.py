"""Train LoRA on Product: what is learned, and that core's own nodes go on from it."""

from types import SimpleNamespace

import folder_paths
import pytest
import torch
from comfy_extras.nodes_train import LossGraphNode, SaveLoRA
from mcdm_pack.mcdm_core import sample_ddim

import nodes

from ..support.closeness import rounded
from ..support.trainings import inputs

LAYOUTS = ["flow", *(pytest.param(layout, marks=pytest.mark.long) for layout in ("eps", "SDXL"))]


@pytest.fixture(scope="module", params=LAYOUTS)
def learned(request, node):
    """A training of each layout, and the weights that its network had before."""
    with torch.inference_mode():
        given = inputs(node, request.param, steps=40, learning_rate=0.003, rank=8, batch_size=4, weight=0.5)
        before = {name: weight.clone() for name, weight in given["model"][0].model.state_dict().items()}
        lora, losses, steps, notes = node("MCDM_TrainLora", **given)
    return SimpleNamespace(
        given=given, model=given["model"][0], before=before, lora=lora, losses=losses["loss"], steps=steps, notes=notes
    )


def test_the_loss_falls(learned):
    assert len(learned.losses) == learned.steps == 40
    assert sum(learned.losses[-8:]) < 0.7 * sum(learned.losses[:8])


def test_the_models_stay_as_they_are(learned):
    after = learned.model.model.state_dict()
    assert after.keys() == learned.before.keys()
    assert all(torch.equal(weight, learned.before[name]) for name, weight in after.items())


def test_core_saves_loads_and_draws_it(learned, base, host):
    """The file that Save LoRA writes, loaded by Load LoRA, gives the pictures of the student."""
    prefix = f"loras/{type(learned.model.model).__name__}"
    SaveLoRA.execute(learned.lora, prefix, learned.steps)
    LossGraphNode.execute({"loss": learned.losses}, "loss")
    folder = base / "output" / "loras"
    (file,) = folder.glob(f"{type(learned.model.model).__name__}_40_steps_*.safetensors")
    folder_paths.add_model_folder_path("loras", str(folder))
    folder_paths.filename_list_cache.pop("loras", None)
    with torch.inference_mode():
        loaded = nodes.LoraLoaderModelOnly().load_lora_model_only(learned.model, file.name, 1.0)[0]
        plain = picture_of_core(host, learned, learned.model)
        theirs = picture_of_core(host, learned, loaded)
    ours = picture_of_student(host, learned)
    file.unlink()
    assert (theirs - plain).abs().max() > 0.1 * plain.std()
    assert (theirs - ours).abs().max() <= rounded(1e-4, 5e-2) * theirs.std()


def run_of(host, learned, model):
    """A run of a MODEL with the student's prompt at cfg 1: the core's teacher of one expert, which is CFGGuider."""
    expert = host.chain.expert_chain.WiredTerm(model, learned.given["positive"][0], weight=1.0)
    guider = host.run.guider.ProductGuider((expert,))
    return host.distil.teacher.GuidedTeacher([guider], learned.given["sigmas"][0], (4, 8, 12), lambda: None)


def start_and_levels(host, learned):
    level = run_of(host, learned, learned.model).level
    sigmas = [level(progress / 3) for progress in range(1, 4)]
    noise = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    return noise * sigmas[0], [*sigmas, 0.0]


def picture_of_core(host, learned, model):
    """By DDIM at cfg 1."""
    start, sigmas = start_and_levels(host, learned)
    found = []
    prompts = torch.zeros(2, dtype=torch.int64)
    run_of(host, learned, model)(prompts, sigmas, lambda model, rows: found.append(sample_ddim(model, start, sigmas)))
    return found[0].cpu()


def picture_of_student(host, learned):
    """As it was while it learned."""
    distil, prompts = host.distil, torch.zeros(2, dtype=torch.int64)
    start, sigmas = start_and_levels(host, learned)
    layers = [name.removesuffix(".alpha") for name in learned.lora if name.endswith(".alpha")]
    with torch.inference_mode(False), torch.no_grad():
        student = distil.student.GuidedStudent(learned.model, learned.given["positive"], start.shape, torch.float32)
        shapes = distil.learning_layers.shapes_of(learned.model)
        factors = distil.learning_layers.Factors({name: shapes[name] for name in layers}, 8)
        for name, change in factors.named():
            change.up.copy_(learned.lora[f"{name}.lora_up.weight"])
            change.down.copy_(learned.lora[f"{name}.lora_down.weight"])
        factors.to(student.device)

        def denoise(x, sigma):
            x, levels = x.to(student.device), torch.full((2,), float(sigma), device=student.device)
            return student(factors, x, levels, prompts.to(student.device)).cpu()

        try:
            return sample_ddim(denoise, start, sigmas)
        finally:
            student.end()


def test_the_area_of_a_prompt_is_no_other_prompts(host, learned):
    (prompt,) = learned.given["positive"]
    half = nodes.ConditioningSetArea().append(prompt, 48, 64, 0, 0, 1.0)[0]
    noise, sigma = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1)), torch.full((2,), 0.7)

    def asked(prompts):
        with torch.inference_mode(False), torch.no_grad():
            student = host.distil.student.GuidedStudent(learned.model, prompts, noise.shape, torch.float32)
            factors = host.distil.learning_layers.Factors({}, 8)
            try:
                at = (tensor.to(student.device) for tensor in (noise, sigma, torch.ones(2, dtype=torch.int64)))
                return student(factors, *at).cpu()
            finally:
                student.end()

    assert torch.equal(asked([half, prompt]), asked([prompt, prompt]))


def test_the_notes_say_what_the_file_cannot_hold(learned):
    for said in ("strength 1", "cfg 1", "a negative has no effect", "in 3 to 6 steps", "4×8×12", "expert 2 at weight"):
        assert said in learned.notes


def test_several_prompts_are_learned_at_once(given, train):
    inputs = given("flow", prompts=3, steps=4, batch_size=4)
    lora, losses, _, notes = train(inputs)
    assert len(losses["loss"]) == 4
    assert "one of its 3 prompts" in notes
    assert any(tensor.abs().max() > 0 for name, tensor in lora.items() if "lora_up" in name)


def test_the_same_seed_gives_the_same_lora(given, train):
    first, second, other = (train(given("flow", steps=3, seed=seed))[0] for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_dtypes_are_those_asked_for(given, train):
    lora, losses, *_ = train(given("eps", steps=1, training_dtype="bf16", lora_dtype="bf16"))
    assert {tensor.dtype for name, tensor in lora.items() if "lora" in name} == {torch.bfloat16}
    assert losses["loss"][0] > 0


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_experts_of_this_pack_learn_too(load, chain, given, train, dtype):
    with torch.inference_mode():
        hair, skin = load("hair"), load("skin")
        told = {"experts": [chain(hair, skin)], "model": [hair.model], "positive": [hair.condition]}
        told |= {"latents": [{"samples": torch.zeros(1, 3, 32, 32)}], "sigmas": [torch.tensor([80.0, 3.0, 0.5, 0.0])]}
    lora, losses, *_ = train({**given("flow", steps=2, training_dtype=dtype), **told})
    assert all(loss > 0 for loss in losses["loss"])
    assert {name.split(".")[1] for name in lora} == {"network"}


def test_own_nulls_are_another_teacher(given, train):
    def first_loss(rule, *reliabilities):
        inputs = given("flow", steps=1, rule=rule, weight=1.5, reliabilities=reliabilities)
        return train(inputs)[1]["loss"][0]

    assert first_loss("product", 1.0, 3.0) != first_loss("own-negative", 1.0, 3.0)
    assert first_loss("product", 1.0, 1.0) == pytest.approx(first_loss("own-negative", 1.0, 1.0), rel=1e-4)
