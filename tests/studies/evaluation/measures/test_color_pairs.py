"""Colours that are asked for one by one, and those that bleed."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from mcdm_core import load_expert
from mcdm_core.checkpoints.lora import save_lora
from mcdm_core.networks import TextTower, UNet
from mcdm_core.networks.low_rank import add_low_rank, load_base, low_rank_of
from mcdm_core.pictures.files import as_bytes
from mcdm_core.sampling import sample_product
from studies.data.faces import BACKGROUNDS, HAIR_COLORS
from studies.evaluation import sampling
from studies.evaluation.color_pairs import ColorPairs, measure_bleeding
from studies.evaluation.config import DataConfig, Setting, TermConfig
from studies.evaluation.drawing import start_noise, terms_of
from studies.evaluation.kinds import open_held_out
from studies.evaluation.sampling import draw_samples

from ....support.evaluations import InProcess, write_small_latent, write_small_vae

LEADING = {"hair_color": "pink", "background": "green"}
DATA = DataConfig("color pairs", seed=22_500_000, count=16, image_size=256, leading=LEADING)
HAIR = TermConfig("text", ("hair_color",), lora=("mine",), weight=2.0)
GROUND = TermConfig("text", ("background",), weight=2.0)
PAIR = Setting("pair", (HAIR, GROUND), steps=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small text expert and a LoRA on it."""
    folder = tmp_path_factory.mktemp("pairs")
    torch.manual_seed(0)
    key, tower = write_small_vae(folder), TextTower()
    told = {"pooled_dim": tower.config.dim}
    write_small_latent(folder, "text", {"kind": "text", "text_encoder": tower.config.to_dict()}, told, key, tower)
    base = load_expert(folder / "text.safetensors").network
    network = UNet(base.config)
    add_low_rank(network, 2)
    load_base(network, base.state_dict())
    for change in low_rank_of(network).values():
        torch.nn.init.normal_(change.up, std=0.2)
    save_lora(folder / "mine.safetensors", network, {})
    return {"text": folder / "text.safetensors", "mine": folder / "mine.safetensors"}


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    monkeypatch.setattr(sampling, "ProcessPoolExecutor", InProcess)


@pytest.mark.long
def test_every_combination_is_asked_for_but_those_that_bleed():
    pairs = open_held_out(DATA)
    asked = [tuple(pairs[i].face.attributes[name] for name in LEADING) for i in range(15)]
    others = product(HAIR_COLORS.keys() - {"pink"}, BACKGROUNDS.keys() - {"green"})
    assert sorted(asked) == sorted(others)
    assert tuple(pairs[15].face.attributes[name] for name in LEADING) == asked[0]


def test_captions_name_one_colour_and_together_both():
    pairs = open_held_out(DATA)
    for pair in (pairs[i] for i in range(15)):
        hair, ground = (pair.captions[name] for name in LEADING)
        assert not any(word in hair for word in ("background", "backdrop", "wall"))
        assert any(word in ground for word in ("background", "backdrop", "wall"))
        assert "hair" not in ground
        assert any(word in pair.caption for word in ("background", "backdrop", "wall"))


def test_the_pictures_themselves_are_right_and_nothing_bleeds():
    pairs = open_held_out(DATA)
    measured = pairs.measure("bleeding", pairs.images, None)
    assert list(measured) == [
        "all right",
        "hair color",
        "background",
        "bleeding",
        "bled into hair color",
        "bled into background",
    ]
    assert measured["all right"].mean() == 1
    assert measured["bleeding"].mean() == 0


def test_by_default_only_what_is_asked_for_is_right_or_wrong():
    pairs = ColorPairs(replace(DATA, count=2, image_size=64))
    told = Setting("", (TermConfig("text", ("text",)), TermConfig("text", ("text",), shift=1)))
    measured = {name: pairs.measure(name, pairs.images, told) for name in pairs.measures if name != "frechet"}
    assert list(measured["attributes"]) == ["all attributes", "attributes", "hair color", "background"]
    assert measured["attributes"]["all attributes"].tolist() == measured["alternatives"]["one face"].tolist() == [1, 1]


def test_wrong_is_not_yet_bled():
    wanted = [{"hair_color": "red", "background": "blue"}] * 4
    shown = [("red", "blue"), ("pink", "blue"), ("red", "green"), ("blonde", "blue")]
    read = [dict(zip(LEADING, colors, strict=True)) for colors in shown]
    measured = {name: values.tolist() for name, values in measure_bleeding(read, wanted, LEADING).items()}
    assert measured == {
        "all right": [1, 0, 0, 0],
        "hair color": [1, 0, 1, 0],
        "background": [1, 1, 0, 1],
        "bleeding": [0, 1, 1, 0],
        "bled into hair color": [0, 1, 0, 0],
        "bled into background": [0, 0, 1, 0],
    }


def test_a_leading_colour_that_was_asked_for_has_not_bled():
    pairs = ColorPairs(replace(DATA, asked=(("pink", "green"), ("pink", "blue"))))
    wanted = [pairs[index].face.attributes for index in range(4)]
    assert [each["background"] for each in wanted] == ["green", "blue", "green", "blue"]
    read = [{"hair_color": "pink", "background": "green"}] * 4
    measured = {name: values.tolist() for name, values in measure_bleeding(read, wanted, LEADING).items()}
    assert measured["all right"] == [1, 0, 1, 0]
    assert measured["bled into hair color"] == [0, 0, 0, 0]
    assert measured["bled into background"] == measured["bleeding"] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("leading", "message"),
    [({}, "got nothing"), ({"mouth": "sad"}, "got mouth"), ({"background": "red"}, "no 'red' as background")],
)
def test_colours_that_cannot_bleed_are_refused(leading, message):
    with pytest.raises(ValueError, match=message):
        ColorPairs(replace(DATA, leading=leading))


def test_terms_have_their_captions_loras_and_masks(files):
    pairs, plain = open_held_out(DATA), load_expert(files["text"])
    masked = (replace(HAIR, mask="hair"), replace(GROUND, mask="not hair"))
    hair, ground = terms_of(replace(PAIR, terms=masked), files, pairs, range(2))
    expected = plain.encoder.encode_text([pairs[i].captions["hair_color"] for i in range(2)])
    assert torch.equal(hair.condition.embedding, expected.embedding)
    assert torch.equal(ground.expert.network.out[2].weight, plain.network.out[2].weight)
    assert not torch.equal(hair.expert.network.out[2].weight, plain.network.out[2].weight)
    assert hair.mask.shape == (2, 32, 32)
    assert torch.equal(hair.mask + ground.mask, torch.ones(2, 32, 32))
    share = np.mean([pairs[i].maps["hair"] / 255 for i in range(2)])
    assert hair.mask.mean().item() == pytest.approx(share, abs=1e-4)


def test_two_loras_of_a_term_act_on_one_network(files):
    """The same one twice acts twice as much, and at half the strength once."""
    terms = (
        *(replace(HAIR, lora=loras) for loras in ((), ("mine",), ("mine", "mine"))),
        replace(HAIR, lora=("mine", "mine"), strength=0.5),
    )
    weights = [
        term.expert.network.out[2].weight
        for term in terms_of(replace(PAIR, terms=terms), files, open_held_out(DATA), range(1))
    ]
    assert torch.allclose(weights[2] - weights[0], 2 * (weights[1] - weights[0]), atol=1e-6)
    assert torch.allclose(weights[3], weights[1], atol=1e-6)


def test_samples_are_those_of_the_settings(files, tmp_path):
    """A LoRA comes through to the product."""

    def latents(setting):
        terms = terms_of(setting, files, open_held_out(DATA), range(2))
        noise = start_noise(terms[0].expert, range(2))
        return terms[0].expert, sample_product(terms, noise, "2")

    plain = replace(PAIR, steps=2)
    without = replace(plain, terms=(replace(HAIR, lora=()), GROUND))
    assert (latents(without)[1] - latents(plain)[1]).abs().max() > 1e-3
    expert, samples = latents(plain)
    drawn = draw_samples(plain, DATA, files, 2, tmp_path, 1).images
    assert np.array_equal(drawn, as_bytes(expert.decode(samples)).permute(0, 2, 3, 1).numpy())
