"""Right and wrong answers of a handful of pictures."""

import pytest

from studies.metrics import right_answers


def test_an_answer_is_right_where_it_is_the_one_asked_for():
    assert right_answers(["fox", "owl", "cat", "owl"], ["fox", "owl", "owl", "owl"]).tolist() == [1, 1, 0, 1]


def test_what_was_not_asked_cannot_be_right():
    with pytest.raises(ValueError, match="got 1 and 2"):
        right_answers(["fox"], ["fox", "owl"])
    with pytest.raises(ValueError, match="got 0 and 0"):
        right_answers([], [])
