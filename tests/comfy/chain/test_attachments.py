"""What ComfyUI's nodes attach to a MODEL, on experts of a product; `docs/other-nodes.md` says the same.

ControlNets, attention patches like IP-Adapter's, LoRAs and hooks are in `test_oracle.py`.
"""

import dataclasses
import functools
import logging
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from comfy_api import torch_helpers as helpers

from ..support import small_runs
from ..support.closeness import AGREEMENT, FUSED, rounded
from ..support.core_nodes import ON_GUIDANCE, ON_PREDICTIONS, run_node
from ..support.families import FAMILIES, small
from ..support.oracle.core_guiders import core_guider
from ..support.oracle.through_core import ThroughCore
from ..support.oracle.variants import Expert

STEPS = 4
SEED = 3
LATENTS = {"SD15": (4, 8, 12), "WAN21_T2V": (16, 4, 4, 6)}  # larger than the families' own


@pytest.fixture(scope="module")
def stage(pack):
    """Two networks of a family, twice over, and their prompts; each is made once."""
    made = {}

    def build(name):
        if name not in made:
            family = FAMILIES[name]
            first, second = (small.condition(family, seed) for seed in (11, 12))
            null = small.null(family)
            made[name] = SimpleNamespace(
                latent=LATENTS.get(name, family.latent),
                networks=[[small.network(name, family, seed) for seed in (1, 2)] for _ in range(2)],
                expert=lambda model, place: Expert(
                    model, (first, second)[place], null, weight=(1.6, 0.9)[place], reliability=(1.0, 2.0)[place]
                ),
            )
        return made[name]

    return build


@pytest.mark.parametrize(
    ("rows", "nodes"),
    [
        (("Weights", "In the network", "Around the network"), ON_PREDICTIONS),
        (("Guidance", "Guidance by a further pass"), ON_GUIDANCE),
    ],
    ids=["predictions", "guidance"],
)
def test_the_page_names_these_nodes(rows, nodes):
    page = (Path(__file__).resolve().parents[3] / "docs" / "other-nodes.md").read_text(encoding="utf-8")
    table = [line for line in page.splitlines() if line.startswith(tuple(f"| **{row}**" for row in rows))]
    named = set(re.findall(r"\b[A-Z]\w+", " ".join(line.split("|")[1] for line in table)))
    assert {node.split(" ")[0] for node in nodes} <= named


def sampled(stage, guider, pictures=2, **settings):
    return small_runs.sampled(guider, steps=STEPS, shape=(pictures, *stage.latent), **settings)


@pytest.fixture
def product_of(guider_of):
    return lambda stage, experts, **settings: sampled(stage, guider_of(experts), **settings)


def brute_force(stage, experts, hooks_ask=False, **settings):
    return sampled(stage, ThroughCore(experts, SEED, hooks_ask), **settings)


@pytest.fixture
def assert_agree(assert_agree, pack):
    return functools.partial(assert_agree, within=rounded(AGREEMENT))


def assert_matters(with_it, without):
    assert (with_it - without).abs().max() > 100 * AGREEMENT * without.std()


def pair(stage, networks, place, attach, clone=False):
    """Two experts of which the one in this place has an attachment; on two networks, or on one."""
    models = [networks[0], networks[0] if clone else networks[1]]
    models[place] = attach(models[place])
    return [stage.expert(model, index) for index, model in enumerate(models)]


@pytest.mark.one_of(30)
@pytest.mark.parametrize("clone", [False, True], ids=["two networks", "one network"])
@pytest.mark.parametrize("place", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("name", ON_PREDICTIONS)
@torch.backends.mkldnn.flags(enabled=False)  # with units for bfloat16 it sums otherwise in a batch of another size
def test_what_acts_in_the_network_acts_on_its_expert_alone(stage, product_of, assert_agree, name, place, clone):
    node = ON_PREDICTIONS[name]
    scene = stage(node.family)
    ours, theirs = (pair(scene, networks, place, node.attach, clone) for networks in scene.networks)
    expected = brute_force(scene, theirs, pictures=node.pictures)
    assert_agree(product_of(scene, ours, pictures=node.pictures), expected)
    plain = pair(scene, scene.networks[1], place, lambda model: model, clone)
    assert_matters(expected, brute_force(scene, plain, pictures=node.pictures))


@pytest.mark.one_of(12)
@pytest.mark.parametrize("name", ON_GUIDANCE)
def test_what_acts_on_guidance_acts_on_the_product_from_the_first_expert(stage, product_of, assert_agree, name):
    """What asks the network acts on what the first expert predicts, and its change counts."""
    node = ON_GUIDANCE[name]
    scene = stage(node.family)
    ours, theirs = (pair(scene, networks, 0, node.attach) for networks in scene.networks)
    expected = brute_force(scene, theirs, node.asks, pictures=node.pictures)
    assert_agree(product_of(scene, ours, pictures=node.pictures), expected)
    plain = pair(scene, scene.networks[1], 0, lambda model: model)
    assert_matters(expected, brute_force(scene, plain, pictures=node.pictures))


@pytest.mark.one_of(8)
@pytest.mark.parametrize("name", ON_GUIDANCE)
def test_what_acts_on_guidance_does_nothing_on_another_expert_and_a_warning_says_so(stage, product_of, name, caplog):
    said = "The guidance node on the MODEL of expert 2 does nothing: .* Attach it to the first expert's MODEL."
    node = ON_GUIDANCE[name]
    scene = stage(node.family)
    with caplog.at_level(logging.WARNING, "mcdm_pack"):
        attached = product_of(scene, pair(scene, scene.networks[0], 1, node.attach))
    assert any(re.match(said, record.getMessage()) for record in caplog.records)
    expected = product_of(scene, pair(scene, scene.networks[0], 1, lambda model: model))
    assert (attached - expected).abs().max() <= rounded(0.0, FUSED) * expected.std()  # some replace core's attention


@pytest.mark.one_of(2)
@pytest.mark.parametrize("place", [0, 1])
def test_differential_diffusion_is_read_from_the_first_expert(stage, product_of, assert_agree, place):
    """ComfyUI asks the sampled MODEL how a noise mask changes from step to step."""
    scene = stage("SD15")
    settings = {"latent": 0.5, "denoise_mask": torch.linspace(0.0, 1.0, 12).expand(1, 1, 8, 12)}

    def attach(model):
        return run_node("differential_diffusion", "DifferentialDiffusion", model=model, strength=1.0)

    ours, theirs = (pair(scene, networks, place, attach) for networks in scene.networks)
    expected = brute_force(scene, theirs, **settings)
    assert_agree(product_of(scene, ours, **settings), expected)
    plain = brute_force(scene, pair(scene, scene.networks[1], place, lambda model: model), **settings)
    if place == 0:
        assert_matters(expected, plain)
    else:
        assert torch.equal(expected, plain)


@pytest.mark.long
@pytest.mark.parametrize("place", [0, 1])
def test_torch_compile(request, stage, product_of, assert_agree, place):
    """Without the compiler itself, which not every machine has: what it wraps stays the same."""
    scene = stage("Flux")

    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def attach(model):
        compiled = model.clone()
        helpers.set_torch_compile_wrapper(model=compiled, backend=backend)
        return compiled

    request.addfinalizer(torch.compiler.reset)
    ours = pair(scene, scene.networks[0], place, attach)
    plain = pair(scene, scene.networks[1], place, lambda model: model)
    assert_agree(product_of(scene, ours), brute_force(scene, plain))
    assert graphs


def test_a_sampler_node_that_sets_cfg_sets_the_first_experts_in_product_as_model(stage, node):
    """CFGOverride wraps the prediction of the whole guider, whose cfg is the given model's weight."""
    scene = stage("SD15")
    first, second = (scene.expert(model, place) for place, model in enumerate(scene.networks[0]))
    (chain,) = node("MCDM_Expert", experts=(), **vars(second))
    (product,) = node("MCDM_ProductModel", model=first.model, reliability=first.reliability, experts=chain)
    overridden = run_node("custom_sampler", "CFGOverride", model=product, cfg=2.0, start_percent=0.0, end_percent=1.0)

    def run(model, cfg):
        return sampled(scene, core_guider(dataclasses.replace(first, model=model, weight=cfg)))

    assert torch.equal(run(overridden, 7.0), run(product, 2.0))
    assert_matters(run(product, 2.0), run(product, 7.0))
