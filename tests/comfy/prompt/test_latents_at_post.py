"""Empty latents at POST /prompt: their size beside that of the maps that experts read."""

import pytest

from ..support.server.posts import apply_check, prompt_node
from ..support.server.prompts import chain_sampled, chained

OF_512 = prompt_node("EmptyLatentImage", width=512, height=512, batch_size=1)


def of_expert(place):
    return prompt_node("MCDM_EmptyLatent", encoder=[f"load {place}", 1], batch_size=1)


def encoded(names, latent, class_type="MCDM_KSampler", vaes=(), **inputs):
    """A prompt that samples experts, each with a condition and a null that its own encoder made, from a latent."""
    links = {
        f"at_{place}": {"condition": [f"encode {place}", 0], "null": [f"encode {place}", 1]}
        for place in range(1, len(names) + 1)
    }
    prompt = chain_sampled(chained(names, vaes, **links), class_type, latent_image=["latent", 0], **inputs)
    for place, name in enumerate(names, start=1):
        kind = "MCDM_EncodeText" if name is not None and name.endswith("text") else "MCDM_EncodeMap"
        prompt[f"encode {place}"] = prompt_node(kind, encoder=[f"load {place}", 1])
    return prompt | {"latent": latent}


def through_guider(names, latent, class_type="MCDM_Guider"):
    prompt = encoded(names, latent, class_type)
    del prompt["node"]["inputs"]["latent_image"]
    prompt["sample"] = prompt_node("SamplerCustomAdvanced", guider=["node", 0], latent_image=["latent", 0])
    return prompt


def through_model(names, latent):
    """Product as Model with the first of these as its model, whose condition is the sampler's positive."""
    prompt = encoded((names[0], *names), latent, "MCDM_ProductModel", model=["load 1", 0], reliability=1.0)
    del prompt["node"]["inputs"]["latent_image"], prompt["1"], prompt["2"]["inputs"]["experts"]
    links = {"model": ["node", 0], "positive": ["encode 1", 0], "negative": ["encode 1", 1]}
    return prompt | {"sample": prompt_node("KSampler", **links, latent_image=["latent", 0])}


@pytest.fixture
def fault(host, small_experts, latent_experts):
    """What a check says of the node that combines the experts; Product as Model has no other faults here."""

    def find(prompt):
        checks = {
            "MCDM_ReliabilitySweep": host.prompt.chain_checks.check_sweep,
            "MCDM_ProductModel": host.prompt.space_checks.check_latents,
        }
        check = checks.get(prompt["node"]["class_type"], host.prompt.chain_checks.check_chain)
        return apply_check(host, check, prompt, "node")

    return find


GRID = {"expert_index": 1, "values": "0, 1", "vary": "reliability", "guidance": "1", "seed": 5, "seeds": 1}
SAMPLERS = {
    "MCDM_KSampler": encoded,
    "MCDM_Inspect": lambda *of: encoded(*of, "MCDM_Inspect"),
    "MCDM_ReliabilitySweep": lambda *of: encoded(*of, "MCDM_ReliabilitySweep", **GRID),
    "a sweep with a linked value": lambda *of: encoded(*of, "MCDM_ReliabilitySweep", **{**GRID, "values": ["?", 0]}),
}
GUIDERS = {
    "MCDM_Guider": through_guider,
    "MCDM_OwnNullGuider": lambda *of: through_guider(*of, "MCDM_OwnNullGuider"),
    "MCDM_ProductModel": through_model,
}


@pytest.mark.parametrize("kind", [*SAMPLERS, *GUIDERS])
def test_both_sizes_and_the_node_to_take_are_said_where_the_latent_arrives(fault, kind):
    build = {**SAMPLERS, **GUIDERS}[kind]
    found = fault(build(("latent hair", "latent text"), OF_512))
    assert found.input == ("latent_image" if kind in SAMPLERS else "experts")
    assert found.sentence == (
        "Expected a latent of 64×64 pixels, the size of the map of expert 1, and got one of 512×512 from Empty Latent "
        "Image; connect Empty Latent (Expert), with the encoder of expert 1."
    )
    for fitting in (of_expert(1), prompt_node("EmptyLatentImage", width=64, height=64, batch_size=1)):
        assert fault(build(("latent hair", "latent text"), fitting)) is None


def test_the_second_experts_map_counts_too(fault):
    found = fault(encoded(("latent text", "latent hair"), OF_512))
    assert "the size of the map of expert 2, and got one of 512×512" in found.sentence


def test_of_pixels_the_latent_is_as_large_as_it_says_in_eights(fault):
    of = "and got one of 512×512 from Empty Latent Image; connect Empty Latent (Expert)"
    assert of in fault(encoded(("small hair",), OF_512)).sentence
    for side in (32, 39):
        assert fault(encoded(("small hair",), prompt_node("EmptyLatentImage", width=side, height=side))) is None


def test_a_latent_of_another_experts_size(fault, save_small):
    save_small("smaller text", {"kind": "none"}, 22, size=16, shape={"patch": 2})
    prompt = encoded(("small hair",), of_expert(2))
    prompt["load 2"] = prompt_node("MCDM_LoadExpert", expert_name="smaller text.safetensors")
    assert "and got one of 16×16 from Empty Latent (Expert); connect" in fault(prompt).sentence


def changed(**nodes):
    return lambda: encoded(("latent hair",), OF_512) | nodes


LEFT_TO_THE_RUN = {
    "no map": lambda: encoded(("latent text",), OF_512),
    "a loader that isn't known": lambda: encoded((None,), OF_512),
    "a condition from elsewhere": changed(**{"encode 1": prompt_node("SomeEncoder")}),
    "a latent from elsewhere": changed(latent=prompt_node("VAEEncode", pixels=["?", 0])),
    "a linked size": changed(latent=prompt_node("EmptyLatentImage", width=["?", 0], height=512, batch_size=1)),
    "no latent": changed(node=prompt_node("MCDM_KSampler", experts=["1", 0], denoise=1.0)),
    "samples of another space": lambda: encoded(("small text", "latent hair"), of_expert(1), vaes=(1, 2)),
}


@pytest.mark.parametrize("case", LEFT_TO_THE_RUN)
def test_what_is_sound_or_cannot_be_known_passes(fault, case):
    assert fault(LEFT_TO_THE_RUN[case]()) is None
