"""Whole runs of the published code, written anew, against those of experts that were loaded from files."""

from functools import cache

import pytest
import torch

import mcdm_core
from mcdm_core import ProductDenoiser, Term, load_expert, sample_ddpm_learned, sample_product

from ...support.published.networks import EMBEDDING, LAYOUTS, SIZE, overrides, random_tensor, write_file
from ...support.published.runs import COMPOSED, HIDDEN, LABEL, MAPS, NOISE, PICTURE, SCENE, SKETCH, SMALL, Published
from ...support.published.sampling import FACE_WEIGHTS, Process, Run, sample_ddim, sample_ddpm

TRAJECTORY, PASS = 1e-3, 1e-4


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Load a small file of a published layout."""
    folder = tmp_path_factory.mktemp("published")

    @cache
    def loaded(name):
        return load_expert(write_file(mcdm_core, name, folder), overrides=overrides(mcdm_core, name))

    return loaded


@pytest.fixture(scope="module")
def published():
    return Published(mcdm_core)


def check(run: Run, denoised: list, end: torch.Tensor, denoiser: ProductDenoiser, process: Process) -> None:
    """The same predictions along the way and the same end; and the same predictions where the oracle was."""
    assert len(denoised) == len(run.x0)
    assert (run.end.abs() < 1).float().mean() > 0.05  # saturated values compare nothing
    for mine, theirs in zip([*denoised, end], [*run.x0, run.end], strict=True):
        torch.testing.assert_close(mine, theirs, atol=TRAJECTORY, rtol=0)
    for step in range(0, len(run.x0), 9):
        alpha = process.bars[::-1][step] ** 0.5
        sigma = (1 - alpha**2) ** 0.5 / alpha
        x0, v = denoiser.with_variance(run.x_t[step] / alpha, sigma)
        # What is a difference of one in ε is one of σ in x0.
        torch.testing.assert_close(x0, run.x0[step], atol=PASS * max(1.0, sigma), rtol=0)
        torch.testing.assert_close(v, run.v[step], atol=PASS, rtol=0)


def check_ddim(network, terms, schedule, spacing="100", noise=NOISE):
    process, denoised = Process(schedule, spacing), []
    run = sample_ddim(network, noise, process)
    end = sample_product(terms, noise, spacing, callback=lambda _step, _sigma, x0: denoised.append(x0))
    check(run, denoised, end, ProductDenoiser(terms), process)


def check_ddpm(network, terms, schedule, spacing):
    process, denoised = Process(schedule, spacing), []
    draws = torch.Generator().manual_seed(5)
    step_noise = [torch.randn(NOISE.shape, generator=draws) for _ in process.timesteps[1:]]
    run = sample_ddpm(network, NOISE, process, step_noise)
    end = sample_product(
        terms,
        NOISE,
        spacing,
        sampler=sample_ddpm_learned,
        generator=torch.Generator().manual_seed(5),
        callback=lambda _step, _sigma, x0: denoised.append(x0),
    )
    check(run, denoised, end, ProductDenoiser(terms), process)


@pytest.mark.long
def test_scenes(load, published):
    classes, texts = load("class"), load("glide")
    terms = [
        Term(classes, classes.encoder.encode_class(LABEL), classes.encoder.null(), weight=5, reliability=5),
        Term(texts, texts.encoder.encode_text(SCENE), texts.encoder.null(), weight=5, reliability=4),
    ]
    check_ddim(published.scene(), terms, "cosine")


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    ("name", "spacing"), [("glide_upsample", "100"), ("glide_upsample", "fast27"), ("class_upsampler", "ddim25")]
)
def test_upsampling(name, spacing, load, published):
    """The condition is kept, without guidance, and the start is 0.997 of the noise."""
    expert, encoder = load(name), load(name).encoder
    assert encoder.low_res == SIZE // 4
    condition = encoder.encode_text(SCENE) if "glide" in name else encoder.encode_class(LABEL)
    terms = [Term(expert, encoder.encode_low_res(SMALL, condition))]
    check_ddim(published.upsampler(name), terms, "linear", spacing, 0.997 * NOISE)


@pytest.mark.one_of(2)
@pytest.mark.parametrize("name", ["glide_inpaint", "glide_upsample_inpaint"])
def test_inpainting(name, load, published):
    expert, encoder = load(name), load(name).encoder
    told = [encoder.encode_text(SCENE), encoder.null()]
    if "upsample" in name:
        told = [encoder.encode_low_res(SMALL, each) for each in told]
    condition, null = (encoder.encode_inpaint(PICTURE, HIDDEN, each) for each in told)
    terms = [Term(expert, condition, null, weight=3)]
    check_ddim(published.inpainting(name, 3.0), terms, LAYOUTS[name].schedule, "ddim25")


@pytest.mark.one_of(7)
@pytest.mark.parametrize("weights", FACE_WEIGHTS, ids="+".join)
def test_faces(weights, load, published):
    faces, sketches = load("face"), load("sketch")
    text = torch.nn.functional.normalize(random_tensor("text", 1, EMBEDDING) - 0.5)
    told = {name: faces.encoder.with_text(faces.encoder.encode_map(MAPS[name], name)) for name in MAPS}
    told["text"] = faces.encoder.encode_embedding(text)
    sketch = sketches.encoder.encode_sketch(SKETCH, "drawing light on dark")
    null = faces.encoder.with_text(faces.encoder.null())
    terms = [
        Term(sketches, sketch, None, weight=weight, reliability=0)
        if name == "sketch"
        else Term(faces, told[name], null, weight=weight)
        for name, weight in weights.items()
    ]
    check_ddim(published.faces(weights, text), terms, "linear", "ddim25")


def composed_terms(expert):
    encoder = expert.encoder
    return [Term(expert, encoder.encode_text(text), encoder.null(), weight=7.5) for text in COMPOSED]


def test_composable_diffusion(load, published):
    check_ddim(published.composed(), composed_terms(load("glide")), "cosine", "ddim25")


@pytest.mark.long
def test_composable_diffusion_with_the_learned_variance(load, published):
    check_ddpm(published.composed(), composed_terms(load("glide")), "cosine", "100")


def test_a_class_with_the_learned_variance_on_the_linear_schedule(load, published):
    expert = load("class_fractional")
    terms = [Term(expert, expert.encoder.encode_class(LABEL), expert.encoder.null(), weight=2)]
    check_ddpm(published.one_class("class_fractional", 2.0), terms, "linear", "25")
