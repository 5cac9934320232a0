"""One evaluation: samples every setting, measures the pictures, and writes the results."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mcdm_core.checkpoints import read_metadata

from ..baselines import load_gan
from ..metrics import Figure, feature_vectors, frechet_figure
from ..vaes import vae_of
from .config import EvaluationConfig, Setting
from .decoded import decoded
from .held_out import HeldOut
from .jobs import Samples
from .kinds import open_held_out
from .methods import RUN
from .predictions import PREDICTIONS, measure_predictions
from .report import Report
from .row import DECODED, REAL, Row, figure_of
from .rows import PER_PICTURE, ROWS, units
from .sampling import Drawer, draw_samples
from .telling_apart import TELLING_APART, telling_apart

log = logging.getLogger(__name__)

FRECHET = "Fréchet distance"
LIKENESS = "likeness"
_OF_ALL_KINDS = (LIKENESS, PREDICTIONS, ROWS, TELLING_APART)  # groups that any pictures have
FEWEST = 3  # pictures per feature; with fewer, the distance says little (studies/metrics.md)


class Evaluation:
    """Samples and measures settings of one configuration.

    Args:
        config: The evaluation.
        out: Folder for the results.
        samples: Folder for the samples; existing ones are reused, also those of other evaluations.
        workers: Number of processes, or a `Drawer` instead.

    Raises:
        ValueError: The pictures don't have the configured measures, or cannot be drawn or read.
    """

    def __init__(self, config: EvaluationConfig, out: Path, samples: Path, workers: int | Drawer):
        self.config, self.out, self.samples, self.workers = config, out, samples, workers
        self.held_out: HeldOut = open_held_out(config.data)
        groups = config.measures or self.held_out.measures
        known = (*self.held_out.measures, *_OF_ALL_KINDS)
        if unknown := [name for name in groups if name not in known]:
            raise ValueError(
                f"There is no measure {unknown[0]!r} of {config.data.kind}; choose among {', '.join(known)}."
            )
        if LIKENESS in groups and not config.against:
            raise ValueError(
                f"Expected `against` beside the measure {LIKENESS!r}, the row whose pictures all others are compared "
                "with, and found none; name one, or leave the measure out."
            )
        check_experts(config)
        for name in {term.masking_map for setting in config.settings for term in setting.terms if term.mask}:
            self.held_out.map_of(name, [0])  # refuses unknown maps
        terms = [term for setting in config.settings if setting.rule != "gan" for term in setting.terms]
        # That of the first expert that makes latents, if there is one; its losses are a ceiling for samples.
        self._vae = next(filter(None, (vae_of(config.experts[term.expert]) for term in terms)), None)
        self.groups = groups
        self._compared: np.ndarray | None = None

    def run(self) -> Path:
        """Run the evaluation; returns the table's file.

        Raises:
            ValueError: A setting chooses by a measure that the pictures themselves don't have.
        """
        real = self._measured(REAL, None, self.held_out.images)
        named = [s.choose.by for s in self.config.settings if s.choose and s.choose.by_reader]
        if unknown := [name for name in named if name not in real.values]:
            raise ValueError(
                f"There is no measure {unknown[0]!r} to choose by; name one of {', '.join([RUN, *real.values])}."
            )
        rows = [real]
        if self._vae:
            rows.append(self._measured(DECODED, None, self._reachable))
        for row in self.config.rows:
            rows.append(self._measured(row.label, row, *self._samples_of(row)))
            log.info("%s: %s", row.label, ", ".join(f"{n} {f}" for n, f in rows[-1].figures.items()))
        return Report(self.config, self.held_out, rows).write(self.out)

    @functools.cached_property
    def _reachable(self) -> np.ndarray:
        """What perfect experts would draw: the pictures, as far as the VAE keeps them."""
        return decoded(self.held_out.images, self._vae) if self._vae else self.held_out.images

    @functools.cached_property
    def _base(self) -> np.ndarray:
        """The pictures of the row that others are compared with."""
        (row,) = [row for row in self.config.rows if row.label == self.config.against]
        return self._samples_of(row).images

    def _samples_of(self, row: Setting) -> Samples:
        count = min(row.count or len(self.held_out), len(self.held_out))
        return self._best(row, count) if row.choose and row.choose.by_reader else self._drawn(row, count)

    def _drawn(self, setting: Setting, count: int) -> Samples:
        counted = ROWS in self.groups
        return draw_samples(setting, self.config.data, self.config.files, count, self.samples, self.workers, counted)

    def _best(self, setting: Setting, count: int) -> Samples:
        """The best of several candidates for each picture by a measure; its rows are those of all candidates."""
        assert setting.choose
        settings = [replace(setting, choose=None, candidate=candidate) for candidate in range(setting.choose.of)]
        candidates = [self._drawn(each, count) for each in settings]
        read = [name for name in self.groups if name in self.held_out.read]
        values = [self._values_of(read, setting, each.images) for each in candidates]
        by = setting.choose.by
        if by not in values[0]:
            raise ValueError(
                f"{setting.name!r} chooses by {by!r}, which its conditions do not ask for; choose by another measure."
            )
        measured = [of_candidate[by] for of_candidate in values]
        best = np.nan_to_num(np.stack(measured), nan=-np.inf).argmax(axis=0)
        images = np.stack([candidates[candidate].images[i] for i, candidate in enumerate(best)])
        return Samples(images, np.sum([samples.rows for samples in candidates], axis=0))

    def _measured(self, label: str, setting: Setting | None, images: np.ndarray, rows: np.ndarray | None = None) -> Row:
        groups = [name for name in self.groups if label != REAL or name in self.held_out.read]
        values = self._values_of(groups, setting, images)
        if ROWS in self.groups and rows is not None:
            values[PER_PICTURE] = rows
        if LIKENESS in groups and setting and label != self.config.against:
            values |= self.held_out.likeness(images, self._base)
        found = {name: figure_of(each, units(name, len(images), setting)) for name, each in values.items()}
        figures = {name: figure for name, figure in found.items() if figure}
        if "frechet" in groups and (figure := self._frechet(images)):
            figures[FRECHET] = figure
        if TELLING_APART in groups and setting:
            figures[TELLING_APART] = telling_apart(self._reachable, images)
        return Row(label, setting, images, values, figures)

    def _values_of(self, groups: Sequence[str], setting: Setting | None, images: np.ndarray) -> dict[str, np.ndarray]:
        """Measure → its value for each picture, for these groups."""
        values: dict[str, np.ndarray] = {}
        for group in groups:
            if setting and group == PREDICTIONS:
                values |= measure_predictions(setting, self.config.files, self.held_out, len(images))
            elif group not in ("frechet", *_OF_ALL_KINDS):
                values |= self.held_out.measure(group, images, setting)
        return values

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
    """Refuse experts that are missing, and first ones whose pictures have another size, before anything is sampled.

    Raises:
        ValueError: One sentence says which and what to do.
    """
    for name in {name: None for setting in config.settings for term in setting.terms for name in term.lora}:
        if not config.loras[name].is_file():
            raise ValueError(
                f"Expected the LoRA {name!r} at {config.loras[name]} and found no file; train it, or correct [loras]."
            )
    size = config.data.image_size
    gans = {term.expert for setting in config.settings if setting.rule == "gan" for term in setting.terms}
    for name in {term.expert: None for setting in config.settings for term in setting.terms}:
        path = config.experts[name]
        if not path.is_file():
            raise ValueError(
                f"Expected the expert {name!r} at {path} and found no file; train or download it, or correct [experts]."
            )
    for name in {setting.terms[0].expert: None for setting in config.settings}:  # the others follow the first
        path = config.experts[name]
        own = load_gan(path).config.image_size if name in gans else read_metadata(path).image_size
        if own != size:
            raise ValueError(
                f"The expert {name!r} draws pictures of {own} pixels and [data] has pictures of {size}; set image_size "
                "to that of each setting's first expert."
            )
