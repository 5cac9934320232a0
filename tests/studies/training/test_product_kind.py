"""Pictures that a product draws, as what a network is trained on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mcdm_core import OWN_NULL, Term, load_expert, sample_product
from mcdm_core.pictures.files import as_bytes
from mcdm_core.training.config import load_config
from mcdm_core.training.expert.checks import check_config
from studies.training.product_kind import DrawingProduct, ProductKind, ProductPictures

from ...support.distillation import PROMPTS
from ...support.small_experts import write_text_expert
from ...support.tiny_runs import LATENT_NETWORK

RECIPE = f"""
name = "both"
student = "text.safetensors"
rule = "own-null"
[[experts]]
name = "hair"
expert = "text.safetensors"
weight = 2.0
[[experts]]
name = "ground"
expert = "text.safetensors"
weight = 3.0
{PROMPTS}[[prompts]]
student = {{ text = "blonde hair on a white background" }}
hair = {{ text = "blonde hair" }}
ground = {{ text = "a white background" }}
"""
LORA = f"""
name = "by_pictures"
start = "text.safetensors"
{LATENT_NETWORK}
[adapter]
[data]
kind = "product"
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("product")
    write_text_expert(folder / "text.safetensors")
    path = folder / "both.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def product(recipe):
    return DrawingProduct(recipe)


def test_a_picture_is_the_products_from_the_noise_of_its_seed(recipe, product):
    expert = load_expert(recipe.parent / "text.safetensors")
    encode = expert.encoder.encode_text
    null = expert.encoder.null(1)
    asked = [("blonde hair", "a white background"), ("red hair", "a blue background")]
    drawn = ProductPictures(product, seed=40, count=3).load(recipe.parent)
    assert (drawn.dtype, drawn.shape) == (np.uint8, (3, 16, 16, 3))
    for index, (hair, ground) in enumerate(asked, 1):
        terms = [
            Term(expert, encode([hair]), null, weight=2.0),
            Term(expert, encode([ground]), null, weight=3.0),
        ]
        noise = torch.randn(1, *expert.sample_shape, generator=torch.Generator().manual_seed(40 + index))
        alone = as_bytes(expert.decode(sample_product(terms, noise, "10", rule=OWN_NULL)))[0].permute(1, 2, 0)
        assert np.abs(drawn[index].astype(int) - alone.numpy().astype(int)).max() <= 1


def test_prompts_that_are_unseen_are_neither_drawn_nor_told(product):
    assert product.prompts(5).tolist() == [0, 2, 0, 2, 0]
    rows = np.array([1, 4])
    told = product.captions(5)("text", rows, np.random.default_rng())
    texts = ["blonde hair on a white background", "red hair on a blue background"]
    expected = product.student.encoder.encode_text(texts)
    assert torch.allclose(told.embedding, expected.embedding, atol=1e-6)


def test_other_pictures_have_another_name(product):
    names = {ProductPictures(product, seed, count).name for seed in (1, 2) for count in (3, 4)}
    assert len(names) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("weight = 3.0", "weight = 3.5"),
        ('hair = { text = "red hair" }', 'hair = { text = "green hair" }'),
        ("[[experts]]", "[passes]\nthreshold = 0.5\nrefresh = 3\n[[experts]]"),
    ],
)
def test_pictures_of_another_product_are_others_and_have_another_name(recipe, product, one, other):
    changed = recipe.with_name("changed.toml")
    changed.write_text(RECIPE.replace(one, other, 1), encoding="utf-8")
    pictures, others = (ProductPictures(each, 40, 1) for each in (product, DrawingProduct(changed)))
    assert pictures.name != others.name
    assert not np.array_equal(pictures.load(recipe.parent), others.load(recipe.parent))
    same = recipe.with_name("same.toml")
    same.write_text(RECIPE, encoding="utf-8")
    assert ProductPictures(DrawingProduct(same), 40, 1).name == pictures.name


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ('modalities = ["text"]', "path names the file of a distillation"),
        ('modalities = ["hair"]\npath = "both.toml"', 'the modality "text"'),
    ],
)
def test_what_no_pictures_could_be_drawn_for_is_refused(tmp_path, data, sentence):
    path = tmp_path / "lora.toml"
    path.write_text(LORA + data, encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        check_config(load_config(path), ProductKind())


def test_networks_of_pixels_are_refused(tmp_path):
    path = tmp_path / "lora.toml"
    path.write_text(LORA + 'modalities = ["text"]\npath = "both.toml"', encoding="utf-8")
    with pytest.raises(ValueError, match="no vae is named"):
        check_config(replace(load_config(path), vae=None), ProductKind())
