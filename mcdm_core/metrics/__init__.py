"""Measures of pictures, of what they show, and of sets of them, each beside its source.

Pictures are uint8, (N, H, W, 3), maps boolean. A measure of one picture gives a value a picture, and `Figure.of` their
mean with its bootstrap interval.
"""

from .accuracy import attribute_accuracy, class_accuracy
from .bootstrap import Figure, bootstrap_interval, pivotal_figure
from .cleanness import flat_noise, high_frequency_energy
from .segmentation import boundary_f1, f1_score, intersection_over_union, mean_f1, mean_iou

__all__ = [
    "Figure",
    "attribute_accuracy",
    "bootstrap_interval",
    "boundary_f1",
    "class_accuracy",
    "f1_score",
    "flat_noise",
    "high_frequency_energy",
    "intersection_over_union",
    "mean_f1",
    "mean_iou",
    "pivotal_figure",
]
