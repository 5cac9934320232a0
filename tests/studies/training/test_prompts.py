"""Drawn prompts of distillations."""

from collections import Counter
from pathlib import Path

import pytest

from mcdm_core.distil.recipe import load_recipe
from mcdm_core.text.vocabulary import ADJECTIVES
from studies.cli import main
from studies.training.prompts import draw_prompts

CONFIG = Path(__file__).parents[3] / "studies" / "configs" / "distil" / "two_loras.toml"
LEADING = {"hair_color": "pink", "background": "green"}


def test_all_pairs_but_those_of_the_leading_colours_are_asked_for_equally_often():
    recipe = load_recipe(CONFIG, draw_prompts)
    assert len(recipe.prompts) == 600
    told = [{name: each.text for name, each in prompt.conditions.items()} for prompt in recipe.prompts]
    assert told[0].keys() == {"hair_color", "background", "student"}
    assert not [text for each in told for text in each.values() if "pink" in text or "green background" in text]
    assert Counter(prompt.unseen for prompt in recipe.prompts) == {False: 440, True: 160}
    assert len({each["student"] for each in told}) > 300


def test_a_prompt_is_the_same_however_many_there_are():
    few, many = (draw_prompts({"leading": LEADING, "count": count, "seed": 3}) for count in (5, 40))
    assert few == many[:5]
    assert draw_prompts({"leading": LEADING, "count": 5, "seed": 4}) != few


def test_leading_colours_can_be_asked_for_by_name():
    drawn = draw_prompts({"leading": LEADING, "count": 6, "asked": [["pink", "green"], ["red", "blue"]]})
    told = [prompt["student"]["text"] for prompt in drawn]
    assert [any(word in text for word in ADJECTIVES["pink"]) for text in told] == [True, False] * 3


def test_experts_are_told_of_their_own_and_the_student_of_all():
    for prompt in draw_prompts({"leading": {"hair_color": "pink", "mouth": "sad"}, "count": 20}):
        assert prompt.keys() == {"hair_color", "mouth", "student", "unseen"}
        assert len({prompt[name]["text"] for name in ("hair_color", "mouth", "student")}) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "incomplete"),
        ({"leading": LEADING, "number": 3}, r"\[prompts\] has unknown names \['number'\]"),
        ({"leading": {"hair": "pink"}}, "and hair is none or has no such value"),
        ({"leading": {"hair_color": "plaid"}}, "and hair_color is none or has no such value"),
        ({"leading": LEADING, "count": 0}, "a whole number of 1 or more for count and got 0"),
        ({"leading": LEADING, "unseen": [["pink", "blue"]]}, "combinations of hair_color, background as unseen"),
        ({"leading": LEADING, "asked": [["pink", "plaid"]]}, r"background as asked and got \('pink', 'plaid'\)"),
        ({"leading": LEADING, "asked": [["pink"]]}, r"background as asked and got \('pink',\)"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        draw_prompts(values)


def test_the_command_takes_them(tmp_path, capsys):
    text = CONFIG.read_text("utf-8").replace("count = 600", "count = 0")
    (tmp_path / "two.toml").write_text(text, "utf-8")
    assert main(["distil", str(tmp_path / "two.toml"), "--runs", str(tmp_path / "runs")]) == 2
    assert "[prompts]: expected a whole number of 1 or more for count and got 0" in capsys.readouterr().err
