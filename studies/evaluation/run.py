"""One evaluation: sample every setting, measure the pictures, and write what was found."""

import logging
from pathlib import Path

import numpy as np

from mcdm_core.checkpoints import read_metadata

from ..baselines import load_gan
from ..metrics import Figure, feature_vectors, frechet_figure
from .config import EvaluationConfig, Setting
from .decoded import decoded
from .held_out import HeldOut
from .kinds import open_held_out
from .predictions import PREDICTIONS, measure_predictions
from .report import Report
from .row import DECODED, REAL, Row
from .sampling import Drawer, draw_samples, vae_of

log = logging.getLogger(__name__)

FRECHET = "Fréchet distance"
FEWEST = 3  # pictures a feature: with fewer, the distance says little (studies/metrics.md)


class Evaluation:
    """Samples and measures settings of one configuration.

    Args:
        config: The evaluation.
        out: Folder for what is written.
        samples: Folder for the samples; those that it holds are not drawn again, whichever evaluation drew them.
        workers: Processes, or who draws in their place.

    Raises:
        ValueError: The pictures have no such measures, or cannot be drawn or read.
    """

    def __init__(self, config: EvaluationConfig, out: Path, samples: Path, workers: int | Drawer):
        self.config, self.out, self.samples, self.workers = config, out, samples, workers
        self.held_out: HeldOut = open_held_out(config.data)
        groups = config.measures or self.held_out.measures
        known = (*self.held_out.measures, PREDICTIONS)
        if unknown := [name for name in groups if name not in known]:
            raise ValueError(
                f"There is no measure {unknown[0]!r} of {config.data.kind}; choose among {', '.join(known)}."
            )
        check_experts(config)
        self._vae = find_vae(config)
        self.groups = groups
        self._compared: np.ndarray | None = None

    def run(self) -> Path:
        """Do all of it; returns the table's file."""
        rows = [self._measured(REAL, None, self.held_out.images)]
        if self._vae:
            rows.append(self._measured(DECODED, None, decoded(self.held_out.images, self._vae)))
        for row in self.config.rows:
            count = min(row.count or len(self.held_out), len(self.held_out))
            images = draw_samples(row, self.config.data, self.config.experts, count, self.samples, self.workers)
            rows.append(self._measured(row.label, row, images))
            log.info("%s: %s", row.label, ", ".join(f"{n} {f}" for n, f in rows[-1].figures.items()))
        return Report(self.config, self.held_out, rows).write(self.out)

    def _measured(self, label: str, setting: Setting | None, images: np.ndarray) -> Row:
        groups = [name for name in self.groups if label != REAL or name in self.held_out.read]
        values: dict[str, np.ndarray] = {}
        for group in groups:
            if setting and group == PREDICTIONS:
                values |= measure_predictions(setting, self.config.experts, self.held_out, len(images))
            elif group not in ("frechet", PREDICTIONS):
                values |= self.held_out.measure(group, images, setting)
        figures = {name: figure_of(measured) for name, measured in values.items() if not np.isnan(measured).all()}
        if "frechet" in groups and (figure := self._frechet(images)):
            figures[FRECHET] = figure
        return Row(label, setting, images, values, figures)

    def _frechet(self, images: np.ndarray) -> Figure | None:
        network = self.held_out.features
        vectors = feature_vectors(images, network)
        if len(vectors) < FEWEST * vectors.shape[1]:
            log.warning(
                "%d pictures are too few for a Fréchet distance over %d features, which takes %d times as many.",
                *vectors.shape,
                FEWEST,
            )
            return None
        if self._compared is None:
            self._compared = feature_vectors(self.held_out.compared(), network)
        return frechet_figure(vectors, self._compared)


def check_experts(config: EvaluationConfig) -> None:
    """Refuse experts that are not there or whose pictures have another size, before anything is sampled.

    Raises:
        ValueError: One sentence says which and what to do.
    """
    size = config.data.image_size
    gans = {term.expert for setting in config.settings if setting.rule == "gan" for term in setting.terms}
    for name in {term.expert: None for setting in config.settings for term in setting.terms}:
        path = config.experts[name]
        if not path.is_file():
            raise ValueError(
                f"Expected the expert {name!r} at {path} and found no file; train or download it, or correct [experts]."
            )
        own = load_gan(path).config.image_size if name in gans else read_metadata(path).image_size
        if own != size:
            raise ValueError(
                f"The expert {name!r} draws pictures of {own} pixels and [data] has pictures of {size}; set image_size "
                "to that of the experts, and evaluate experts of one size together."
            )


def find_vae(config: EvaluationConfig) -> Path | None:
    """The VAE of the first expert that makes latents, if there is one: what it loses, samples lose as well."""
    terms = [term for setting in config.settings if setting.rule != "gan" for term in setting.terms]
    return next(filter(None, (vae_of(config.experts[term.expert]) for term in terms)), None)


def figure_of(values: np.ndarray) -> Figure:
    """Mean of the pictures that have a value; one at least."""
    return Figure.of(values[~np.isnan(values)])
