import math

import numpy as np
import pytest

from mcdm_core.pictures import Panel, plot_lines
from mcdm_core.pictures.plots import COLORS, LEFT, RIGHT, WIDTH, line_colors, tick_values


def ink(image, color):
    """Rows and columns of the plot, without its legend, that have a colour."""
    plot = np.asarray(image).astype(int)[:, LEFT : WIDTH - RIGHT]
    return np.nonzero(np.abs(plot - color).sum(-1) < 40)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (-1.0, 1.0, [-1.0, -0.5, 0.0, 0.5, 1.0]),
        (0.0, 0.037, [0.0, 0.01, 0.02, 0.03]),
        (3.0, 3.0, [3.0]),
    ],
)
def test_ticks_are_round_and_inside(low, high, expected):
    assert tick_values(low, high, 4) == pytest.approx(expected)


def test_a_rising_line_rises_and_a_falling_one_falls():
    rising = plot_lines([Panel("a", {"line": [0.0, 0.5, 1.0]})], [1, 2, 3])
    falling = plot_lines([Panel("a", {"line": [1.0, 0.5, 0.0]})], [1, 2, 3])
    for image, direction in ((rising, -1), (falling, 1)):
        rows, columns = ink(image, COLORS[0])
        assert np.corrcoef(rows, columns)[0, 1] * direction > 0.99


def test_missing_values_leave_a_gap():
    whole = plot_lines([Panel("a", {"line": [1.0] * 9})], range(1, 10))
    broken = plot_lines(
        [Panel("a", {"line": [1.0, 1.0, 1.0, math.nan, math.nan, math.nan, 1.0, 1.0, 1.0]})], range(1, 10)
    )
    gaps = [np.diff(np.unique(ink(image, COLORS[0])[1])).max() for image in (whole, broken)]
    assert gaps[0] == 1
    assert gaps[1] > (WIDTH - LEFT - RIGHT) / 3


def test_a_single_step_is_visible():
    assert len(ink(plot_lines([Panel("a", {"line": [2.0]})], [1]), COLORS[0])[0]) > 9


def test_nothing_to_draw_is_said():
    empty = plot_lines([Panel("a", {"line": [math.nan]})], [1])
    told = plot_lines([Panel("a", {"line": [math.nan]}, placeholder="Nothing was measured.")], [1])
    assert np.asarray(empty)[100:200, 300:600].min() > 200
    assert np.asarray(told)[100:200, 300:600].min() < 100


def test_many_lines_have_colours_of_their_own_and_fit():
    names = [f"line {index}" for index in range(30)]
    assert len(set(line_colors(30))) == 30
    image = plot_lines([Panel("a", {name: [1.0, 1.0] for name in names})], [1, 2])
    last_entry = np.asarray(image)[-60:-36, WIDTH - RIGHT :]
    assert last_entry.min() < 200


def test_a_colour_is_that_of_one_label_in_all_panels():
    level = [1.0, 1.0]
    panels = [Panel("a", {"one": level, "two": level}), Panel("b", {"two": level}), Panel("c", {"three": level})]
    heights = np.cumsum([0, *(plot_lines([panel], [1, 2]).height for panel in panels)])
    image = plot_lines(panels, [1, 2])
    for color, expected in zip(COLORS, ({0}, {0, 1}, {2}, set()), strict=False):
        legend = np.asarray(image).astype(int)[:, WIDTH - RIGHT :]
        rows = np.nonzero(np.abs(legend - color).sum(-1) < 40)[0]
        assert {int(np.searchsorted(heights, row, "right")) - 1 for row in rows} == expected


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("steps", [2, 60])
def test_a_line_about_others_has_their_colours_in_turn_and_no_other(count, steps):
    level, names = [math.nan] * steps, [f"line {place}" for place in range(count)]
    shared = Panel("b", {"all": [1.0] * steps}, shared={"all": names})
    image = plot_lines([Panel("a", dict.fromkeys(names, level)), shared], range(steps))
    shares = [len(set(ink(image, color)[1].tolist())) / (WIDTH - LEFT - RIGHT) for color in COLORS[: count + 1]]
    assert min(shares[:count]) > 0.7 / count
    assert shares[count] == 0


def test_a_long_label_is_shortened_within_the_picture():
    image = np.asarray(plot_lines([Panel("a", {"a name that goes on and on " * 9: [1.0]})], [1]))
    assert image[:, -4:].min() > 200
