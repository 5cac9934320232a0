"""The caption score is a cosine."""

import numpy as np
import pytest

from studies.metrics import caption_score


def test_known_angles():
    pictures = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, -3.0], [0.0, 0.0]])
    captions = np.array([[5.0, 0.0], [0.5, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert caption_score(pictures, captions) == pytest.approx([1.0, np.sqrt(0.5), -1.0, np.nan], nan_ok=True)


def test_pictures_without_captions_are_refused():
    with pytest.raises(ValueError, match=r"got \(2, 4\) and \(3, 4\); pair them"):
        caption_score(np.ones((2, 4)), np.ones((3, 4)))
