"""The dual encoder on pairs of one's own, and the text expert behind it."""

import logging
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mcdm_core import load_expert
from mcdm_core.cli.main import main
from mcdm_core.networks.text_tower import TextTower, TextTowerConfig
from mcdm_core.text.vocabulary import TOKENS, gather_vocabulary, tokenize, tokenize_plain
from mcdm_core.training.data.sources import perturb
from mcdm_core.training.dual_encoder import alignment
from mcdm_core.training.dual_encoder.towers import load_dual_encoder, one_cycle
from mcdm_core.training.expert.run import train_expert
from mcdm_core.training.folder.pairs import read_pairs
from mcdm_core.training.sections import train

from ...support.tiny_runs import write_config, write_folder

ENCODER = '[dual_encoder]\npath = "pictures"\nimage_size = 16\nsteps = {steps}\nbatch_size = 4\nwords = 12\n'


@pytest.fixture
def short_alignment(monkeypatch):
    """What is written and how it is used does not depend on how well the towers agree."""
    monkeypatch.setattr(alignment, "align", partial(alignment.align, batches=2, steps=2, size=4))


@pytest.fixture
def encoder(tmp_path, short_alignment):
    write_folder(tmp_path / "pictures", captions=True)
    (tmp_path / "encoder.toml").write_text(ENCODER.format(steps=2))
    return train(tmp_path / "encoder.toml", tmp_path / "runs")


def test_the_vocabulary_is_gathered_from_the_captions(encoder, caplog):
    text, image, _ = load_dual_encoder(encoder)
    words = text.config.vocabulary
    assert text.config.lexicon == "plain"
    # "number" stands in every training caption, "2" in one.
    assert {"a", "box", "kasten", "number", ","} <= set(words)
    assert len(words) == 12
    with caplog.at_level(logging.WARNING):
        embedding = text.encode(["a crimson box", "ein Kasten", "xylophone"])
    assert '"xylophone"' in caplog.text
    assert "kasten" not in caplog.text.split("; it knows")[0]
    assert (embedding.norm(dim=1) > 0).tolist() == [True, True, False]
    assert image(torch.zeros(2, 3, 16, 16)).shape == (2, text.config.dim)


def test_an_expert_of_one_s_own_text(encoder, tmp_path):
    data = 'kind = "folder"\npath = "pictures"\nmodalities = ["text"]\n'
    data += 'text_encoder = "runs/encoder/encoder.safetensors"'
    report = "held_out_every = 2\nheld_out = 2\nsamples = 1\nsample_steps = 1"
    options = {"data": data, "steps": 2, "report": report}
    config = write_config(tmp_path / "text.toml", network="pooled_dim = 128", **options)
    expert = load_expert(train_expert(config, tmp_path / "runs"))
    tower, *_ = load_dual_encoder(encoder)
    with torch.no_grad():
        expected = tower.half().float().encode(["ein Kasten"])  # the file keeps the tower in half precision
    assert torch.equal(expert.encoder.encode_text("ein Kasten").embedding, expected)
    assert not torch.equal(expert.encoder.encode_text("a box").embedding, expected)

    longer = write_config(tmp_path / "longer.toml", network="pooled_dim = 128", **{**options, "steps": 3})
    begun = tmp_path / "runs" / "text" / "text.safetensors"
    resumed = load_expert(train_expert(longer, tmp_path / "more", str(begun)))
    assert resumed.metadata["card"]["steps"] == 3
    (tmp_path / "encoder.toml").write_text(ENCODER.format(steps=3))
    with pytest.raises(ValueError, match="exists already; add --overwrite"):
        train(tmp_path / "encoder.toml", tmp_path / "runs")
    train(tmp_path / "encoder.toml", tmp_path / "runs", overwrite=True)
    with pytest.raises(ValueError, match="dual encoder that text was trained with and got another"):
        train_expert(longer, tmp_path / "others", str(begun))
    with pytest.raises(ValueError, match="is the state of a run on other pictures, or captions of another encoder"):
        train_expert(config, tmp_path / "runs", "state")

    wrong = write_config(tmp_path / "wrong.toml", network="pooled_dim = 64", **options)
    with pytest.raises(ValueError, match="set pooled_dim = 128"):
        train_expert(wrong, tmp_path / "runs")


def test_plain_words_are_kept_as_they_are():
    assert tokenize_plain("A red-ish Box; ginger, ") == (["a", "red", "ish", "box", ",", "ginger"], [])
    assert gather_vocabulary(["b a", "a c", "c a"], 2) == ("a", "c")


def test_towers_from_before_the_lexicon_had_a_name_read_as_they_did():
    old = {key: value for key, value in TextTowerConfig().to_dict().items() if key != "lexicon"}
    tower = TextTower(TextTowerConfig.from_dict(old))
    texts = ["a ginger man, light brown skin", "no beard; hair is spiky"]
    rows = [[TOKENS.index(token) + 1 for token in tokenize(text)[0]] for text in texts]
    assert [[row for row in line if row] for line in tower.tokens(texts).tolist()] == rows
    with pytest.raises(ValueError, match="lexicon"):
        TextTowerConfig(lexicon="esperanto")


def test_a_caption_fits_its_picture_and_those_of_the_same_caption(tmp_path):
    write_folder(tmp_path, captions=True)
    training, held_out = read_pairs(tmp_path, 16)
    assert (len(training.images), len(held_out.images)) == (5, 1)
    images, captions, targets = training.batch(8, np.random.default_rng(0))
    assert len(images) == len(captions) == 5  # no picture twice
    for caption, row in zip(captions, targets, strict=True):
        assert row.sum() == (5 if caption == "ein Kasten" else 1)
    assert targets.diagonal().all()


def test_noise_on_embeddings_follows_their_spread():
    embedding, spread = torch.randn(2000, 3), torch.tensor([1.0, 0.1, 0.0])
    moved = perturb(embedding, spread, 0.6, np.random.default_rng(0)) - embedding
    # Amounts are uniform up to 0.6, so their mean square is 0.6² / 3.
    torch.testing.assert_close(moved.square().mean(dim=0), spread.square() * 0.12, rtol=0.1, atol=1e-9)
    torch.testing.assert_close(perturb(embedding, spread, 0.0, np.random.default_rng(0)), embedding)


def test_noise_is_made_where_embeddings_are():
    embedding = torch.randn(4, 3).to("meta", torch.bfloat16)
    moved = perturb(embedding, embedding[0], 0.6, np.random.default_rng(0))
    assert (moved.device.type, moved.dtype, moved.shape) == ("meta", torch.bfloat16, (4, 3))


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 100])
def test_rates_rise_to_the_optimizer_s_own_and_fall(steps):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=2e-3)
    scheduler, rates = one_cycle(optimizer, steps), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert 0 < min(rates) <= max(rates) <= 2e-3
    if steps == 100:
        assert max(rates) == pytest.approx(2e-3) == rates[9]
        assert rates[-1] < 1e-5


def caption_all_alike(folder):
    for path in (folder / "captions").iterdir():
        path.write_text("a photo of sks")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "captions" / "face_0.txt").unlink(), "1 of 6 have none"),
        (lambda folder: (folder / "captions" / "face_0.txt").write_text("\n"), "has no caption"),
        (lambda folder: (folder / "captions" / "face_0.txt").write_bytes(b"\xff\xfe\xfa"), "no UTF-8"),
        (caption_all_alike, "captions that differ, or more, to learn what tells them apart and got 5 of 1"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused(tmp_path, damage, sentence, capsys):
    write_folder(tmp_path / "pictures", captions=True)
    damage(tmp_path / "pictures")
    (tmp_path / "encoder.toml").write_text(ENCODER.format(steps=1))
    assert main(["train", str(tmp_path / "encoder.toml"), "--runs", str(tmp_path / "runs")]) == 2
    assert sentence in capsys.readouterr().err


def test_what_is_no_dual_encoder_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "notes.safetensors").write_text("notes")
    for name in ("nowhere", "other", "notes"):
        with pytest.raises(ValueError, match="train one with"):
            load_dual_encoder(tmp_path / f"{name}.safetensors")
