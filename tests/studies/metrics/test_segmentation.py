"""Overlaps of maps against values known in closed form."""

import numpy as np
import pytest

from studies.metrics import boundary_f1, f1_score, intersection_over_union

LEFT = np.array([[1, 1, 1, 0]], dtype=bool)
RIGHT = np.array([[0, 1, 1, 1]], dtype=bool)
NOTHING = np.zeros((1, 4), dtype=bool)


@pytest.mark.parametrize(
    ("one", "other", "iou", "f1"),
    [
        (LEFT, LEFT, 1, 1),
        (LEFT, RIGHT, 2 / 4, 4 / 6),
        (LEFT, ~LEFT, 0, 0),
        (NOTHING, NOTHING, 1, 1),
        (LEFT, NOTHING, 0, 0),
    ],
)
def test_overlaps(one, other, iou, f1):
    assert intersection_over_union(one, other) == pytest.approx(iou)
    assert f1_score(one, other) == pytest.approx(f1)
    assert intersection_over_union(other, one) == pytest.approx(iou)


def test_an_edge_counts_as_found_one_pixel_away():
    line, nothing = np.zeros((8, 8), dtype=bool), np.zeros((8, 8), dtype=bool)
    line[:, 2] = True
    assert boundary_f1(line, line) == 1
    assert boundary_f1(np.roll(line, 1, axis=1), line) == 1
    assert boundary_f1(np.roll(line, 2, axis=1), line) == 0
    half = line.copy()
    half[4:] = False
    # Of the other half of the line, the pixel beside the end is near enough: recall 5/8.
    assert boundary_f1(half, line) == pytest.approx(2 * (5 / 8) / (1 + 5 / 8))
    assert boundary_f1(np.roll(line, 2, axis=1), line, tolerance=2) == 1
    assert boundary_f1(np.roll(line, 3, axis=1), line, tolerance=2) == 0
    assert boundary_f1(nothing, nothing) == 1
    assert boundary_f1(nothing, line) == boundary_f1(line, nothing) == 0
