"""What other people's workflows rely on: ids, inputs and their order; and what the interface shows."""

import re

import folder_paths
import pytest
from comfy_extras.nodes_train import TrainLoraNode

import nodes

from ..support.node_texts import label_of
from ..support.server.comfyui_server import ROOT

FROZEN = {
    "MCDM_LoadExpert": ("Load Diffusion Expert", ["expert_name"], ["MODEL", "MCDM_ENCODER", "VAE"]),
    "MCDM_EmptyLatent": ("Empty Latent (Expert)", ["encoder", "batch_size"], ["LATENT"]),
    "MCDM_EncodeText": ("Encode Text (Expert)", ["encoder", "text"], ["CONDITIONING", "CONDITIONING"]),
    "MCDM_EncodeClass": (
        "Encode Class (Expert)",
        ["encoder", "class_name", "null_kind"],
        ["CONDITIONING", "CONDITIONING"],
    ),
    "MCDM_EncodeMap": (
        "Encode Segmentation Map (Expert)",
        ["encoder", "image", "mask", "map", "with_text", "condition", "map_order"],
        ["CONDITIONING", "CONDITIONING"],
    ),
    "MCDM_EncodeSketch": (
        "Encode Sketch (Expert)",
        ["encoder", "image", "mode", "low_threshold", "high_threshold"],
        ["CONDITIONING", "CONDITIONING", "IMAGE"],
    ),
    "MCDM_EncodeLowRes": (
        "Encode Low Resolution",
        ["encoder", "image", "condition", "null"],
        ["CONDITIONING", "CONDITIONING"],
    ),
    "MCDM_EncodeInpaint": (
        "Encode Inpainting (Expert)",
        ["encoder", "image", "mask", "condition", "null"],
        ["CONDITIONING", "CONDITIONING"],
    ),
    "MCDM_Expert": (
        "Diffusion Expert",
        ["model", "condition", "null", "weight", "reliability", "start", "end", "mask", "experts", "vae"],
        ["MCDM_EXPERTS"],
    ),
    "MCDM_ExpertRemote": (
        "Diffusion Expert on a Worker",
        [
            *("model", "condition", "null", "weight", "reliability", "start", "end", "mask", "experts"),
            *("address", "worker", "timeout", "graph"),
        ],
        ["MCDM_EXPERTS", "MODEL"],
    ),
    "MCDM_Schedule": (
        "Schedule (Expert)",
        ["experts", "sigma_start", "sigma_end", "weight_curve"],
        ["MCDM_EXPERTS"],
    ),
    "MCDM_Passes": (
        "Fewer Passes",
        ["experts", "start", "end", "sigma_start", "sigma_end", "threshold", "refresh", "switch"],
        ["MCDM_EXPERTS"],
    ),
    "MCDM_Guider": ("Product Guider", ["experts", "scores"], ["GUIDER"]),
    "MCDM_KSampler": (
        "Product-of-Experts KSampler",
        ["experts", "seed", "steps", "sampler_name", "scheduler", "latent_image", "denoise", "scores"],
        ["LATENT"],
    ),
    "MCDM_ProductModel": ("Product as Model", ["model", "reliability", "experts", "vae"], ["MODEL"]),
    "MCDM_OwnNullGuider": ("Own-Negative Guider", ["experts", "scores"], ["GUIDER"]),
    "MCDM_Sigmas": ("Timestep Spacing", ["model", "spacing", "denoise"], ["SIGMAS"]),
    "MCDM_SamplerDDIM": ("DDIM Sampler", ["eta"], ["SAMPLER"]),
    "MCDM_Logic": (
        "Logic Sampler",
        ["operation", "sharpness", "prior", "largest"],
        ["SAMPLER"],
    ),
    "MCDM_Choose": ("Choose Samples", ["experts", "samples", "count"], ["LATENT", "STRING"]),
    "MCDM_RandomNoise": ("Random Noise (Temperature)", ["noise_seed", "temperature"], ["NOISE"]),
    "MCDM_Inspect": (
        "Inspect Product",
        ["experts", "noise", "sampler", "sigmas", "latent_image", "vae", "steps_shown"],
        ["LATENT", "IMAGE", "IMAGE"],
    ),
    "MCDM_ReliabilitySweep": (
        "Reliability Sweep",
        [
            *("experts", "expert_index", "values", "vary", "guidance", "seed", "seeds"),
            *("steps", "sampler_name", "scheduler", "latent_image", "denoise", "vae", "reference"),
        ],
        ["LATENT", "IMAGE"],
    ),
    "MCDM_TrainLora": (
        "Train LoRA on Product",
        [
            *("experts", "model", "positive", "latents", "sigmas", "rule", "steps", "batch_size", "learning_rate"),
            *("rank", "seed", "training_dtype", "lora_dtype", "run_name", "resume"),
        ],
        ["LORA_MODEL", "LOSS_MAP", "INT", "STRING"],
    ),
}


@pytest.mark.parametrize("node_id", FROZEN)
def test_ids_inputs_and_outputs(node, node_id):
    schema = node.classes[node_id].GET_SCHEMA()
    display_name, inputs, outputs = FROZEN[node_id]
    assert schema.display_name == display_name
    assert [value.id for value in schema.inputs] == inputs
    assert [value.io_type for value in schema.outputs] == outputs


def test_there_are_no_other_nodes(node):
    assert node.classes.keys() == FROZEN.keys(), "a new node joins FROZEN"


def test_all_nodes_of_chains_are_known_where_a_prompt_is_queued(node, host):
    """Else nothing would be checked of a chain that has the one left out."""
    found = set()
    for node_id, cls in node.classes.items():
        schema = cls.GET_SCHEMA()
        sides = [{each.io_type for each in side} for side in (schema.inputs, schema.outputs)]
        if all("MCDM_EXPERTS" in side for side in sides):
            found.add(node_id)
    assert found == set(host.prompt.queued_chain.CHAINED)


@pytest.mark.parametrize("node_id", FROZEN)
def test_everything_is_explained(node, node_id):
    schema = node.classes[node_id].GET_SCHEMA()
    assert schema.category.startswith("mcdm/")
    assert re.search(r"Eq\.|paper|§|Nichol|Song", schema.description), "the description should name its source"
    assert all(value.tooltip and value.tooltip.endswith(".") for value in (*schema.inputs, *schema.outputs))
    for value in schema.inputs:
        if getattr(value, "max", None) is not None and not value.id.endswith("seed"):
            assert re.search(rf"\b{value.max:.0f}\b", value.tooltip), f"{value.id}: the tooltip should give the range"


@pytest.mark.parametrize("node_id", ["MCDM_KSampler", "MCDM_ReliabilitySweep", "MCDM_RandomNoise", "MCDM_TrainLora"])
def test_the_seed_can_change_after_each_run(node, node_id):
    (seed,) = (value for value in node.classes[node_id].GET_SCHEMA().inputs if value.id.endswith("seed"))
    assert seed.control_after_generate


SEARCHES = {
    "MCDM_Expert": (
        "composable, and, combine models, merge models, mix two models, mix models, combine loras, multiple "
        "loras, two characters, regional prompt, negative from another model, autoguidance, guide with base "
        "model, sdxl and sd15, ensemble, two loras, lora bleeding, concept bleeding, blend checkpoints"
    ),
    "MCDM_KSampler": (
        "composable, and, combine models, merge models, mix two models, mix models, sdxl and sd15, ensemble, "
        "lora bleeding, concept bleeding, blend checkpoints"
    ),
    "MCDM_ProductModel": "composable, combine models, merge models, mix two models, mix models, sdxl and sd15",
    "MCDM_OwnNullGuider": "composable, and, combine loras, multiple loras, two loras",
    "MCDM_Guider": "composable",
    "MCDM_ReliabilitySweep": "xy plot, compare weights",
    "MCDM_Inspect": "prompt ignored",
    "MCDM_EncodeText": "caption",
    "MCDM_EncodeInpaint": "inpaint",
    "MCDM_EncodeLowRes": "upscale",
    "MCDM_TrainLora": "bake, merge, save the mix, distil",
}


@pytest.mark.parametrize("node_id", SEARCHES)
def test_who_searches_finds_the_nodes(node, node_id):
    known = {alias.lower() for alias in node.classes[node_id].GET_SCHEMA().search_aliases}
    assert set(SEARCHES[node_id].split(", ")) <= known


def test_who_searches_for_an_expert_finds_diffusion_expert_first(node):
    """The page puts names that begin with the word first, then those that hold it, by its place and their length."""
    names = [cls.GET_SCHEMA().display_name.lower() for cls in node.classes.values()]
    assert not [name for name in names if name.startswith("expert")]
    holding = [name for name in names if "expert" in re.findall(r"\w+", name)]
    assert min(holding, key=lambda name: name.index("expert") + len(name) / 2) == "diffusion expert"


@pytest.mark.parametrize("node_id", ["MCDM_Expert", "MCDM_ExpertRemote"])
def test_the_tooltip_of_reliability_begins_with_what_to_do_and_is_two_lines(node, node_id):
    (tooltip,) = [v.tooltip for v in node.classes[node_id].GET_SCHEMA().inputs if v.id == "reliability"]
    assert tooltip.startswith("In doubt, the same number as the weight.")
    assert len(tooltip) <= 2 * 90


LABELS = {("MCDM_Sigmas", "spacing"): "steps", ("MCDM_EncodeClass", "null_kind"): "negative_kind"}
LABELS |= {
    (node_id, value): label
    for value, label in {"condition": "positive", "null": "negative"}.items()
    for node_id, (_, inputs, _) in FROZEN.items()
    if value in inputs
}


def test_inputs_are_called_as_the_field_calls_them_and_the_others_by_their_ids(node):
    of = {(node_id, value.id): value for node_id, cls in node.classes.items() for value in cls.GET_SCHEMA().inputs}
    found = {key: label_of(value) for key, value in of.items() if label_of(value) != value.id}
    assert found == LABELS


ADVANCED = {
    "MCDM_EncodeClass": {"null_kind"},
    "MCDM_EncodeMap": {"with_text", "map_order"},
    "MCDM_EncodeSketch": {"low_threshold", "high_threshold"},
    "MCDM_ExpertRemote": {"graph"},
}


def test_inputs_for_the_few_are_folded_away(node):
    for node_id, cls in node.classes.items():
        folded = {value.id for value in cls.GET_SCHEMA().inputs if value.advanced}
        assert folded == ADVANCED.get(node_id, set())


@pytest.mark.parametrize("node_id", ["MCDM_KSampler", "MCDM_ReliabilitySweep"])
def test_inputs_of_the_ksampler_have_its_defaults(node, node_id):
    core = nodes.KSampler.INPUT_TYPES()["required"]
    ours = node.classes[node_id].INPUT_TYPES()["required"]
    for name in ("seed", "steps", "denoise"):
        for setting in ("default", "min", "max"):
            assert ours[name][1][setting] == core[name][1][setting]
    for name in ("sampler_name", "scheduler"):
        assert list(ours[name][1]["options"]) == list(core[name][0])
        assert "default" not in ours[name][1]  # the first is chosen, as in the KSampler


def test_it_stands_beside_cores_train_lora(node):
    """By the names and types of its outputs, and of the inputs that both have."""
    core, ours = (cls.GET_SCHEMA() for cls in (TrainLoraNode, node.classes["MCDM_TrainLora"]))
    outputs = [[(each.display_name, each.io_type) for each in schema.outputs] for schema in (core, ours)]
    assert outputs[1][:3] == outputs[0]
    types = [{value.id: value.io_type for value in schema.inputs} for schema in (core, ours)]
    shared = types[0].keys() & types[1].keys()
    assert len(shared) == 10
    assert all(types[0][name] == types[1][name] for name in shared)


def test_every_node_has_a_help_page(pack):
    assert {page.stem for page in (ROOT / pack.WEB_DIRECTORY / "docs").glob("MCDM_*.md")} >= FROZEN.keys()


def test_model_cards_are_no_models(host, base):
    (base / "models" / "mcdm" / "card.md").write_text("A card.")
    assert not [name for name in host.files.expert_folders.expert_names() if name.endswith(".md")]


def test_paths_from_the_users_configuration_stay(host, tmp_path):
    (tmp_path / "theirs.safetensors").touch()
    folder_paths.add_model_folder_path("mcdm", str(tmp_path))
    host.files.expert_folders.register_folders()
    assert "theirs.safetensors" in host.files.expert_folders.expert_names()


def test_vaes_of_the_pack_are_among_comfyuis(host, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", dict(folder_paths.folder_names_and_paths))
    before = list(folder_paths.get_folder_paths("vae"))
    paths, extensions = folder_paths.folder_names_and_paths["vae"]
    folder_paths.folder_names_and_paths["vae"] = (list(paths), extensions)
    monkeypatch.setattr(host.files.expert_folders, "SHIPPED_VAES", tmp_path / "vae")
    host.files.expert_folders.register_folders()
    assert folder_paths.get_folder_paths("vae") == before  # there is none
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "ours.safetensors").touch()
    host.files.expert_folders.register_folders()
    assert "ours.safetensors" in folder_paths.get_filename_list("vae")
