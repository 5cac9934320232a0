"""Fixtures for tests in a real ComfyUI, the one that `tools/comfyui.py` finds.

Test files import ComfyUI, the pack (`mcdm_pack`) and most of `support/` at their top. This file can't, and nor can
another conftest.py: it is read before options are, and where there is no ComfyUI.
"""

import asyncio
import importlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from .. import accelerator as stand_in
from .support.attachments import PAIRS
from .support.left_out import reason_to_leave_out
from .support.server.workers import NO_RAY

ROOT = Path(__file__).resolve().parents[2]
NO_COMFYUI = "no ComfyUI in COMFYUI_PATH, around this folder or in ~/ComfyUI"


def load_package(name: str, folder: Path) -> ModuleType:
    """Import a package by its folder, which is not on the path."""
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


load_package("mcdm_tools", ROOT / "tools")
find_comfyui = importlib.import_module("mcdm_tools.comfyui").find_comfyui


def pytest_addoption(parser):
    parser.addoption("--write-locales", action="store_true", help="write the English texts of the nodes anew")
    parser.addoption(
        "--all-combinations", action="store_true", help="check all 400 combinations of experts against brute force"
    )
    parser.addoption("--hostile-files", type=int, default=40, help="spoiled files of each kind that nodes are given")
    parser.addoption(
        "--dynamic-vram", action="store_true", help="run tests with ComfyUI's dynamic VRAM, stood in for on the CPU"
    )


class FileWithoutComfyUI(pytest.File):
    """A file of tests where there is no ComfyUI: it isn't imported, and counts as one short test, which is skipped.

    A test in it that is asked for by its id isn't found.
    """

    def collect(self):
        every_test = pytest.Function.from_parent(self, name="every test", callobj=lambda: None)
        every_test.add_marker(pytest.mark.skip(reason=NO_COMFYUI))
        return [every_test]


def pytest_pycollect_makemodule(module_path, parent):
    """Make ComfyUI and the pack importable before the first file of tests is imported."""
    comfyui = find_comfyui()
    if comfyui is None:
        return FileWithoutComfyUI.from_parent(parent, path=module_path)
    if "mcdm_pack" not in sys.modules:
        load_pack(comfyui, parent.config)
    return None


def load_pack(comfyui: Path, config: pytest.Config) -> None:
    """Load the pack into this process as ComfyUI loads it, with folders of models, inputs and outputs that are empty.

    It is on the CPU, unless `--accelerator` lets ComfyUI find that one.
    """
    # The repository's nodes/ would hide ComfyUI's module of that name, and tests/comfy its package comfy.
    inside = [entry for entry in sys.path if ROOT in (Path(entry).resolve(), *Path(entry).resolve().parents)]
    sys.path[:] = [str(comfyui), *sorted(sys.path, key=lambda entry: entry in inside and "site-packages" not in entry)]
    base = tempfile.TemporaryDirectory(prefix="comfyui-base-", ignore_cleanup_errors=True)
    config.add_cleanup(base.cleanup)
    for name in ("models/mcdm", "input", "output", "custom_nodes"):
        (Path(base.name) / name).mkdir(parents=True)

    from comfy.cli_args import args

    args.cpu = not (config.getoption("--accelerator") and stand_in.is_installed())
    args.base_directory = base.name
    import nodes

    assert Path(nodes.__file__).parent == comfyui
    load_package("mcdm_pack", ROOT)


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: "server" not in item.fixturenames)  # the longest files first, or one worker ends late
    for item in items:
        if "server" in item.fixturenames:
            item.add_marker(pytest.mark.long)
        if config.getoption("--accelerator") and (reason := reason_to_leave_out(item.nodeid)):
            item.add_marker(pytest.mark.skip(reason=f"not on the accelerator: {reason}"))


def pytest_terminal_summary(terminalreporter):
    if any(NO_COMFYUI in str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(f"ComfyUI tests SKIPPED: {NO_COMFYUI}.")
    if any(NO_RAY in str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(f"Tests of workers SKIPPED: {NO_RAY}.")
    passed = [(dict(report.user_properties), report.nodeid) for report in terminalreporter.getreports("passed")]
    differences = [(properties["difference"], name) for properties, name in passed if "difference" in properties]
    if differences:
        largest, name = max(differences)
        terminalreporter.write_line(f"{len(differences)} products agree with brute force; they differ by {largest:.1e}")
        terminalreporter.write_line(f"of the latent's scale at most, in {name}.")


@pytest.fixture(scope="session")
def comfyui() -> Path:
    return find_comfyui()


@pytest.fixture(scope="session")
def base() -> Path:
    """The folder of ComfyUI's models, inputs and outputs."""
    from comfy.cli_args import args

    return Path(args.base_directory)


@pytest.fixture(scope="session")
def pack(request) -> Iterator[ModuleType]:
    """The pack, whose nodes ComfyUI knows; `--dynamic-vram` is for all that follows."""
    import mcdm_pack

    import nodes

    from .support import dynamic_vram

    if request.config.getoption("--accelerator"):
        request.getfixturevalue("accelerator")
    mcdm_pack.extension = asyncio.run(mcdm_pack.comfy_entrypoint())
    with pytest.MonkeyPatch.context() as monkeypatch:
        for cls in asyncio.run(mcdm_pack.extension.get_node_list()):
            schema = cls.GET_SCHEMA()
            monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, schema.node_id, cls)
            monkeypatch.setitem(nodes.NODE_DISPLAY_NAME_MAPPINGS, schema.node_id, schema.display_name)
        if request.config.getoption("--dynamic-vram", default=False):
            dynamic_vram.install(monkeypatch)
        yield mcdm_pack


@pytest.fixture(scope="session")
def core(pack) -> ModuleType:
    """The pack's own mcdm_core."""
    return sys.modules["mcdm_pack.mcdm_core"]


@pytest.fixture(scope="session")
def studies() -> Callable[[str], ModuleType]:
    """Modules of studies/ by name, which read what pictures show; the repository stays off the path."""
    for name in ("mcdm_core", "studies"):
        load_package(name, ROOT / name)
    return lambda name: importlib.import_module(f"studies.{name}")


@pytest.fixture(scope="session")
def host(pack) -> ModuleType:
    """The pack's own nodes/host, with its rooms and their modules."""
    return sys.modules["mcdm_pack.nodes.host"]


@pytest.fixture(scope="session")
def node(pack):
    """Run a node by its id with keyword arguments; returns its outputs."""
    classes = {cls.define_schema().node_id: cls for cls in asyncio.run(pack.extension.get_node_list())}

    def run(node_id: str, **inputs):
        return classes[node_id].execute(**inputs).args

    run.classes = classes
    return run


@pytest.fixture(scope="session")
def save_small(core, base) -> Callable[..., str]:
    """Save a small expert with random weights; returns its file's name."""

    def save(name: str, condition: dict, seed: int, encoder=None, size=32, shape=None, **settings) -> str:
        torch.manual_seed(seed)
        network = core.UNetConfig(
            model_channels=32, num_res_blocks=1, channel_mult=(1, 2), attention_downsamplings=(2,), **(shape or {})
        )
        metadata = core.ExpertMetadata(name=name, network=network, image_size=size, condition=condition, **settings)
        core.save_expert(base / "models" / "mcdm" / f"{name}.safetensors", core.UNet(network), metadata, encoder)
        return f"{name}.safetensors"

    return save


@pytest.fixture(scope="session")
def small_experts(core, save_small) -> dict[str, str]:
    """File names of small experts with random weights; "linear" predicts ε on another schedule than the rest."""
    tower = sys.modules["mcdm_pack.mcdm_core.networks"].TextTower()

    def save(name: str, condition: dict, seed: int, encoder=None, **settings) -> str:
        shapes = {"text": {"pooled_dim": tower.config.dim}, "class": {"num_classes": 4}}
        shape = {"patch": 2, **shapes.get(condition["kind"], {"map_channels": 1})}
        return save_small(name, condition, seed, encoder, shape=shape, **settings)

    text = {"kind": "text", "text_encoder": tower.config.to_dict()}
    return {
        "hair": save("small hair", {"kind": "map", "map": "hair"}, 1),
        "skin": save("small skin", {"kind": "map", "map": "skin"}, 2),
        "linear": save("small linear", {"kind": "map", "map": "hair"}, 3, schedule="linear", prediction="eps"),
        "sketch": save("small sketch", {"kind": "sketch"}, 4),
        "text": save("small text", text, 5, encoder=tower),
        "class": save("small class", {"kind": "class", "classes": ["any", "Fox", "owl", "dog"]}, 6),
    }


@pytest.fixture(scope="session")
def small_vaes(core, base) -> dict[str, str]:
    """Keys of two small VAEs with random weights among ComfyUI's: one in the folder, one in a folder within."""
    autoencoders = sys.modules["mcdm_pack.mcdm_core.checkpoints.autoencoders"]
    networks = sys.modules["mcdm_pack.mcdm_core.networks.autoencoder"]
    keys = {}
    for seed, (name, path) in enumerate({"vae": "small vae.safetensors", "other": "within/other.safetensors"}.items()):
        torch.manual_seed(seed)
        network = networks.Autoencoder(networks.AutoencoderConfig((8, 8, 8, 8)))
        network.norm.measure(network.features(torch.rand(8, 3, 64, 64) * 2 - 1))
        with torch.no_grad():
            network.decoder[-1].weight.mul_(8.0)  # else all pictures are about as gray
        file = base / "models" / "vae" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        autoencoders.save_autoencoder(file, network.eval())
        keys[name] = autoencoders.encoder_key(autoencoders.load_autoencoder(file))
    return keys


@pytest.fixture(scope="session")
def latent_experts(core, save_small, small_vaes) -> dict[str, str]:
    """File names of small experts with random weights that make latents of the VAE; "other" of the other one."""
    tower = sys.modules["mcdm_pack.mcdm_core.networks"].TextTower()

    def save(name: str, condition: dict, seed: int, encoder=None, vae: str = "vae", **told) -> str:
        shape = {"in_channels": 4, "out_channels": 4, **told}
        return save_small(name, condition, seed, encoder, size=64, shape=shape, vae=small_vaes[vae])

    text = {"kind": "text", "text_encoder": tower.config.to_dict()}
    return {
        "hair": save("latent hair", {"kind": "map", "map": "hair"}, 11, map_channels=64),
        "skin": save("latent skin", {"kind": "map", "map": "skin"}, 12, map_channels=64),
        "sketch": save("latent sketch", {"kind": "sketch"}, 13, map_channels=64),
        "text": save("latent text", text, 14, tower, pooled_dim=tower.config.dim),
        "class": save("latent class", {"kind": "class", "classes": ["any", "fox", "owl"]}, 15, num_classes=3),
        "none": save("latent none", {"kind": "none"}, 16),
        "other": save("latent other", {"kind": "map", "map": "hair"}, 17, vae="other", map_channels=64),
    }


@pytest.fixture(scope="module")
def server(comfyui, small_experts, latent_experts, base, tmp_path_factory):
    """A server with the small experts and their VAEs."""
    from .support.server.comfyui_server import started

    folder = tmp_path_factory.mktemp("comfyui-server")
    shutil.copytree(base / "models", folder / "models")
    (folder / "input").mkdir()
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(folder / "input" / "white.png")
    with started(comfyui, folder) as running:
        yield running


@pytest.fixture
def load(node, small_experts):
    """Load a small expert: its model, encoder, a condition and the null, for a batch of two."""
    return lambda name: _loaded(node, small_experts[name], 32)


@pytest.fixture
def load_latent(node, latent_experts):
    """As `load`, of the experts that make latents."""
    return lambda name: _loaded(node, latent_experts[name], 64)


def _loaded(node, expert_name: str, size: int) -> SimpleNamespace:
    """A loaded expert, with a condition from a picture of this size or from a text or a class."""
    model, encoder, vae = node("MCDM_LoadExpert", expert_name=expert_name)
    noise = torch.rand(1, size, size, generator=torch.Generator().manual_seed(7))
    condition = null = None
    if encoder.kind == "text":
        condition, null = node("MCDM_EncodeText", encoder=encoder, text="a smiling man with red hair")
    elif encoder.kind == "class":
        condition, null = node("MCDM_EncodeClass", encoder=encoder, class_name="fox", null_kind="class 0")
    elif encoder.kind == "sketch":
        condition, null, _ = node(
            "MCDM_EncodeSketch",
            encoder=encoder,
            image=noise[..., None].expand(-1, -1, -1, 3),
            mode="drawing light on dark",
            low_threshold=100.0,
            high_threshold=200.0,
        )
    elif encoder.kind != "none":
        condition, null = node("MCDM_EncodeMap", encoder=encoder, map="auto", with_text=False, mask=noise)
    return SimpleNamespace(model=model, encoder=encoder, vae=vae, condition=condition, null=null)


@pytest.fixture
def chain(node):
    """Chain experts: each a loaded expert, or a tuple of one and a dictionary of inputs of Diffusion Expert."""

    def build(*experts, onto=()):
        built = onto
        for entry in experts:
            expert, settings = entry if isinstance(entry, tuple) else (entry, {})
            inputs = {"weight": 1.5, "reliability": 1.0, "start": 0.0, "end": 1.0}
            inputs |= {"model": expert.model, "condition": expert.condition, "null": expert.null}
            (built,) = node("MCDM_Expert", experts=built, **{**inputs, **settings})
        return built

    return build


@pytest.fixture
def joint(pack):
    """The plain loops over several latent spaces, which import ComfyUI."""
    from .support.oracle import joint

    return joint


@pytest.fixture
def spaces(joint, host, load, load_latent, monkeypatch):
    """Make a space, see `space_of`. Models that come without a size, as checkpoints do, count as made for 64 pixels."""
    native_side = host.spaces.run_spaces.native_side

    def small(patcher):
        return native_side(patcher) if isinstance(patcher.model, host.files.expert_model.ExpertModel) else 64

    monkeypatch.setattr(host.spaces.run_spaces, "native_side", small)
    return lambda name, picture, *settings: joint.space_of(load, load_latent, name, picture, *settings)


@pytest.fixture
def joint_chain(chain):
    """The chain of the experts of spaces, one space after the other."""

    def settings_of(member, vae):
        inputs = {"weight": member.weight, "reliability": member.reliability, "vae": vae}
        return inputs | {"mask": member.mask, "end": member.end}

    def build(groups):
        return chain(*((m.loaded, settings_of(m, group.vae)) for group in groups for m in group.members))

    return build


@pytest.fixture
def sample(node):
    """Sample a chain with Product-of-Experts KSampler; returns the samples."""

    def run(experts, latent=None, sampler_name="euler", steps=3, seed=5, denoise=1.0, **more):
        latent = latent or {"samples": torch.zeros(2, 3, 32, 32)}
        inputs = {"sampler_name": sampler_name, "scheduler": "normal", "latent_image": latent, "denoise": denoise}
        inputs |= more
        return node("MCDM_KSampler", experts=experts, seed=seed, steps=steps, **inputs)[0]["samples"]

    return run


@pytest.fixture
def sweep(node):
    """Run Reliability Sweep; returns the samples and the grids."""
    from .support.core_samplers import SWEPT

    def run(experts, vae, latent=None, **changes):
        inputs = {**SWEPT, "steps": 3, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, **changes}
        latent = latent or {"samples": torch.zeros(1, 3, 32, 32)}
        found, grids = node("MCDM_ReliabilitySweep", experts=experts, latent_image=latent, vae=vae, **inputs)
        return found["samples"], grids

    return run


@pytest.fixture
def guide(node):
    """Sample a chain, or a guider, with a SAMPLER, its name in ComfyUI, or a sampler function; returns the samples."""
    import comfy.model_management

    from .support.small_runs import sampler_of

    def run(
        experts=None,
        sampler="euler",
        guider=None,
        sigmas=(20.0, 3.0, 1.0, 0.5, 0.0),
        picture=0.0,
        kind="MCDM_Guider",
        batch=1,
        seed=2,
        **more,
    ):
        guider = guider or node(kind, experts=experts)[0]
        noise = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        latent = torch.full_like(noise, picture)
        samples = guider.sample(noise, latent, sampler_of(sampler), torch.tensor(sigmas), seed=seed, **more)
        return samples.to(comfy.model_management.intermediate_device())  # as SamplerCustomAdvanced does

    return run


@pytest.fixture(scope="session")
def bare(pack):
    """An expert with nothing attached by its place, on a network of its own if it isn't given another."""
    from .support.oracle.networks import network
    from .support.oracle.variants import conditioning, expert_of

    def build(place=0, model=None, null_tokens=3):
        null = conditioning(-1, tokens=null_tokens)
        return replace(expert_of(model or network("eps", place + 1), place), null=null)

    return build


@pytest.fixture
def guider_of(node):
    """The guider of experts whose attributes are the inputs of Diffusion Expert, as the oracle's are."""

    def build(experts):
        chain = ()
        for expert in experts:
            (chain,) = node("MCDM_Expert", experts=chain, **vars(expert))
        return node("MCDM_Guider", experts=chain)[0]

    return build


@pytest.fixture(scope="session")
def sampled(pack):
    """Sample a guider: `sampled` of `support/small_runs.py`, which imports ComfyUI."""
    from .support.small_runs import sampled

    return sampled


@pytest.fixture
def product_of(guider_of, sampled):
    """Sample the product of experts, as `sampled` does."""
    return lambda experts, *args, **run: sampled(guider_of(experts), *args, **run)


@pytest.fixture(scope="session")
def by_core(pack):
    """Sample the product of experts by core's own guiders."""
    from .support.small_runs import sampled_by_core

    return sampled_by_core


@pytest.fixture
def assert_agree(record_property):
    """Assert that two latents agree to so much of their scale, and keep by how much for the summary of the tests."""

    def check(ours, theirs, within=1e-4):
        assert theirs.isfinite().all()
        difference = float((ours - theirs).abs().max() / theirs.std())
        record_property("difference", difference)
        assert difference <= within

    return check


@pytest.fixture
def predict(guide):
    """Ask a product for x0 at one level, through the whole guider: one Euler step to 0 returns the prediction."""
    return lambda experts, sigma=3.0, **more: guide(experts, sigmas=(sigma, 0.0), **more)


@pytest.fixture(params=PAIRS)
def pair(request, load):
    """The same pair of MODELs twice: of clones, and of experts that share nothing."""

    together = PAIRS[request.param](load("hair"))
    return together, [PAIRS[request.param](load("hair"))[place] for place in range(2)]


@pytest.fixture
def product(node):
    """Make a MODEL of an expert's and a chain of others."""

    def make(expert, experts, reliability=1.0):
        return node("MCDM_ProductModel", model=expert.model, reliability=reliability, experts=experts)[0]

    return make


@pytest.fixture
def passes():
    """Every network call of experts that are watched: its rows, `cond_or_uncond`, and what it is given."""
    found, hooks = [], []

    def watch(expert):
        def keep(network, args, given):
            options = {**given["transformer_options"]}
            roles, (x_t, t) = list(options["cond_or_uncond"]), map(torch.clone, args)
            told = {"x_t": x_t, "t": t, "given": {**given, "transformer_options": options}}
            found.append(SimpleNamespace(expert=expert, network=network, rows=len(x_t), roles=roles, **told))

        hooks.append(expert.model.model.diffusion_model.register_forward_pre_hook(keep, with_kwargs=True))
        return expert

    with torch.no_grad():
        yield SimpleNamespace(watch=watch, found=found)
    for hook in hooks:
        hook.remove()


@pytest.fixture(scope="module")
def cast(pack):
    """The oracle's experts."""
    from .support.oracle.variants import Cast

    return Cast()


@pytest.fixture(scope="module")
def casts(pack):
    """The oracle's experts twice, for a product and for what it is compared with: they share nothing."""
    from .support.oracle.variants import Cast

    return Cast(), Cast()


@pytest.fixture
def at_each_pass(pack, monkeypatch):
    """Call a function of the network and its rows before each pass, in its thread."""
    from comfy.model_base import BaseModel

    def watch(function):
        apply = BaseModel.apply_model

        def watched(self, x, *args, **kwargs):
            function(self, x)
            return apply(self, x, *args, **kwargs)

        monkeypatch.setattr(BaseModel, "apply_model", watched)

    return watch


@pytest.fixture
def network_calls(cast, passes):
    """The calls of the cast's networks."""
    for parts in cast.parts.values():
        for model in (parts.plain, parts.lora_copy):
            passes.watch(SimpleNamespace(model=model))
    return passes.found


@pytest.fixture
def loads(monkeypatch):
    """The networks of each call by which ComfyUI loads models."""
    import comfy.model_management

    calls, load_models = [], comfy.model_management.load_models_gpu

    def counted(models, *args, **kwargs):
        calls.append({model.model for model in models})
        return load_models(models, *args, **kwargs)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", counted)
    return calls


@pytest.fixture(scope="session")
def devices(pack):
    """Two devices, of which the first is that of the tests; the CPU stands for two, under two of its names."""
    from .support.places import DEVICES

    return DEVICES


@pytest.fixture
def dynamic_vram(pack):
    """ComfyUI with dynamic VRAM: MODELs that a test makes are dynamic; returns the memory that they share."""
    from .support import dynamic_vram

    with pytest.MonkeyPatch.context() as monkeypatch:
        yield dynamic_vram.install(monkeypatch)


@pytest.fixture
def every_step(monkeypatch):
    """Let the progress bar report every step; newer ComfyUI leaves out those that follow within a tenth of a second."""
    import comfy.utils

    for limit in ("PROGRESS_THROTTLE_MIN_INTERVAL", "PROGRESS_THROTTLE_MIN_PERCENT"):
        monkeypatch.setattr(comfy.utils, limit, 0, raising=False)


@pytest.fixture
def progress(pack, monkeypatch):
    """What the progress bar reports: value and total."""
    import comfy.utils

    seen = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: seen.append((value, total)))
    return seen


@pytest.fixture
def limited(monkeypatch):
    """ComfyUI as it is where only 60 % of a model's weights fit."""
    from comfy.model_patcher import ModelPatcher

    load = ModelPatcher.partially_load

    def load_a_part(self, device, extra_memory=0, **kwargs):
        room = int(0.6 * self.model_size()) - self.model.model_loaded_weight_memory
        return load(self, device, min(extra_memory, max(room, 0)), **kwargs)

    monkeypatch.setattr(ModelPatcher, "partially_load", load_a_part)
