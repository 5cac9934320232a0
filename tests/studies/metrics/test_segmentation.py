"""Overlaps of maps against values known in closed form."""

import numpy as np
import pytest

from studies.metrics import boundary_f1, f1_score, intersection_over_union, mean_f1, mean_iou

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


def test_mean_over_classes_counts_those_that_either_map_has():
    labels, parsed = np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]])
    classes = np.arange(3)[:, None, None]  # none of them shows class 2
    assert mean_iou(parsed == classes, labels == classes) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert mean_f1(parsed == classes, labels == classes) == pytest.approx((2 / 3 + 4 / 5) / 2)
    beside = np.array([[0, 1, 1, 2]])  # a class that only one map has counts, and is missed
    assert mean_iou(beside == classes, labels == classes) == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    assert mean_iou(nothing := np.zeros((2, 4, 4), dtype=bool), nothing) == 1


@pytest.mark.parametrize("measure", [mean_iou, mean_f1])
def test_classes_have_to_be_stacked_boolean_maps(measure):
    maps = np.zeros((2, 4, 4), dtype=bool)
    for wrong in (maps[0], maps[:1], maps.astype(int)):
        with pytest.raises(ValueError, match=r"boolean, .*stack one map a class"):
            measure(wrong, maps)
