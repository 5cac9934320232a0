"""Sweeps: what a value sets, how a grid is read from text, and the command that samples one."""

import logging
import math
import signal

import numpy as np
import pytest
from PIL import Image

from mcdm_core.cli import sweep as command
from mcdm_core.cli.main import main
from mcdm_core.pictures import labelled_grid
from mcdm_core.pictures.grid import MARGIN
from mcdm_core.product.terms.term_numbers import TermError, TermNumbers
from mcdm_core.sampling.sweep import (
    NOT_SAMPLED,
    Cell,
    Sweep,
    Swept,
    Varied,
    reliabilities_at,
    sweep_grid,
)
from mcdm_core.sampling.sweep_texts import parse_factors, parse_values, seeds_from

from ...support.small_experts import write_expert, write_text_expert

TILE = 128
STEP = TILE + MARGIN
SKIN = Swept("expert 2 (skin)", "skin")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0, 0.25, 0.5, 0.75, 1", (0, 0.25, 0.5, 0.75, 1)),
        ("0-1 [5]", (0, 0.25, 0.5, 0.75, 1)),
        ("1-0 [3]", (1, 0.5, 0)),
        (" .5 ", (0.5,)),
        ("0, 0.5-1[2], 0", (0, 0.5, 1)),
    ],
)
def test_values_are_read_from_text(text, values):
    assert parse_values(text) == values


def test_ranges_reach_their_ends():
    assert parse_values("0.1-0.7 [4]")[-1] == 0.7


@pytest.mark.parametrize(
    "text", ["", "0,,1", "a", "0 1", "nan", "-0.1", "1.5", "0-1", "0-1 [1]", "0-1 [51]", "0-2 [3]"]
)
def test_values_that_cannot_be_read_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="such as") as refused:
        parse_values(text)
    assert f'"{text}"' in str(refused.value)


def test_absolute_weights_may_be_any_numbers():
    assert parse_values("1-6 [3], -2, 20", Varied.ABSOLUTE) == (1, 3.5, 6, -2, 20)
    with pytest.raises(ValueError, match="Expected weights, such as"):
        parse_values("strong", Varied.ABSOLUTE)


def test_factors_may_be_any_numbers():
    assert parse_factors("-2-2 [3], 7.5") == (-2, 0, 2, 7.5)
    with pytest.raises(ValueError, match="factors of the weights"):
        parse_factors("inf")


def test_seeds_count_on_after_the_last():
    assert seeds_from(2**64 - 2, 3) == (2**64 - 2, 2**64 - 1, 0)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_the_others_share_the_rest_in_proportion(value):
    chosen, first, second = reliabilities_at(value, 0, (7.0, 1.0, 3.0))
    assert chosen == value
    assert math.isclose(chosen + first + second, 1.0)
    assert second == 3 * first


def test_others_without_reliability_share_the_rest_equally():
    assert reliabilities_at(0.5, 1, (0.0, 1.0, 0.0)) == (0.25, 0.5, 0.25)
    assert reliabilities_at(1.0, 1, (0.0, 1.0)) == (0.0, 1.0)


def test_a_rest_that_nobody_can_take_is_refused():
    assert reliabilities_at(1.0, 0, (1.0,)) == (1.0,)
    with pytest.raises(ValueError, match="another expert, to take the rest"):
        reliabilities_at(0.5, 0, (1.0,))


def refuse(*, reliability):
    """A check that refuses one expert for its reliability, where it is that number."""

    def check(experts):
        if experts[1].reliability == reliability:
            raise TermError("Raise it.", 1, "reliability")

    return check


def test_a_cell_that_is_refused_names_its_value():
    sweep, experts = Sweep(0, (0.5, 1.0), (1, 2)), [TermNumbers(weight=2.0), TermNumbers(weight=2.0)]
    sweep.check_cells(experts, refuse(reliability=7.0))
    with pytest.raises(ValueError, match="The value 1 leaves this expert no reliability where it acts without"):
        sweep.check_cells(experts, refuse(reliability=0.0))


def refuse_sum(experts):
    """A check whose refusal is no expert's."""
    if sum(expert.weight for expert in experts) > 2:
        raise ValueError("Too much.")


@pytest.mark.parametrize(
    ("weights", "sentence"), [((0.5, 0.5), r"At the value 0\.5 and the guidance 3 of this sweep: T"), ((2.0, 0.5), "T")]
)
def test_any_refusal_of_a_cell_alone_names_its_value(weights, sentence):
    with pytest.raises(ValueError, match=rf"^{sentence}oo much\.$"):
        Sweep(0, (0.5,), (1,), factors=(1.0, 3.0)).check_cells([TermNumbers(weight=w) for w in weights], refuse_sum)


def test_experts_that_are_refused_without_the_sweep_are_refused_as_they_are():
    def check(experts):
        raise TermError("Raise it.", 1, "reliability")

    with pytest.raises(TermError, match=r"^Raise it\.$"):
        Sweep(0, (0.5,), (1,)).check_cells([TermNumbers(), TermNumbers()], check)


@pytest.mark.parametrize(
    ("varied", "weights", "reliabilities"),
    [
        (Varied.RELIABILITY, (2.0, 4.0), (0.75, 0.25)),
        (Varied.WEIGHT, (1.5, 1.0), (1.0, 3.0)),
        (Varied.BOTH, (1.5, 1.0), (0.75, 0.25)),
        (Varied.ABSOLUTE, (0.75, 4.0), (1.0, 3.0)),
    ],
)
def test_what_a_value_and_a_factor_set(varied, weights, reliabilities):
    sweep = Sweep(0, (0.75,), (1,), varied, (2.0,))
    found = sweep.at([TermNumbers(weight=2.0), TermNumbers(weight=4.0, reliability=3.0)], sweep.cells()[0])
    assert tuple(expert.weight for expert in found) == tuple(2 * w for w in weights)
    assert tuple(expert.reliability for expert in found) == reliabilities


def test_cells_lie_row_by_row_with_the_factors_of_a_seed_together():
    sweep = Sweep(0, (0.0, 1.0), (3, 4), factors=(1.0, 2.0))
    columns = [(1.0, 3), (2.0, 3), (1.0, 4), (2.0, 4)]
    assert sweep.cells() == [Cell(value, *column) for value in (0.0, 1.0) for column in columns]


@pytest.mark.parametrize("grid", [{"values": ()}, {"seeds": tuple(range(51))}, {"factors": (1.0,) * 51}])
def test_grids_without_cells_or_too_large_are_refused(grid):
    with pytest.raises(ValueError, match="sweep in parts"):
        Sweep(**{"expert": 0, "values": (0.0,), "seeds": (1,), **grid})


@pytest.mark.parametrize(("weight", "warned"), [(0.5, True), (2.0, False)])
def test_a_reliability_without_effect_is_said(weight, warned, caplog):
    with caplog.at_level(logging.WARNING):
        Sweep(0, (0.0, 1.0), (1,)).check([TermNumbers(weight=weight), TermNumbers(weight=0.5)])
    assert ("changes nothing" in caplog.text) is warned


@pytest.mark.parametrize(
    ("sweep", "columns", "rows"),
    [
        (Sweep(1, (0.0, 0.25), (5, 6)), [SKIN.label, "seed 5", "seed 6"], ["reliability 0", "reliability 0.25"]),
        (
            Sweep(1, (0.0, 0.5, 1 / 3, 1.0), (5,), Varied.WEIGHT),
            [f"{SKIN.label}\nweight", "seed 5"],
            ["others only", "half each", "33.33 % skin, 66.67 % others", "skin only"],
        ),
        (
            Sweep(1, (1.0, 0.75), (5,), Varied.BOTH),
            [f"{SKIN.label}\nreliability and weight", "seed 5"],
            ["skin only", "75 % skin, 25 % others"],
        ),
        (
            Sweep(1, (1.0, 4.0), (5,), Varied.ABSOLUTE),
            [f"{SKIN.label}\nabsolute weight", "seed 5"],
            ["weight 1", "weight 4"],
        ),
        (
            Sweep(1, (0.5,), (5,), factors=(0.5, 1.0)),
            [SKIN.label, "seed 5\nall weights × 0.5", "seed 5\nall weights × 1"],
            ["reliability 0.5"],
        ),
    ],
)
def test_labels_say_what_each_cell_was_sampled_with(sweep, columns, rows):
    pictures = {cell: Image.new("RGB", (8, 8), (0, 0, place)) for place, cell in enumerate(sweep.cells())}
    lines = [[label, *(pictures[cell] for cell in row)] for label, row in zip(rows, sweep.rows(), strict=True)]
    assert np.array_equal(sweep_grid(sweep, SKIN, pictures), labelled_grid(columns, lines))


def test_an_expert_without_others_shares_with_nobody():
    sweep = Sweep(0, (0.5,), (5,), Varied.WEIGHT)
    pictures = dict.fromkeys(sweep.cells(), Image.new("RGB", (8, 8)))
    expected = labelled_grid(["hair\nweight", "seed 5"], [["weight × 0.5", *pictures.values()]])
    assert np.array_equal(sweep_grid(sweep, Swept("hair", "hair", has_others=False), pictures), expected)


@pytest.mark.parametrize("varied", Varied)
def test_a_weight_of_its_own_that_counts_in_no_cell_is_that_of_one(varied):
    sweep = Sweep(1, (0.25, 1.0, 0.0), (5,), varied)
    experts = [TermNumbers(weight=2.0), TermNumbers(weight=0.0)]
    swept = sweep.as_swept(experts)
    assert [expert.weight for expert in swept] == [2.0, 1.0 if varied is Varied.ABSOLUTE else 0.0]
    assert all(sweep.at(swept, cell) == sweep.at(experts, cell) for cell in sweep.cells())


def test_cells_without_a_picture_say_so():
    sweep = Sweep(1, (0.0, 1.0), (5,))
    black = Image.new("RGB", (8, 8))
    expected = labelled_grid([SKIN.label, "seed 5"], [["reliability 0", black], ["reliability 1", NOT_SAMPLED]])
    assert np.array_equal(sweep_grid(sweep, SKIN, {sweep.cells()[0]: black}), expected)


def test_a_reference_stands_above():
    sweep = Sweep(1, (0.5,), (5, 6))
    black, white = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "white")
    pictures = dict.fromkeys(sweep.cells(), black)
    columns = [SKIN.label, "seed 5", "seed 6"]
    expected = labelled_grid(columns, [["reference", white, ""], ["reliability 0.5", black, black]])
    assert np.array_equal(sweep_grid(sweep, SKIN, pictures, reference=white), expected)


@pytest.fixture
def experts(tmp_path):
    """Options for two experts; the first six are the first expert's."""
    hair = write_expert(tmp_path / "hair.safetensors", {"kind": "map", "map": "hair"})
    text = write_text_expert(tmp_path / "text.safetensors")
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(tmp_path / "map.png")
    options = ["--expert", str(hair), "--map", str(tmp_path / "map.png"), "--weight", "2.5"]
    options += ["--expert", str(text), "--text", "red hair", "--reliability", "3"]
    return [*options, "--device", "cpu"]


def sweep(experts, output, *options):
    return main(["sweep", *experts, "--output", str(output), *options])


def tile(grid, row, column):
    left, top = MARGIN + (column + 1) * STEP, TILE // 3 + row * STEP
    return grid[top : top + TILE : TILE // 16, left : left + TILE : TILE // 16]


def read(path):
    return np.asarray(Image.open(path))


@pytest.mark.one_of(2)
@pytest.mark.parametrize("sampler", [["--eta", "1"], ["--sampler", "ddpm-large"]], ids=" ".join)
def test_each_cell_is_what_sample_gives(sampler, experts, tmp_path):
    options = ["--of", "2", "--values", "0, 0.25", "--seed", "7", "--seeds", "2", "--guidance", "1, 2"]
    shared = ["--steps", "3", *sampler]
    assert sweep(experts, tmp_path / "grid.png", *options, *shared) == 0
    grid = read(tmp_path / "grid.png")
    assert grid.shape == (TILE // 3 + 2 * STEP, MARGIN + 5 * STEP, 3)
    for row, value in enumerate((0.0, 0.25)):
        for column, (seed, factor) in enumerate([(7, 1), (7, 2), (8, 1), (8, 2)]):
            first = ["--weight", str(2.5 * factor), "--reliability", str(1 - value)]
            second = ["--weight", str(factor), "--reliability", str(value)]
            swept = [*experts[:6], *first, *experts[6:], *second]
            rest = ["--seed", str(seed), *shared, "--output", str(tmp_path / "one.png")]
            assert main(["sample", "--overwrite", *swept, *rest]) == 0
            assert np.array_equal(tile(grid, row, column), read(tmp_path / "one.png"))


def test_an_absolute_weight_leaves_the_other_expert_its_own(experts, tmp_path):
    options = ["--of", "2", "--values", "4", "--vary", "absolute", "--steps", "3", "--seed", "4"]
    assert sweep(experts, tmp_path / "grid.png", *options) == 0
    alone = ["--steps", "3", "--seed", "4", "--output", str(tmp_path / "one.png")]
    assert main(["sample", *experts, "--weight", "4", *alone]) == 0
    assert np.array_equal(tile(read(tmp_path / "grid.png"), 0, 0), read(tmp_path / "one.png"))


def test_a_cell_of_experts_of_two_spaces_is_what_sample_draws(experts, tmp_path):
    larger = write_text_expert(tmp_path / "larger.safetensors", size=32)
    at = experts.index("--text") - 1
    two = [*experts[:at], str(larger), *experts[at + 1 :]]
    assert sweep(two, tmp_path / "grid.png", "--values", "0.25", "--steps", "3", "--seed", "4") == 0
    assert main(["sample", *two, "--steps", "3", "--seed", "4", "--output", str(tmp_path / "one.png")]) == 0
    assert np.array_equal(tile(read(tmp_path / "grid.png"), 0, 0), read(tmp_path / "one.png"))


def test_progress_counts_the_steps_of_the_whole_grid(experts, tmp_path, capsys):
    assert sweep(experts, tmp_path / "grid.png", "--values", "0, 1", "--seeds", "3", "--steps", "4") == 0
    shown = capsys.readouterr().err
    assert "6 cells" in shown
    assert "24/24" in shown


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_sweep_keeps_what_is_done(experts, tmp_path, capsys, monkeypatch):
    output, save = tmp_path / "grid.png", command.save_picture

    def save_and_interrupt(*args):
        save(*args)
        monkeypatch.setattr(command, "save_picture", save)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(command, "save_picture", save_and_interrupt)
    assert sweep(experts, output, "--values", "0-1 [50]", "--steps", "3") == 1
    grid = read(output)
    assert f"after 1 of 50 cells; {output} has them" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("grid*")] == ["grid.png"]
    sampled, missing = tile(grid, 0, 0), tile(grid, 49, 0)
    assert sampled.std() > 5
    assert (missing == 255).mean() > 0.8
    assert sweep(experts, tmp_path / "whole.png", "--values", "0", "--steps", "3") == 0
    assert np.array_equal(sampled, tile(read(tmp_path / "whole.png"), 0, 0))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--values", "0, 2"], "values from 0 to 1"),
        (["--guidance", "strong"], "factors of the weights"),
        (["--of", "3"], "from 1 to 2 to sweep and got 3"),
        (["--seeds", "26", "--guidance", "1, 2"], "sweep in parts"),
        (["--steps", "many"], "timestep spacing"),
        (["--sampler", "ddpm", "--eta", "0"], "leave --eta out"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_is_sampled(experts, options, sentence, tmp_path, capsys):
    assert sweep(experts, tmp_path / "grid.png", *options) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "grid.png").exists()


def test_a_cell_that_could_not_finish_is_refused_before_the_first(experts, tmp_path, capsys):
    # The first expert stops half-way, and in the second row it alone has a reliability.
    stopping = [*experts[:6], "--end", "0.5", *experts[6:], "--weight", "2"]
    assert sweep(stopping, tmp_path / "grid.png", "--values", "0, 1", "--steps", "4") == 2
    assert "The value 1 leaves text no reliability where it acts without hair; leave 1 out" in capsys.readouterr().err
    assert not (tmp_path / "grid.png").exists()
