"""What experts on workers are made of, without a cluster: buffers, descriptions, parts of prompts, sentences."""

import importlib
import importlib.util
import json
import random
import re
import sys
from types import ModuleType

import comfy_extras.nodes_model_advanced as advanced
import folder_paths
import numpy as np
import pytest
import torch
from comfy.model_management import module_size
from comfy.sampler_helpers import prepare_mask
from PIL import Image
from safetensors.torch import save_file

from ..support.families.sized_noise import SizedFlow
from ..support.families.spaces import expert_in
from ..support.oracle.networks import network
from ..support.server.comfyui_server import ROOT
from ..support.server.posts import prompt_node, said_of
from ..support.server.prompt_mutants import mutant


@pytest.fixture(scope="module")
def remote(pack):
    """Modules of nodes/workers by name."""
    return lambda name: importlib.import_module(f"mcdm_pack.nodes.workers.{name}")


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 4, 8, 8), (1, 16, 3, 8, 8)], ids=str)
def test_tensors_arrive_as_they_were(remote, dtype, shape):
    wire = remote("wire")
    sent = (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3).to(dtype)
    assert torch.equal(wire.to_tensor(wire.to_buffer(sent), shape), sent)
    assert torch.equal(
        wire.to_tensor(wire.to_buffer(sent.expand(2, *shape).transpose(0, -1))), sent.expand(2, *shape).transpose(0, -1)
    )


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (2, 4, 3, 8, 8)], ids=str)
def test_masks_of_a_batch_are_prepared_there_as_here(remote, shape):
    masks = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1))
    here = prepare_mask(masks, shape, "cpu")
    assert torch.equal(prepare_mask(remote("run").before_core(here), shape, "cpu"), here)


def test_what_is_no_tensor_is_refused(remote):
    wire = remote("wire")
    good = wire.to_buffer(torch.ones(2, 3))
    for wrong in (
        None,
        "a tensor",
        {},
        {**good, "dtype": "object"},
        {**good, "dtype": ["float32"]},
        {**good, "shape": [2, -3]},
        {**good, "shape": [2, 3.0]},
        {**good, "shape": [2, 4]},
        {**good, "data": good["data"].tobytes()},
        {**good, "data": good["data"].view(np.float32)},
        {**good, "data": good["data"][:-1]},
        {**good, "data": good["data"].reshape(2, 12)},
    ):
        with pytest.raises(ValueError, match=r"Expected .*; (use|try)"):
            wire.to_tensor(wrong)
    with pytest.raises(ValueError, match=r"of shape \(3, 2\) and got \(2, 3\)"):
        wire.to_tensor(good, (3, 2))


def models(load):
    found = {layout: network(layout, 1) for layout in ("eps", "v", "flow", "SDXL", "Flux")}
    found["shifted"] = advanced.ModelSamplingSD3().patch(found["flow"], 5.0)[0]
    found["LCM"] = advanced.ModelSamplingDiscrete().patch(found["eps"], "lcm", False)[0]
    found["zero SNR"] = advanced.ModelSamplingDiscrete().patch(found["v"], "v_prediction", True)[0]
    found["EDM"] = advanced.ModelSamplingContinuousEDM().patch(found["eps"], "v_prediction", 80.0, 0.002)[0]
    found["Flux 2"] = expert_in("Flux2", 1).model
    found["expert"] = load("hair").model
    found["expert on another schedule"] = load("linear").model
    return found


def test_schedules_and_latents_are_made_again(remote, load):
    descriptions = remote("descriptions")
    for name, model in models(load).items():
        sampling, latents = (model.get_model_object(each) for each in ("model_sampling", "latent_format"))
        ours = descriptions.make_sampling(descriptions.describe_sampling(sampling))
        x = torch.randn(2, latents.latent_channels, 8, 8, generator=torch.Generator().manual_seed(2))
        for share in (0.0, 0.3, 1.0):
            assert ours.percent_to_sigma(share) == sampling.percent_to_sigma(share), name
        sigma = torch.tensor([float(sampling.percent_to_sigma(share)) for share in (0.2, 0.7)])
        assert torch.equal(ours.timestep(sigma), sampling.timestep(sigma)), name
        assert torch.equal(ours.calculate_input(sigma, x), sampling.calculate_input(sigma, x)), name
        assert torch.equal(ours.calculate_denoised(sigma, x, x), sampling.calculate_denoised(sigma, x, x)), name
        assert (float(ours.sigma_min), float(ours.sigma_max)) == (float(sampling.sigma_min), float(sampling.sigma_max))
        again = descriptions.make_latents(descriptions.describe_latents(latents))
        assert type(again) is type(latents), name
        assert torch.equal(again.process_in(x), latents.process_in(x)), name
        assert again.latent_rgb_factors == latents.latent_rgb_factors, name
        assert callable(again.latent_rgb_factors_reshape) == callable(latents.latent_rgb_factors_reshape), name


@pytest.fixture
def of_a_family(monkeypatch, pack):
    """A class of ours as one of a module of core's, which keeps a family's own there."""
    module = ModuleType("comfy.ldm.sized.sampling")
    kind = module.SizedFlow = type("SizedFlow", (SizedFlow,), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module, kind


def test_a_schedule_that_a_family_keeps_beside_its_network_is_made_again(remote, host, of_a_family):
    descriptions, (_, kind) = remote("descriptions"), of_a_family
    sampling = kind()
    sampling.set_parameters(shift=3.0)
    ours = descriptions.make_sampling(descriptions.describe_sampling(sampling))
    assert type(ours) is kind
    for size, scale in ((1, 0.25), (32, 8.0)):
        forms = [host.evaluation.model_forms.form_of(each, (2, 3, size, size)) for each in (ours, sampling)]
        assert forms[0] == forms[1]
        assert forms[0].noise_scale == scale


def test_only_schedules_of_cores_own_modules_are_known(remote, of_a_family):
    descriptions, (module, kind) = remote("descriptions"), of_a_family
    described = descriptions.describe_sampling(kind())
    module.Borrowed = type("Borrowed", (kind,), {"__module__": "of_a_pack"})
    module.NoSchedule = type("NoSchedule", (torch.nn.Module,), {"__module__": module.__name__})
    asked = ["Borrowed", "NoSchedule", "Missing", "__name__"]
    for name in (*(f"{module.__name__}:{each}" for each in asked), "comfy.cli_args:args", "comfy.not_imported:Flow"):
        with pytest.raises(ValueError, match="known here"):
            descriptions.make_sampling({**described, "classes": [name]})
    with pytest.raises(ValueError, match=r"schedule of ComfyUI's own .*Borrowed; remove"):
        descriptions.describe_sampling(module.Borrowed())


def test_classes_that_are_not_known_are_refused(remote, load):
    descriptions = remote("descriptions")
    sampling = load("hair").model.get_model_object("model_sampling")

    class Another(type(sampling)):
        def timestep(self, sigma):
            return sigma

    with pytest.raises(ValueError, match=r"schedule of ComfyUI's own .*Another; remove"):
        descriptions.describe_sampling(Another(sampling.schedule))
    described = descriptions.describe_sampling(sampling)
    for name in ("os:system", "core:torch", "core:", "core:isinstance", 3):
        with pytest.raises(ValueError, match="known here"):
            descriptions.make_sampling({**described, "classes": [name]})
        with pytest.raises(ValueError, match="known here"):
            descriptions.make_latents({"class": name, "values": {}})
    for name in ("__class__", "_buffers", "timestep", "register_buffer"):
        with pytest.raises(ValueError, match="Expected numbers of a schedule"):
            descriptions.make_sampling({**described, "values": {name: 1.0}})


def test_a_model_without_weights_is_no_model_to_sample(remote, load):
    served, model = remote("served"), remote("model")
    described = served.describe_model(load("hair").model)
    patcher = model.remote_patcher(described, remote("cluster").WorkerName("127.0.0.1:6379", "big"))
    assert isinstance(patcher.model, model.RemoteModel)
    assert not list(patcher.model.parameters())
    assert module_size(patcher.model) < 20_000  # the noise levels
    with pytest.raises(ValueError, match="on big; take it for schedulers alone"):
        patcher.model.apply_model(torch.zeros(1, 3, 32, 32), torch.ones(1))


@pytest.mark.parametrize(
    ("replaces", "asks", "expected"),
    [
        (False, False, (False, False)),
        (False, True, (False, False)),
        (True, False, (False, True)),
        (True, True, (True,) * 2),
    ],
)
def test_what_a_worker_says_of_pairs_is_taken_over(remote, host, load, replaces, asks, expected):
    described_by, model, pairs_of = remote("served").describe_model, remote("model"), host.evaluation.pairs.pairs_of
    there = load("hair").model.clone()
    if replaces:
        there.add_object_patch("diffusion_model.forward", lambda x, *args, **kwargs: x)
    there.model_options["disable_cfg1_optimization"] = asks
    here = model.remote_patcher(described_by(there), remote("cluster").WorkerName("127.0.0.1:6379", "big"))
    assert pairs_of(there) == pairs_of(here) == expected


def test_what_a_worker_of_an_older_state_does_not_tell_is_named(remote, load):
    described, model = remote("served").describe_model(load("hair").model), remote("model")
    for name in described:
        told = {other: value for other, value in described.items() if other != name}
        with pytest.raises(ValueError, match=rf"Expected the worker big to tell {name} of its MODEL .*; use the same"):
            model.remote_patcher(told, remote("cluster").WorkerName("127.0.0.1:6379", "big"))


def prompt_of(picture, expert_name="hair.safetensors", more=None):
    return {
        "1": prompt_node("MCDM_LoadExpert", expert_name=expert_name),
        "2": prompt_node("LoadImage", image=picture),
        "3": prompt_node("MCDM_EncodeMap", encoder=["1", 1], image=["2", 0], map="auto", with_text=False),
        "7": prompt_node("MCDM_LoadExpert", expert_name="skin.safetensors"),
        **(more or {}),
    }


@pytest.fixture
def part(remote):
    def behind(prompt, links=None):
        links = links or {"model": ["1", 0], "condition": ["3", 0], "null": ["3", 1]}
        return remote("prompt_part").part_behind(prompt.__getitem__, links)

    return behind


def test_a_part_holds_what_is_behind_and_no_more(part):
    found = part(prompt_of("mcdm_face_1_hair.png"))
    kinds = sorted(node["class_type"] for node in found.nodes.values())
    assert kinds == ["LoadImage", "MCDM_EncodeMap", "MCDM_LoadExpert"]
    assert found.links["condition"][0] == found.links["null"][0]
    assert json.loads(json.dumps(found.nodes)) == found.nodes


def test_keys_tell_what_a_node_is_and_not_what_it_is_called(part):
    first = prompt_of("mcdm_face_1_hair.png")
    renamed = json.loads(re.sub(r'"([1237])"', r'"node \1"', json.dumps(first)))
    links = {"model": ["node 1", 0], "condition": ["node 3", 0], "null": ["node 3", 1]}
    assert part(renamed, links).links == part(first).links
    assert part(prompt_of("mcdm_face_1_hair.png", "skin.safetensors")).links != part(first).links


def test_pictures_go_by_their_content(part, remote, base):
    inputs = remote("files")
    Image.new("L", (8, 8), 42).save(base / "input" / "sent by no other test.png")
    first = part(prompt_of("sent by no other test.png"))
    (name, path), *rest = first.files.items()
    assert not rest
    copy = base / "input" / "the same.png"
    copy.write_bytes(path.read_bytes())
    assert part(prompt_of("the same.png")).links == first.links
    assert inputs.lacking([name]) == [name]
    inputs.store(name, path.read_bytes())
    assert inputs.lacking([name]) == []
    (image,) = (node["inputs"]["image"] for node in first.nodes.values() if node["class_type"] == "LoadImage")
    assert folder_paths.exists_annotated_filepath(image)


@pytest.mark.parametrize("name", ["../x.png", "x", "0" * 64 + "/../x", "0" * 64 + ".png", "/etc/passwd"])
def test_files_of_other_names_are_not_kept(remote, name):
    with pytest.raises(ValueError, match="Expected"):
        remote("files").store(name, b"content")


def test_a_prompts_nodes_are_run_once(remote, small_experts):
    runner = remote("prompts").PromptRunner()
    prompt = {
        "a": prompt_node("MCDM_LoadExpert", expert_name=small_experts["hair"]),
        "b": prompt_node("MCDM_LoadExpert", expert_name=small_experts["skin"]),
    }
    (first,) = runner.outputs({"a": prompt["a"]}, [["a", 0]], keep=True)
    runner.outputs({"b": prompt["b"]}, [["b", 0]], keep=True)
    again, _ = runner.outputs(prompt, [["a", 0], ["b", 0]])
    assert again is first
    with pytest.raises(ValueError, match="isn't installed"):
        runner.outputs({"c": prompt_node("Nothing")}, [["c", 0]], keep=True)
    assert runner.outputs(prompt, [["a", 0]], keep=True)[0] is first
    runner.outputs({"b": prompt["b"]}, [["b", 0]])
    assert runner.outputs(prompt, [["a", 0]])[0] is not first


@pytest.mark.parametrize(
    ("prompt", "match"),
    [
        ({"a": prompt_node("Nothing")}, "node Nothing, which isn't installed there; install"),
        (
            {"a": prompt_node("MCDM_LoadExpert", expert_name="none.safetensors")},
            r"MCDM_LoadExpert: .*; choose another, or put it there if it is a file\.$",
        ),
        ({"a": prompt_node("MCDM_LoadExpert")}, "MCDM_LoadExpert: Required input is missing"),
        (
            {"a": prompt_node("MCDM_EncodeText", encoder=["b", 1], text="x")},
            "MCDM_EncodeText is linked to and a part is missing; try",
        ),
    ],
)
def test_prompts_that_cannot_run_are_refused(remote, prompt, match):
    with pytest.raises(ValueError, match=match):
        remote("prompts").PromptRunner().outputs(prompt, [["a", 0]])


def test_a_run_that_is_not_served_is_unknown(remote, small_experts):
    engine = remote("engine").Engine()
    assert engine.predict("none", []) == {"unknown": True}
    nodes = {"a": prompt_node("MCDM_LoadExpert", expert_name=small_experts["hair"])}
    assert engine.load(nodes, ["a", 0], {})["model"]["latent_format"]["class"] == "mcdm:PixelSpace"
    assert "isn't installed" in engine.load({"a": prompt_node("Nothing")}, ["a", 0], {})["refused"]
    assert engine.finish("none") == {"finished": "none"}


@pytest.fixture
def checkpoint(base):
    """Writes a file under one name."""
    path = base / "models" / "checkpoints" / "same name.safetensors"
    path.parent.mkdir(exist_ok=True)

    def write(size, digest=None):
        save_file({"a": torch.zeros(size)}, path, None if digest is None else {"modelspec.hash_sha256": digest})
        folder_paths.filename_list_cache.clear()
        return [path.name]

    yield write
    path.unlink()


def test_files_of_one_name_that_differ_are_refused(remote, checkpoint):
    files = remote("model_files")
    here = files.model_files(checkpoint(3, "0x12"))
    assert list(here) == ["checkpoints/same name.safetensors"]
    files.check_model_files(here)
    checkpoint(1000)
    with pytest.raises(ValueError, match=r"same name\.safetensors to be the same file .* its size is .*; copy"):
        files.check_model_files(here)
    checkpoint(3, "0x34")
    with pytest.raises(ValueError, match="its hash is 0x12 where the workflow is and 0x34 on the worker; copy"):
        files.check_model_files(here)


def test_an_empty_file_stands_for_one_that_is_elsewhere(remote, base):
    path = base / "models" / "checkpoints" / "elsewhere.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    folder_paths.filename_list_cache.clear()
    assert remote("model_files").model_files([path.name]) == {}
    remote("model_files").check_model_files({"checkpoints/none.safetensors": {"size": 3}, "nowhere/x.pt": {"size": 3}})


def test_nothing_behind_the_node_is_asked_for(node):
    node_class = node.classes["MCDM_ExpertRemote"]
    assert node_class.check_lazy_status(model=None, condition=None, null=None, weight=1.0) == []
    lazy = {value.id for value in node_class.GET_SCHEMA().inputs if value.lazy}
    assert lazy == {"model", "condition", "null"}


def test_versions_that_differ_are_named(remote, monkeypatch):
    module = remote("versions")
    monkeypatch.setattr(module, "versions", lambda: {"this pack": "1.0", "Ray": "2.60.0"})
    module.check_versions({"this pack": "1.0", "Ray": "2.60.0"}, "big")
    with pytest.raises(
        ValueError, match=r"Expected Ray 2\.60\.0 on the worker big, as here, and it has 2\.50\.0; inst"
    ):
        module.check_versions({"this pack": "1.0", "Ray": "2.50.0"}, "big")


def graph_of(experts=1, **changes):
    """A graph of a small expert, as a worker's ComfyUI exports it."""
    inputs = {"model": ["1", 0], "condition": ["3", 0], "null": ["3", 1], "weight": 4.0, "experts": ["8", 0]}
    expert = {"class_type": "MCDM_Expert", "inputs": {**inputs, **changes}, "_meta": {"title": "Diffusion Expert"}}
    sampler = prompt_node("KSampler", model=["nowhere", 0])
    graph = prompt_of("mcdm_face_1_hair.png") | {"sampler": sampler}
    return graph | {f"expert {number}": expert for number in range(experts)}


def test_a_graph_is_what_its_expert_needs(host):
    graph = host.prompt.worker_graph.read_graph(json.dumps(graph_of()))
    assert sorted(graph.nodes) == ["1", "2", "3"]
    assert graph.links == {"model": ("1", 0), "condition": ("3", 0), "null": ("3", 1)}
    assert graph.kinds == ["LoadImage", "MCDM_EncodeMap", "MCDM_LoadExpert"]
    alone = host.prompt.worker_graph.read_graph(json.dumps(graph_of(condition="x", null=None)))
    assert alone.links == {"model": ("1", 0)}


RING = graph_of() | {"1": prompt_node("A", a=["3", 0])}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", r"got no JSON .*; build it"),
        ("[" * 100_000, r"got no JSON .*; build it"),
        ("[]", "class_type and inputs, and got something else; build"),
        ('{"1": {"class_type": 3, "inputs": {}}}', "something else; build"),
        ('{"nodes": [], "links": []}', r"one of the page; take File, Export \(API\)"),
        (json.dumps(graph_of(experts=0)), "Expected one Diffusion Expert .* got none; build"),
        (json.dumps(graph_of(experts=2)), "Expected one Diffusion Expert .* got 2; build"),
        (json.dumps(graph_of(model="x")), "Expected a model at the Diffusion Expert .* got none; connect"),
        (json.dumps(graph_of(null=["9", 0])), "9 is missing; build"),
        (json.dumps(RING), "without rings and node [13] is in one; build"),
    ],
)
def test_what_is_no_graph_is_refused(host, text, match):
    with pytest.raises(ValueError, match=match):
        host.prompt.worker_graph.read_graph(text)


def test_a_long_graph_is_read(remote, host):
    chain = {f"a{n}": prompt_node("A", a=[f"a{n + 1}", 0]) for n in range(3000)}
    text = json.dumps(graph_of(condition=["a0", 0]) | chain | {"a3000": prompt_node("B")})
    graph = host.prompt.worker_graph.read_graph(text)
    assert len(graph.nodes) == 3004
    part = remote("prompt_part").part_behind(graph.nodes.__getitem__, graph.links, lambda kind: [], list(graph.nodes))
    assert len(part.nodes) == 3004


def test_mutated_graphs_are_read_or_refused(remote, host):
    """Read, they can be told to a worker."""

    def is_read(text):
        try:
            graph = host.prompt.worker_graph.read_graph(text)
        except ValueError:
            return False
        return bool(remote("prompt_part").part_behind(graph.nodes.__getitem__, graph.links, lambda kind: ["image"]))

    chance = random.Random(7)
    read = [is_read(json.dumps(mutant(graph_of(), chance).prompt)) for _ in range(400)]
    assert 40 < sum(read) < 360


@pytest.fixture
def engine(remote):
    """A worker's side, asked as a worker is."""
    served = remote("engine").Engine()

    def ask(method, *args):
        answer = served.call(method, *args)
        if "refused" in answer:
            raise ValueError(answer["refused"])
        return answer

    return ask


def test_a_graph_becomes_the_part_that_its_links_would_be(remote, host, part, engine, small_experts, base):
    prompt = prompt_of("mcdm_face_1_hair.png", small_experts["hair"])
    graph = host.prompt.worker_graph.read_graph(json.dumps(graph_of() | prompt))
    found = remote("node").checked_part(graph, engine)
    assert found == part(prompt)
    assert not remote("files").lacking(list(found.files))  # it was sent


@pytest.mark.parametrize("by_graph", [True, False], ids=["graph", "links"])
def test_a_worker_is_asked_once_for_each_thing(remote, engine, small_experts, base, monkeypatch, by_graph):
    picture = base / "input" / f"asked once {by_graph}.png"
    Image.new("RGB", (32, 32), (7, 7, 30 + by_graph)).save(picture)  # that no other test has sent
    graph = graph_of() | prompt_of(picture.name, small_experts["hair"])
    calls = []

    def ask(worker, timeout, method, *args):
        calls.append(method)
        return engine(method, *args)

    monkeypatch.setattr(remote("cluster"), "call_worker", ask)
    for module in ("engine", "versions"):
        monkeypatch.setattr(remote(module), "versions", dict)  # Ray's too, which isn't needed here

    class Prompt:
        get_node = graph.__getitem__

    share = {"weight": 1.0, "reliability": 1.0, "start": 0.0, "end": 1.0}
    where = remote("cluster").WorkerName("127.0.0.1:6379", f"of its own: {by_graph}")
    text = json.dumps(graph) if by_graph else ""
    expert = remote("node").remote_expert(Prompt, "expert 0", text, where, 5.0, share, None, ())
    assert calls == ["hello", *(["uploads"] * by_graph), "lacks", "store", *(["check"] * by_graph), "load"]
    calls.clear()
    again = remote("node").remote_expert(Prompt, "expert 0", text, where, 5.0, share, None, ())
    assert again.model is expert.model
    assert calls == ["hello", *(["uploads"] * by_graph), "lacks", *(["check"] * by_graph)]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"2": prompt_node("OnlyHere")}, "node OnlyHere, which isn't installed there; install"),
        ({"1": prompt_node("MCDM_LoadExpert", expert_name="no")}, "MCDM_LoadExpert: .*no"),
        (graph_of(model=["1", 2]), "a MODEL as the model and got VAE, which is output 3 of MCDM_LoadExpert; connect"),
        (graph_of(model=["1", 9]), "a MODEL as the model and got nothing, which is output 10"),
        (graph_of(null=["1", 0]), "a CONDITIONING as the negative and got MODEL"),
    ],
)
def test_a_graph_is_checked_where_it_will_run(remote, host, engine, small_experts, changes, match):
    graph = graph_of() | changes
    loader = graph["1"]["inputs"]
    graph["1"]["inputs"] = {**loader, "expert_name": loader["expert_name"].replace("hair", "small hair")}
    with pytest.raises(ValueError, match=match):
        remote("node").checked_part(host.prompt.worker_graph.read_graph(json.dumps(graph)), engine)


def test_only_input_files_are_sent(host, base):
    input_file = host.prompt.worker_graph.input_file
    (base / "secret.png").write_bytes(b"x")
    (base / "input" / "within").mkdir(exist_ok=True)
    (base / "input" / "within" / "x.png").write_bytes(b"x")
    (base / "output" / "made.png").write_bytes(b"x")
    assert input_file("within/x.png").name == "x.png"
    assert input_file("made.png [output]").name == "made.png"
    for outside in ("../secret.png", "within/../../secret.png", str(base / "secret.png"), "../secret.png [output]"):
        assert input_file(outside) is None
    assert input_file("within") is None
    assert input_file("a\0b") is None


def test_a_picture_that_a_graph_names_is_looked_at_again(node, base):
    fingerprint = node.classes["MCDM_ExpertRemote"].fingerprint_inputs
    picture = base / "input" / "changing.png"
    picture.write_bytes(b"first")
    text = json.dumps(graph_of() | {"2": prompt_node("OnlyThere", image=picture.name)})
    before = fingerprint(graph=text, weight=1.0)
    assert before == fingerprint(graph=text)
    nothing = [fingerprint(graph=graph) for graph in ("", "no graph", None)]  # None: it comes from another node
    assert before != fingerprint()
    assert nothing == [fingerprint()] * 3
    picture.write_bytes(b"the second")
    assert fingerprint(graph=text) != before


AWAY = {"weight": 1.0, "reliability": 1.0, "start": 0.0, "end": 1.0}
AWAY |= {"address": "127.0.0.1:6379", "worker": "one", "timeout": 5.0}
LACKS_RAY = rf"Expected Ray.*; run: python -m pip install -r {re.escape(str(ROOT / 'requirements-hosts.txt'))}"


@pytest.fixture
def said(host, node):
    """What POST /prompt says of an expert on a worker with these inputs."""
    return lambda **more: said_of(host, node, "MCDM_ExpertRemote", **AWAY, **more)


def test_a_model_or_a_graph_has_to_be_there(said):
    assert "Expected a model and got neither a link nor a graph; connect" in said()
    assert "Expected a model and got neither a link nor a graph; connect" in said(graph="  ")


def test_a_graph_is_checked_when_it_is_queued(said, without_ray):
    assert "Expected one Diffusion Expert in the graph" in said(graph=json.dumps(prompt_of("x")))
    assert "needs a prompt" in said(graph=json.dumps(graph_of(condition=None)))  # a weight without one
    assert re.search(LACKS_RAY, said(graph=json.dumps(graph_of())))


@pytest.mark.parametrize("by", ["the node", "a call of the worker"])
def test_a_run_without_ray_says_how_to_get_it(remote, node, without_ray, by):
    with pytest.raises(ValueError, match=LACKS_RAY):
        node("MCDM_ExpertRemote", **AWAY) if by == "the node" else remote("cluster").connect(AWAY["address"])
