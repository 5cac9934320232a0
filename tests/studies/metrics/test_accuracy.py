"""Accuracies of a handful of pictures."""

import pytest

from studies.metrics import attribute_accuracy, bootstrap_interval, class_accuracy


def test_class_accuracy_is_the_share_that_is_right():
    figure = class_accuracy(["fox", "owl", "cat", "owl"], ["fox", "owl", "owl", "owl"])
    assert figure.value == 0.75
    assert (figure.low, figure.high) == bootstrap_interval([1, 1, 0, 1])


def test_attributes_and_their_mean():
    asked = [{"sky": "red", "orb": "sun", "hills": "blue"}, {"sky": "dark", "orb": "moon", "hills": "blue"}]
    read = {"sky": ["red", "red"], "orb": ["sun", "moon"]}
    figures = attribute_accuracy(read, asked, "landscape")
    assert {name: figure.value for name, figure in figures.items()} == {"sky": 0.5, "orb": 1, "landscape": 0.75}
    assert (figures["landscape"].low, figures["landscape"].high) == (0.5, 1)  # over pictures: 1 and 1/2


def test_what_was_not_asked_cannot_be_right():
    with pytest.raises(ValueError, match="got 1 and 2"):
        class_accuracy(["fox"], ["fox", "owl"])
    with pytest.raises(ValueError, match="got 0 and 0"):
        class_accuracy([], [])
    with pytest.raises(ValueError, match="an attribute or more"):
        attribute_accuracy({}, [{"sky": "red"}], "mean")
