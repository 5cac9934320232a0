"""Prompts of products, which tests change."""

from .posts import prompt_node


def product(names: dict, seed: int = 1, steps: int = 3, weight: float = 1.5, **changes) -> dict:
    """Two map experts on one white map; `changes` replace or add nodes."""
    prompt = {
        "map": prompt_node("LoadImage", image="white.png"),
        "hair": prompt_node("MCDM_LoadExpert", expert_name=names["hair"]),
        "skin": prompt_node("MCDM_LoadExpert", expert_name=names["skin"]),
        "latent": prompt_node("MCDM_EmptyLatent", encoder=["hair", 1], batch_size=1),
        "hair map": prompt_node("MCDM_EncodeMap", encoder=["hair", 1], image=["map", 0], map="hair", with_text=False),
        "skin map": prompt_node("MCDM_EncodeMap", encoder=["skin", 1], image=["map", 0], map="face", with_text=False),
        "first": expert("hair", weight),
        "second": expert("skin", weight, experts=["first", 0]),
        "sample": prompt_node(
            "MCDM_KSampler",
            experts=["second", 0],
            seed=seed,
            steps=steps,
            sampler_name="euler",
            scheduler="normal",
            latent_image=["latent", 0],
            denoise=1.0,
        ),
        "decode": prompt_node("VAEDecode", samples=["sample", 0], vae=["hair", 2]),
        "save": prompt_node("SaveImage", images=["decode", 0], filename_prefix="test"),
    }
    return {**prompt, **changes}


def expert(name: str, weight: float = 1.5, reliability: float = 1.0, **links) -> dict:
    inputs = {"model": [name, 0], "condition": [f"{name} map", 0], "null": [f"{name} map", 1]}
    inputs |= {"weight": weight, "reliability": reliability, "start": 0.0, "end": 1.0, **links}
    return prompt_node("MCDM_Expert", **{key: value for key, value in inputs.items() if value is not None})


def sweep(**settings) -> dict:
    """A sweep in place of the sampler of `product`."""
    given = {"expert_index": 1, "values": "0, 1", "vary": "reliability", "guidance": "1", "seed": 1, "seeds": 1}
    given |= {"steps": 3, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, **settings}
    links = {"experts": ["second", 0], "latent_image": ["latent", 0], "vae": ["hair", 2]}
    return prompt_node("MCDM_ReliabilitySweep", **links, **given)


def chained(names, vaes=(), **more):
    """A prompt whose chain ends in node `names[-1]`: an expert of each file, those of `vaes` with their VAE.

    Args:
        names: The files, without their ending; an unknown loader for one that is None.
        vaes: Those places, from 1, whose VAE is connected.
        **more: Inputs of single experts, by "at_" and their place; None takes one away.
    """
    prompt = {}
    for place, name in enumerate(names, start=1):
        loader = prompt_node("SomeLoader")
        if name is not None:
            loader = prompt_node("MCDM_LoadExpert", expert_name=f"{name}.safetensors")
        inputs = {"model": [f"load {place}", 0], "condition": ["?", 0], "null": ["?", 1]}
        inputs |= {"weight": 1.0, "reliability": 1.0, "start": 0.0, "end": 1.0}
        inputs |= {"experts": [str(place - 1), 0]} if place > 1 else {}
        inputs |= {"vae": [f"load {place}", 2]} if place in vaes else {}
        inputs |= more.get(f"at_{place}", {})
        prompt[f"load {place}"] = loader
        class_type = inputs.pop("class_type", "MCDM_Expert")
        prompt[str(place)] = prompt_node(class_type, **{key: of for key, of in inputs.items() if of is not None})
    return prompt


def chain_sampled(prompt, class_type="MCDM_KSampler", last=None, **inputs):
    """The prompt with its last expert sampled by a node, whose result is shown."""
    last = last or max((key for key in prompt if key.isdigit()), key=int)
    prompt["node"] = prompt_node(class_type, experts=[last, 0], denoise=1.0, **inputs)
    return {**prompt, "show": prompt_node("PreviewImage", images=["node", 0])}
