"""Whole runs of the published code in ComfyUI, through the nodes, against an oracle that is written anew."""

from types import SimpleNamespace

import pytest
import torch

from ...support.published import networks, runs, sampling
from ...support.published.runs import NOISE


@pytest.fixture(scope="module")
def published(core):
    return runs.Published(core)


@pytest.fixture(scope="module")
def opened(core, base, node, tmp_path_factory):
    """Load a small file of a published layout, converted as networks of one's own have to be."""
    from ..support.published_files import FARL, write_published

    source, models = tmp_path_factory.mktemp("published"), base / "models" / "mcdm"
    write_published(models, [FARL])

    def load(name):
        file = f"run_{name}.safetensors"
        if not (models / file).exists():
            core.convert_expert(networks.write_file(core, name, source), models / file, networks.overrides(core, name))
        model, encoder, _ = node("MCDM_LoadExpert", expert_name=file)
        return SimpleNamespace(model=model, encoder=encoder)

    return load


@pytest.fixture
def tell(node):
    """An expert with the outputs of a node as its condition and null."""

    def told(expert, node_id, **inputs):
        condition, null, *_ = node(node_id, encoder=expert.encoder, **inputs)
        return SimpleNamespace(model=expert.model, encoder=expert.encoder, condition=condition, null=null)

    return told


@pytest.fixture
def check(node):
    """Hold a chain to an oracle, with the pack's DDIM and with ComfyUI's."""
    import comfy.samplers

    def run(experts, network, schedule, spacing="25", noise=NOISE):
        oracle = sampling.sample_ddim(network, noise, sampling.Process(schedule, spacing))
        assert (oracle.end.abs() < 1).float().mean() > 0.05  # saturated values compare nothing
        (guider,) = node("MCDM_Guider", experts=experts)
        (sigmas,) = node("MCDM_Sigmas", model=experts[0].model, spacing=spacing, denoise=1.0)
        samplers = {
            node("MCDM_SamplerDDIM", eta=0.0)[0]: 1e-3,
            comfy.samplers.sampler_object("ddim"): 1e-3 if schedule == "linear" else 1e-2,
        }
        for sampler, tolerance in samplers.items():
            denoised = []
            end = guider.sample(
                noise.clone(),
                torch.zeros_like(noise),
                sampler,
                sigmas,
                seed=0,
                callback=lambda _step, x0, *_, denoised=denoised: denoised.append(x0.clone()),
            )
            for mine, theirs in zip([*denoised, end], [*oracle.x0, oracle.end], strict=True):
                torch.testing.assert_close(mine.cpu(), theirs, atol=tolerance, rtol=0)

    return run


@pytest.mark.long
def test_scenes(opened, tell, chain, check, published):
    by_class = tell(opened("class"), "MCDM_EncodeClass", class_name=str(runs.LABEL), null_kind="class 0")
    by_text = tell(opened("glide"), "MCDM_EncodeText", text=runs.SCENE)
    experts = chain((by_class, {"weight": 5.0, "reliability": 5.0}), (by_text, {"weight": 5.0, "reliability": 4.0}))
    check(experts, published.scene(), "cosine", "100")


@pytest.mark.one_of(4)
@pytest.mark.parametrize("spacing", ["25", "fast27"])
@pytest.mark.parametrize("name", ["glide_upsample", "class_upsampler"])
def test_upsampling(opened, tell, chain, check, published, name, spacing):
    if "glide" in name:
        expert = tell(opened(name), "MCDM_EncodeText", text=runs.SCENE)
    else:
        expert = tell(opened(name), "MCDM_EncodeClass", class_name=str(runs.LABEL), null_kind="class 0")
    expert = tell(expert, "MCDM_EncodeLowRes", image=runs.SMALL, condition=expert.condition, null=expert.null)
    check(chain((expert, {"weight": 1.0})), published.upsampler(name), "linear", spacing, 0.997 * NOISE)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", ["glide_inpaint", "glide_upsample_inpaint"])
def test_inpainting(opened, tell, chain, check, published, name):
    expert = tell(opened(name), "MCDM_EncodeText", text=runs.SCENE)
    pictures = {"MCDM_EncodeInpaint": {"image": runs.PICTURE, "mask": runs.HIDDEN}}
    if "upsample" in name:
        pictures["MCDM_EncodeLowRes"] = {"image": runs.SMALL}
    for node_id, inputs in pictures.items():
        expert = tell(expert, node_id, **inputs, condition=expert.condition, null=expert.null)
    check(chain((expert, {"weight": 3.0})), published.inpainting(name, 3.0), networks.LAYOUTS[name].schedule)


@pytest.mark.one_of(8)
@pytest.mark.parametrize("weights", sampling.FACE_WEIGHTS, ids="+".join)
def test_faces(opened, tell, chain, check, published, core, base, weights):
    from ..support.published_files import FARL

    face, words = opened("face"), "a woman with blonde hair"
    told = {name: tell(face, "MCDM_EncodeMap", mask=mask, map=name, with_text=True) for name, mask in runs.MAPS.items()}
    told["text"] = tell(face, "MCDM_EncodeText", text=words)
    told["sketch"] = tell(
        opened("sketch"),
        "MCDM_EncodeSketch",
        image=runs.SKETCH[..., None].expand(-1, -1, -1, 3),
        mode="drawing light on dark",
        low_threshold=100.0,
        high_threshold=200.0,
    )
    embedding = core.checkpoints.load_text_tower(base / "models" / "mcdm" / FARL).encode([words])
    experts = [(told[name], {"weight": w, "reliability": float(name != "sketch")}) for name, w in weights.items()]
    check(chain(*experts), published.faces(weights, embedding), "linear")


def test_composable_diffusion(opened, tell, chain, check, published):
    expert = opened("glide")
    experts = [(tell(expert, "MCDM_EncodeText", text=text), {"weight": 7.5}) for text in runs.COMPOSED]
    check(chain(*experts), published.composed(), "cosine", "ddim25")


def test_a_class_on_the_linear_schedule(opened, tell, chain, check, published):
    expert = tell(opened("class_fractional"), "MCDM_EncodeClass", class_name=str(runs.LABEL), null_kind="class 0")
    check(chain((expert, {"weight": 2.0})), published.one_class("class_fractional", 2.0), "linear")
