"""Configurations of training runs: the types and ranges of their values."""

import pytest

from mcdm_core.training.config import load_config, load_dual_encoder_config

PLAIN = """
name = "plain"
image_size = 32
[network]
model_channels = 32
channel_mult = [1, 1.5]
[data]
kind = "faces"
modalities = ["hair"]
leading = { hair_color = "red" }
[data.sets.hair]
seed = 2
[optimizer]
steps = 10
learning_rate = 1
[card]
licence = "CC0"
"""


def load(tmp_path, text, loader=load_config):
    path = tmp_path / "plain.toml"
    path.write_text(text, encoding="utf-8")
    return loader(path)


def test_whole_numbers_are_numbers_and_lists_are_tuples(tmp_path):
    config = load(tmp_path, PLAIN)
    assert (config.optimizer.learning_rate, config.network.channel_mult) == (1, (1, 1.5))
    assert (config.data.modalities, config.network.pooled_dim) == (("hair",), None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "steps = 10",
            'steps = "10"',
            r"^\[optimizer\] of plain\.toml: expected a whole number of 0 or more for steps and got '10'; correct it",
        ),
        ("learning_rate = 1", "autocast = 1", "expected true or false for autocast and got 1"),
        ('["hair"]', '["hair", 3]', r"expected a list of texts for modalities and got \['hair', 3\]"),
        ("[1, 1.5]", '[1, "2"]', "a list of length 1 to 10 of finite numbers from 0.015625 to 64 for channel_mult"),
        ("model_channels = 32", "model_channels = 0", "from 1 to 65,536 for model_channels and got 0; correct it"),
        ("steps = 10", "ema = 1.5", "expected a finite number from 0 to 1 for ema and got 1.5; correct it"),
        ("learning_rate = 1", "learning_rate = inf", "of 0 or more for learning_rate and got inf; correct it"),
        (
            "[data.sets.hair]\nseed = 2",
            "[data.sets]\nhair = 3",
            r"expected a table of tables for sets .* \{'hair': 3\};",
        ),
        ("[card]", "[card]\nyear = 2025", "expected a table of texts for card"),
        ('name = "plain"', "name = 7", r"^plain\.toml: expected a text for name and got 7;"),
        (
            "[optimizer]\nsteps = 10\nlearning_rate = 1\n",
            "[[optimizer]]\n",
            r"Expected \[optimizer\] of .* to be a table",
        ),
    ],
)
def test_values_that_are_not_as_declared_are_refused(tmp_path, old, new, message):
    assert PLAIN.count(old) == 1
    with pytest.raises(ValueError, match=message):
        load(tmp_path, PLAIN.replace(old, new))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dual_encoder = 3", r"Expected \[dual_encoder\] of plain\.toml to be a table and got 3"),
        ('[dual_encoder]\nwords = "many"', "expected a whole number from 1 to 20,000 for words and got 'many'"),
    ],
)
def test_dual_encoders_are_checked_alike(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, text, load_dual_encoder_config)
