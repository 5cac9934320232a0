"""Report of a GAN's training on held-out maps: overlap of samples with the maps, and the samples."""

import logging
from pathlib import Path

import numpy as np
from PIL import Image

from mcdm_core.pictures import labelled_grid, map_to_picture, to_picture
from mcdm_core.pictures.files import write_picture
from mcdm_core.training.data.sources import Source
from mcdm_core.training.loop.logs import CsvLog

from ..data.face_parser import parse_face
from ..metrics.segmentation import intersection_over_union
from .adversaries import Adversaries
from .config import GanTrainingConfig

log = logging.getLogger(__name__)

SEEDS = 3  # samples of each condition
_STREAM = 1 << 32  # larger than any step, so that a report never draws the numbers of a training step


class GanReport:
    """Held-out overlap and samples of a run, with the same maps and seeds each time for comparison.

    Args:
        config: The run.
        source: Held-out pictures.
        folder: The run's folder, which gets `held_out.csv` and `samples_STEP.png`.
    """

    def __init__(self, config: GanTrainingConfig, source: Source, folder: Path):
        self.config = config
        self.source = source
        self.folder = folder
        self.log = CsvLog(folder / "held_out.csv", "step", "modality", "iou")

    def write(self, adversaries: Adversaries, step: int) -> None:
        """Measure and sample the generator after `step` steps.

        The measure is the IoU of each map with the map parsed from the sample, averaged over pictures.
        """
        generator = adversaries.generator
        rows: list[list[Image.Image | str]] = []
        for modality in self.config.data.modalities:
            rng = np.random.default_rng((self.config.optimizer.seed, _STREAM))
            x0, condition = self.source.batch(modality, self.config.report.held_out, rng)
            assert condition.maps is not None
            maps = condition.maps.amax(dim=1, keepdim=True)  # only one map is given, the others are 0
            pictures = generator.generate(condition.maps, range(len(x0)))
            parsed = [parse_face(np.asarray(to_picture(picture))) for picture in pictures]
            pairs = zip(parsed, (maps[:, 0] > 0.5).numpy(), strict=True)
            iou = np.mean([intersection_over_union(getattr(face, modality), truth) for face, truth in pairs])
            self.log.add(step, modality, f"{iou:.4f}")
            log.info("%s step %d: IoU of %s %.3f", self.config.name, step, modality, iou)
            shown = self.config.report.samples
            samples = [generator.generate(condition.maps[:shown], [seed] * len(x0[:shown])) for seed in range(SEEDS)]
            rows += [
                [map_to_picture(maps[i]), *(to_picture(column[i]) for column in samples), to_picture(x0[i])]
                for i in range(len(x0[:shown]))
            ]
        if rows:
            columns = ("condition", *(f"seed {seed}" for seed in range(SEEDS)), "held-out\npicture")
            write_picture(self.folder / f"samples_{step:06d}.png", labelled_grid(columns, rows))
