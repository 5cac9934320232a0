"""Experts on workers: two ComfyUIs in processes of their own, in a Ray cluster on this machine."""

import asyncio
import importlib.util
import json
import os
import re
import secrets
import threading

import comfy.model_management
import comfy.utils
import comfy_extras.nodes_custom_sampler as custom
import comfy_extras.nodes_mask as mask
import comfyui_version
import pytest
import torch

import nodes

from ...support.processes import run as run_command
from ...support.watchdog import PATIENCE
from ..support.closeness import rounded
from ..support.leaks import Living
from ..support.server.comfyui_server import ROOT
from ..support.server.downloads import write_checkpoint, write_controlnet, write_lora
from ..support.server.posts import prompt_node
from ..support.server.workers import NO_RAY, copy_models, joined_cluster, on_worker

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NO_RAY)

WORKFLOWS = ROOT / "workflows" / "api"
STEPS = 4
EXACT = 1e-6  # of the latent's scale
APART = 5e-2  # where this ComfyUI is on the accelerator, and computes in another precision than workers do


@pytest.fixture(scope="module")
def cluster(pack, base, comfyui, small_experts, save_small, tmp_path_factory):
    """Two workers, "one" and "two", that have the same files as the tests."""
    write_controlnet(base / "models" / "controlnet" / "fourth.safetensors", 4)
    write_checkpoint(base / "models" / "checkpoints" / "first.safetensors", 1)
    write_checkpoint(base / "models" / "checkpoints" / "second.safetensors", 2)
    write_lora(base / "models" / "loras" / "third.safetensors", 3)
    save_small("small none", {"kind": "none"}, 7, shape={"patch": 2})
    folder = tmp_path_factory.mktemp("cluster")
    with joined_cluster(comfyui, folder) as running:
        for name in ("one", "two"):
            running.add(name, copy_models(base, folder / name))
        yield running


@pytest.fixture(scope="module")
def runner(pack, node, host):
    """What runs a prompt, with an empty cache here; returns an output of one of its nodes."""
    cores = [asyncio.run(asyncio.run(each.comfy_entrypoint()).get_node_list()) for each in (custom, mask)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        for each in (each for known in (node.classes.values(), *cores) for each in known):
            monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, each.GET_SCHEMA().node_id, each)
        prompts = importlib.import_module("mcdm_pack.nodes.workers.prompts")

        found = {}

        @torch.inference_mode()
        def run(prompt, key, slot=0):
            asked = json.dumps([prompt, key, slot])
            if "MCDM_ExpertRemote" in asked:
                return prompts.PromptRunner().outputs(prompt, [[key, slot]])[0]
            if asked not in found:
                found[asked] = prompts.PromptRunner().outputs(prompt, [[key, slot]])[0]
            return found[asked]

        yield run


def faces() -> dict:
    """Three shipped experts, of two maps and a caption, in a few steps."""
    prompt = json.loads((WORKFLOWS / "faces.json").read_text(encoding="utf-8"))
    prompt["16"]["inputs"]["spacing"] = str(STEPS)
    return prompt


def small() -> dict:
    """Two small experts, of a map and a caption; nodes 8 and 9 are the experts, 11 the sampler, as in `checkpoints`."""
    return {
        "1": prompt_node("MCDM_LoadExpert", expert_name="small hair.safetensors"),
        "2": prompt_node("MCDM_LoadExpert", expert_name="small text.safetensors"),
        "3": prompt_node("SolidMask", value=0.6, width=32, height=32),
        "4": prompt_node("MCDM_EncodeMap", encoder=["1", 1], mask=["3", 0], map="auto", with_text=False),
        "6": prompt_node("MCDM_EncodeText", encoder=["2", 1], text="a smiling man"),
        "8": expert(["1", 0], ["4", 0], ["4", 1], 3.0),
        "9": expert(["2", 0], ["6", 0], ["6", 1], 2.0, experts=["8", 0]),
        "10": prompt_node("MCDM_EmptyLatent", encoder=["1", 1], batch_size=2),
        "11": ksampler(3),
    }


def in_8_steps() -> dict:
    prompt = small()
    prompt["11"] = ksampler(8)
    return prompt


def checkpoints() -> dict:
    """Two checkpoints, one under a LoRA, of which the second is the one that is moved."""
    encode = {"class_type": "CLIPTextEncode"}
    return {
        "1": prompt_node("CheckpointLoaderSimple", ckpt_name="first.safetensors"),
        "2": prompt_node("CheckpointLoaderSimple", ckpt_name="second.safetensors"),
        "3": prompt_node(
            "LoraLoader",
            model=["2", 0],
            clip=["2", 1],
            lora_name="third.safetensors",
            strength_model=0.7,
            strength_clip=0.0,
        ),
        "4": {**encode, "inputs": {"clip": ["1", 1], "text": "a fox"}},
        "5": {**encode, "inputs": {"clip": ["1", 1], "text": ""}},
        "6": {**encode, "inputs": {"clip": ["3", 1], "text": "a snowy forest"}},
        "7": {**encode, "inputs": {"clip": ["3", 1], "text": ""}},
        "8": expert(["1", 0], ["4", 0], ["5", 0], 3.0),
        "9": expert(["3", 0], ["6", 0], ["7", 0], 2.0, experts=["8", 0]),
        "10": prompt_node("EmptyLatentImage", width=64, height=64, batch_size=2),
        "11": ksampler(2),
    }


def ksampler(steps):
    inputs = {"experts": ["9", 0], "seed": 5, "steps": steps, "sampler_name": "euler", "scheduler": "normal"}
    return prompt_node("MCDM_KSampler", **inputs, latent_image=["10", 0], denoise=1.0)


def expert(model, condition, null, weight, **more):
    inputs = {"model": model, "condition": condition, "null": null, "weight": weight, "reliability": 1.0}
    return prompt_node("MCDM_Expert", **inputs, start=0.0, end=1.0, **more)


def assert_same(found, expected):
    found, expected = (latent["samples"] for latent in (found, expected))
    assert (found - expected).abs().max() <= rounded(EXACT, APART) * expected.std()


@pytest.fixture(scope="module")
def faces_here(runner):
    return runner(faces(), "17")


@pytest.fixture(scope="module")
def small_here(runner):
    return runner(in_8_steps(), "11")


@pytest.mark.parametrize("moved", [("8", "11"), ("4",), ("4", "8", "11")], ids=["others", "reference", "all"])
@pytest.mark.parametrize("last", ["one", "two"])
def test_shipped_experts(cluster, runner, faces_here, moved, last):
    """On one worker, and the last of them on another."""
    prompt = on_worker(faces(), cluster.address, "one", moved)
    assert_same(runner(on_worker(prompt, cluster.address, last, moved[-1:]), "17"), faces_here)


@pytest.mark.parametrize("moved", [("9",), ("8", "9")], ids=str)
def test_checkpoints_with_a_lora(cluster, runner, moved):
    assert_same(runner(on_worker(checkpoints(), cluster.address, "one", moved), "11"), runner(checkpoints(), "11"))


def test_a_checkpoint_with_a_controlnet(cluster, runner):
    """Its picture is sent there."""
    prompt = checkpoints()
    prompt["12"] = prompt_node("ControlNetLoader", control_net_name="fourth.safetensors")
    prompt["13"] = prompt_node("LoadImage", image="mcdm_face_1_hair.png")
    applied = {"positive": ["6", 0], "negative": ["7", 0], "control_net": ["12", 0], "image": ["13", 0]}
    applied |= {"strength": 0.8, "start_percent": 0.0, "end_percent": 0.7}
    prompt["14"] = prompt_node("ControlNetApplyAdvanced", **applied)
    prompt["9"] = expert(["3", 0], ["14", 0], ["14", 1], 2.0, experts=["8", 0])
    found, without = runner(prompt, "11"), runner(checkpoints(), "11")
    assert not torch.allclose(found["samples"], without["samples"], atol=1e-3)
    assert_same(runner(on_worker(prompt, cluster.address, "one", ("9",)), "11"), found)


def test_behind_a_product_as_a_model(cluster, runner):
    prompt = small()
    product = {"model": ["1", 0], "reliability": 1.0, "experts": ["9", 0]}
    prompt["12"] = prompt_node("MCDM_ProductModel", **product)
    sampled = {"seed": 5, "steps": 3, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    sampled |= {"model": ["12", 0], "positive": ["4", 0], "negative": ["4", 1], "latent_image": ["10", 0]}
    prompt["13"] = prompt_node("KSampler", **sampled)
    del prompt["9"]["inputs"]["experts"]
    assert_same(runner(on_worker(prompt, cluster.address, "two", ("9",)), "13"), runner(prompt, "13"))


def test_clones_of_one_network_on_a_worker(cluster, runner):
    prompt = checkpoints()
    prompt["3"]["inputs"] |= {"model": ["1", 0], "clip": ["1", 1]}
    assert_same(runner(on_worker(prompt, cluster.address, "two", ("8", "9")), "11"), runner(prompt, "11"))


def test_nothing_is_loaded_here(cluster, runner, loads, monkeypatch):
    """Not even read."""
    read = []
    load = comfy.utils.load_torch_file
    monkeypatch.setattr(comfy.utils, "load_torch_file", lambda *args, **more: read.append(args) or load(*args, **more))
    runner(on_worker(checkpoints(), cluster.address, "one", ("8", "9")), "11")
    assert not read
    assert {type(network).__name__ for call in loads for network in call} == {"RemoteModel"}


def test_a_mask_a_window_and_a_picture_to_start_from(cluster, runner):
    prompt = small()
    prompt["12"] = prompt_node("SolidMask", value=0.4, width=64, height=64)
    prompt["13"] = prompt_node("SetLatentNoiseMask", samples=["10", 0], mask=["12", 0])
    prompt["9"]["inputs"] |= {"mask": ["12", 0], "start": 0.2}
    prompt["11"]["inputs"] |= {"latent_image": ["13", 0], "sampler_name": "heun"}
    assert_same(runner(on_worker(prompt, cluster.address, "one", ("9",)), "11"), runner(prompt, "11"))


def test_sweep_and_inspect(cluster, runner):
    prompt = small()
    sampled = {name: prompt["11"]["inputs"][name] for name in ("experts", "latent_image", "seed", "denoise")}
    sampled |= {"steps": 2, "sampler_name": "euler", "scheduler": "normal", "vae": ["1", 2]}
    grid = {"expert_index": 2, "values": "0, 0.5", "vary": "reliability", "guidance": "1", "seeds": 1}
    prompt["14"] = prompt_node("MCDM_ReliabilitySweep", **sampled | grid)
    prompt["15"] = prompt_node("RandomNoise", noise_seed=5)
    prompt["16"] = prompt_node("KSamplerSelect", sampler_name="euler")
    settings = {"scheduler": "normal", "steps": 3, "denoise": 1.0, "model": ["1", 0]}
    prompt["17"] = prompt_node("BasicScheduler", **settings)
    inspect = {"experts": ["9", 0], "noise": ["15", 0], "sampler": ["16", 0], "sigmas": ["17", 0]}
    inspect |= {"latent_image": ["10", 0], "vae": ["1", 2], "steps_shown": "3"}
    prompt["18"] = prompt_node("MCDM_Inspect", **inspect)
    moved = on_worker(prompt, cluster.address, "one", ("9",))
    for key in ("14", "18"):
        assert_same(runner(moved, key), runner(prompt, key))
        pictures = [runner(each, key, 1) for each in (moved, prompt)]  # whose titles say where an expert is
        assert ((pictures[0] - pictures[1]).abs() > 2 / 255).float().mean() < 0.03


def test_an_expert_that_only_lends_its_null(cluster, runner):
    """It listens to nothing, so that nothing has to be wired."""
    prompt = small()
    prompt["2"]["inputs"]["expert_name"] = "small none.safetensors"
    del prompt["6"]
    prompt["9"]["inputs"] = {"model": ["2", 0], "weight": 0.0, "reliability": 2.0, "start": 0.0, "end": 1.0}
    prompt["9"]["inputs"]["experts"] = ["8", 0]
    assert_same(runner(on_worker(prompt, cluster.address, "one", ("9",)), "11"), runner(prompt, "11"))


@pytest.mark.parametrize("moved", [("9",), ("8", "9")], ids=str)
def test_turns(cluster, runner, moved):
    prompt = in_8_steps()
    everywhere = {"sigma_start": 0.0, "sigma_end": 0.0}
    turns = {"experts": ["9", 0], "threshold": 1.0, "refresh": 1, "switch": 1, "end": 1.0}
    prompt["21"] = prompt_node("MCDM_Passes", **turns, start=0.5, **everywhere)
    plain = runner(prompt, "11")
    prompt["11"]["inputs"]["experts"] = ["21", 0]
    here = runner(prompt, "11")
    assert not torch.allclose(here["samples"], plain["samples"], atol=1e-3)
    assert_same(runner(on_worker(prompt, cluster.address, "two", moved), "11"), here)


def test_its_model_serves_schedulers(cluster, runner):
    prompt = small()
    moved = on_worker(prompt, cluster.address, "one", ("8",))
    settings = {"scheduler": "karras", "steps": 5, "denoise": 1.0}
    for each, source in ((prompt, ["1", 0]), (moved, ["8", 1])):
        each["12"] = prompt_node("BasicScheduler", **settings, model=source)
    assert torch.equal(runner(moved, "12"), runner(prompt, "12"))


def test_runs_leave_nothing_behind(cluster, runner):
    prompt, found = on_worker(small(), cluster.address, "one", ("9",)), []
    process = cluster.process("one")
    for count in range(50):
        prompt["11"]["inputs"]["seed"] = count
        runner(prompt, "11")
        if count in (9, 49):
            found.append((Living.now().tensors, process.memory_info().rss, threading.active_count()))
    assert found[0][0] == found[1][0]
    assert found[1][1] < found[0][1] + 20e6
    assert found[0][2] == found[1][2]


def within_steps(monkeypatch, host, act):
    """Do something in the middle of a run: before the workers are asked for the time of this number."""
    run = importlib.import_module("mcdm_pack.nodes.workers.run")
    calls, predict = iter(range(1000)), run.WorkersOfRun.predict

    def watched(self, *args):
        act(next(calls))
        return predict(self, *args)

    monkeypatch.setattr(run.WorkersOfRun, "predict", watched)


@pytest.mark.parametrize("step", range(8))
def test_a_worker_that_dies_is_asked_again(cluster, runner, small_here, host, monkeypatch, step):
    def kill(call):
        if call == step:
            cluster.kill("two")

    within_steps(monkeypatch, host, kill)
    prompt = on_worker(in_8_steps(), cluster.address, "two", ("8", "9"))
    assert torch.equal(runner(prompt, "11")["samples"], small_here["samples"])


@pytest.mark.parametrize("step", range(3))
def test_a_cancel(cluster, runner, host, monkeypatch, step):
    def cancel(call):
        if call == step:
            comfy.model_management.interrupt_current_processing()

    prompt = on_worker(small(), cluster.address, "one", ("8", "9"))
    with monkeypatch.context() as patched:
        within_steps(patched, host, cancel)
        with pytest.raises(ValueError, match="interrupted"):
            runner(prompt, "11")
    assert_same(runner(prompt, "11"), runner(small(), "11"))


@pytest.fixture
def refused(runner, at_each_pass):
    """Assert that a prompt is refused in one sentence, before the first step."""
    passes = []
    at_each_pass(lambda *seen: passes.append(seen))

    def check(prompt, match, key="11"):
        with pytest.raises(ValueError, match=match) as error:
            runner(prompt, key)
        assert re.search(r"[;:]", str(error.value).splitlines()[0]), "a sentence should also say what to do"
        assert not passes

    return check


def test_another_size(cluster, refused):
    """What only the worker can know."""
    prompt = on_worker(small(), cluster.address, "one", ("8", "9"))
    prompt["10"] = prompt_node("EmptyLatentImage", width=64, height=64, batch_size=1)
    refused(prompt, "worker one refuses: Wrong latent for expert 1 .*32×32 pixels.* 8×8; connect")


def test_other_versions(cluster, refused, monkeypatch):
    monkeypatch.setattr(comfyui_version, "__version__", "0.1.2")
    refused(on_worker(small(), cluster.address, "one", ("9",)), r"Expected ComfyUI 0\.1\.2 on the worker one.*install")


def test_another_cluster(cluster, refused):
    refused(on_worker(small(), "127.0.0.1:1", "one", ("9",)), "joins only one; give")


def test_a_worker_of_that_name_is_at_work(cluster, tmp_path):
    """However long it takes to give a sign of life: that of users is 30 s."""
    script = tmp_path / "start.py"
    script.write_text(f"import worker; worker.ANSWER_SECONDS = {PATIENCE}; raise SystemExit(worker.main())")
    command = [script, "--name", "one", "--address", cluster.address, "--comfyui", cluster.comfyui]
    code, said = run_command(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert code == 2
    assert "got one, which is at work; choose another." in said


def test_a_wrong_token(cluster, comfyui, tmp_path):
    """Ray lets nobody in who has another; in a ComfyUI of its own, since this one is in the cluster."""
    script = tmp_path / "connect.py"
    script.write_text(
        "from benchmarks.comfyui import enter; enter(cpu=True); from mcdm_pack.nodes.workers.cluster import connect"
        f"; connect({cluster.address!r})"
    )
    wrong = {**os.environ, "RAY_AUTH_TOKEN": secrets.token_hex(32), "COMFYUI_PATH": str(comfyui)}
    code, said = run_command([script], env={**wrong, "PYTHONPATH": str(ROOT)}, cwd=ROOT)
    assert code != 0
    sentence = (
        rf"ValueError: Expected a Ray cluster at {cluster.address} that takes this ComfyUI in, and it doesn't; see "
        r"that a Ray node runs here, with the cluster's token, Ray and Python\. Ray says, "
    )
    assert re.search(sentence, said)


def test_a_worker_with_a_wrong_token(cluster):
    """It says so once Ray has said it, and waits no longer for a node that won't join."""
    wrong = {**os.environ, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    command = [ROOT / "worker.py", "--name", "four", "--join"]
    command += ["--address", cluster.address, "--comfyui", cluster.comfyui]
    code, said = run_command(command, env=wrong)
    assert code == 2
    sentence = rf"Expected the Ray node that this started to join the cluster at {cluster.address} and it ended.*; see"
    assert re.search(sentence, said)


def test_a_worker_that_stays_away(cluster, runner, host, monkeypatch):
    """The last test: "two" is ended for good. It is asked once more, and nobody waits for signs of its life."""
    import ray

    calls = importlib.import_module("mcdm_pack.nodes.workers.cluster").WorkerCall
    call_it, asked = calls.__init__, []

    def end(call):
        if call == 1:
            ray.kill(cluster.actor("two"), no_restart=True)
            asked.clear()

    def watched(self, worker, actor, method, *args):
        asked.append(method)
        call_it(self, worker, actor, method, *args)

    monkeypatch.setattr(calls, "__init__", watched)
    within_steps(monkeypatch, host, end)
    with pytest.raises(ValueError, match="worker two to go on and it has ended for good; start it again"):
        runner(on_worker(small(), cluster.address, "two", ("9",)), "11")
    assert asked == ["predict"]


def test_a_worker_that_gives_no_sign_of_life(cluster, runner, host, monkeypatch):
    """Its process is stopped, as a machine that hangs."""
    process = cluster.process("one")

    def stop(call):
        if call == 1:
            process.suspend()

    within_steps(monkeypatch, host, stop)
    try:
        with pytest.raises(ValueError, match="sign of life from the worker one within 3 s and got none; start"):
            runner(on_worker(small(), cluster.address, "one", ("9",), timeout=3.0), "11")
    finally:
        process.resume()
