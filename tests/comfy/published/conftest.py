"""Fixtures of published experts."""

from types import SimpleNamespace

import pytest

from ..support.server.posts import posted, prompt_node
from .given import TEXTS, draw, half


@pytest.fixture(scope="session")
def published(pack, base):
    """Small files of the published layouts among ComfyUI's models."""
    from ..support.published_files import write_published

    write_published(base / "models" / "mcdm")


@pytest.fixture
def open_expert(node, published):
    """Load a published expert: its model, encoder and VAE."""

    def load(name):
        model, encoder, vae = node("MCDM_LoadExpert", expert_name=name)
        return SimpleNamespace(model=model, encoder=encoder, vae=vae)

    return load


@pytest.fixture
def told(open_expert, node):
    """An expert with the outputs of a node as its condition and null."""

    def tell(expert, node_id, **inputs):
        expert = open_expert(expert) if isinstance(expert, str) else expert
        condition, null, *_ = node(node_id, encoder=expert.encoder, **inputs)
        return SimpleNamespace(**{**vars(expert), "condition": condition, "null": null})

    return tell


@pytest.fixture
def face(told):
    """The face network under one condition: a map by its kind, or a text."""
    network = None

    def tell(kind, with_text=True, **more):
        nonlocal network
        source = network or "model_latest.pt"
        if kind == "text":
            network = told(source, "MCDM_EncodeText", text="a woman with blonde hair")
        else:
            inputs = {"mask": half(kind), "map": kind, "with_text": with_text, **more}
            network = told(source, "MCDM_EncodeMap", **inputs)
        return network

    return tell


@pytest.fixture
def upsampler(told, node):
    """GLIDE's upsampler with a text and a picture."""

    def tell(image, text=TEXTS[0], name="upsample.pt"):
        expert = told(name, "MCDM_EncodeText", text=text)
        return told(expert, "MCDM_EncodeLowRes", image=image, condition=expert.condition, null=expert.null)

    return tell


@pytest.fixture
def validate(host, node, published):
    """What ComfyUI is told at POST of a node whose encoder comes from a loader."""

    def ask(name, node_id, **inputs):
        loader = prompt_node("MCDM_LoadExpert", expert_name=name)
        asked = prompt_node(node_id, encoder=["load", 1], **inputs)
        return posted(host, node, {"load": loader, "node": asked}, "node")

    return ask


@pytest.fixture
def refused(chain, sample):
    """What sampling an expert is refused with."""

    def ask(expert, size=32, **changes):
        with pytest.raises(ValueError, match=r"Wrong (positive|negative)") as error:
            draw(sample, chain(SimpleNamespace(**{**vars(expert), **changes})), size)
        return str(error.value)

    return ask
