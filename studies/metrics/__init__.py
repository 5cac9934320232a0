"""Measures of pictures, of their content, and of sets of pictures, each with its source.

Pictures are uint8, (N, H, W, 3), maps boolean. A measure of one picture returns a value per picture, and `Figure.of`
their mean with its bootstrap interval; the Fréchet distance measures whole sets. studies/metrics.md says what each is
for.
"""

from .accuracy import right_answers
from .bootstrap import Figure, bootstrap_interval, pivotal_figure
from .cleanness import flat_noise, high_frequency_energy
from .features import DrawingFeatures, FeatureNetwork, PictureFeatures, drawing_features, feature_vectors
from .frechet import frechet_distance, frechet_figure
from .perceptual import perceptual_distance
from .pictures import shrunk
from .resnet import resnet_features
from .segmentation import boundary_f1, f1_score, intersection_over_union, widened
from .similarity import structural_similarity
from .stripes import flat_pixels, stripes

__all__ = [
    "DrawingFeatures",
    "FeatureNetwork",
    "Figure",
    "PictureFeatures",
    "bootstrap_interval",
    "boundary_f1",
    "drawing_features",
    "f1_score",
    "feature_vectors",
    "flat_noise",
    "flat_pixels",
    "frechet_distance",
    "frechet_figure",
    "high_frequency_energy",
    "intersection_over_union",
    "perceptual_distance",
    "pivotal_figure",
    "resnet_features",
    "right_answers",
    "shrunk",
    "stripes",
    "structural_similarity",
    "widened",
]
