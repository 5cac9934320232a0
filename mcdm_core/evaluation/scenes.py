"""The scenes: an expert of animals and one of landscapes, united across two noise schedules (paper §4.2 and §7.2)."""

import argparse
import hashlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..checkpoints import load_expert
from ..data.animals import ANIMALS
from ..data.landscape_captions import landscape_caption
from ..data.landscapes import ATTRIBUTES, draw_landscape
from ..sampling import sample_product
from ..terms import Term
from .animals import AnimalReader
from .faces import Figure
from .landscape_parser import parse_landscape

TEST_SEED = 35_000_000
VALIDATION_SEED = 36_000_000  # weights are chosen on these
CLASS_EXPERT, TEXT_EXPERT = "animals", "landscapes"
SCENE_WEIGHTS = (2.0, 3.0, 5.0)
BATCH = 20

Table = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Scene:
    """What a picture is asked to show.

    Attributes:
        animal: One of `ANIMALS`.
        attributes: Value of each attribute of the landscape.
        caption: Names all of them.
    """

    animal: str
    attributes: dict[str, str]
    caption: str


@dataclass(frozen=True)
class SceneSetting:
    """How a set of samples is made.

    Attributes:
        name: Shown in tables.
        weights: Expert name → w.
        reliability: a of the class expert; the text expert has the rest.
        first_seed: First of the held-out scenes.
        count: Number of samples.
        steps: DDIM steps.
        eta: η of DDIM.
    """

    name: str
    weights: dict[str, float]
    reliability: float
    first_seed: int
    count: int
    steps: int
    eta: float

    def key(self, experts: Path) -> str:
        """Names the samples on disk: changes with the setting and with the experts' files."""
        digest = hashlib.sha256(repr(replace(self, name="")).encode())
        for name in sorted(self.weights):
            digest.update((experts / f"{name}.safetensors").read_bytes())
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class _Job:
    setting: SceneSetting
    start: int
    experts: Path
    path: Path


def held_out_scene(seed: int) -> Scene:
    """The scene of a seed; consecutive seeds go through the animals."""
    rng = np.random.default_rng(seed)
    attributes = draw_landscape(rng).attributes
    return Scene(ANIMALS[seed % len(ANIMALS)], attributes, landscape_caption(attributes, rng, list(ATTRIBUTES)))


def scenes(arguments: argparse.Namespace) -> Table:
    """Animal and landscape united, each expert alone, and three reliabilities."""
    w, reader = arguments.scene_weight, AnimalReader()  # read first: a missing one is told before sampling
    both = {CLASS_EXPERT: w, TEXT_EXPERT: w}
    settings = [
        _setting(arguments, f"united, w = {w:g}, a = 1/2", both, 0.5),
        _setting(arguments, f"class expert alone, w = {w:g}", {CLASS_EXPERT: w}, 1.0),
        _setting(arguments, f"text expert alone, w = {w:g}", {TEXT_EXPERT: w}, 0.0),
        _setting(arguments, f"united, w = {w:g}, a = 0 for the class expert", both, 0.0),
        _setting(arguments, f"united, w = {w:g}, a = 1 for the class expert", both, 1.0),
    ]
    return {setting.name: _measured(arguments, setting, reader) for setting in settings}


def choose_scene_weight(arguments: argparse.Namespace) -> Table:
    """The united experts at several w, on validation scenes."""
    reader = AnimalReader()
    settings = [
        replace(_setting(arguments, f"w = {w:g}", {CLASS_EXPERT: w, TEXT_EXPERT: w}, 0.5), first_seed=VALIDATION_SEED)
        for w in SCENE_WEIGHTS
    ]
    return {setting.name: _measured(arguments, setting, reader) for setting in settings}


def measure_scenes(images: np.ndarray, asked: list[Scene], reader: AnimalReader) -> dict[str, Figure]:
    """Share of pictures with the animal asked for, with each attribute of the landscape, and the mean of these.

    Args:
        images: uint8 samples, (N, H, W, 3).
        asked: What each was asked to show.
        reader: Reads animals.
    """
    read = reader.read(images)
    parsed = [parse_landscape(image) for image in images]
    figures = {"animal": Figure.of([float(a == scene.animal) for a, scene in zip(read, asked, strict=True)])}
    right = {
        name: [float(p[name] == scene.attributes[name]) for p, scene in zip(parsed, asked, strict=True)]
        for name in ATTRIBUTES
    }
    means = np.mean(list(right.values()), axis=0).tolist()
    return figures | {name: Figure.of(values) for name, values in right.items()} | {"landscape": Figure.of(means)}


def _setting(arguments: argparse.Namespace, name: str, weights: dict[str, float], reliability: float) -> SceneSetting:
    return SceneSetting(name, weights, reliability, TEST_SEED, arguments.count, arguments.steps, arguments.eta)


def _measured(arguments: argparse.Namespace, setting: SceneSetting, reader: AnimalReader) -> dict[str, str]:
    images = _draw_samples(setting, arguments.experts, arguments.out / "samples", arguments.workers)
    asked = [held_out_scene(setting.first_seed + i) for i in range(setting.count)]
    return {name: str(figure) for name, figure in measure_scenes(images, asked, reader).items()}


def _draw_samples(setting: SceneSetting, experts: Path, out: Path, workers: int) -> np.ndarray:
    out.mkdir(parents=True, exist_ok=True)
    key = setting.key(experts)
    starts = range(0, setting.count, BATCH)
    jobs = [_Job(setting, start, experts, out / f"{key}_{start:05d}.npy") for start in starts]
    missing = [job for job in jobs if not job.path.exists()]
    if missing:
        # A forked child inherits the parent's thread pools, which torch cannot use there: spawn.
        context = torch.multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            list(tqdm(pool.map(_run, missing), total=len(missing), desc=setting.name, unit="batch"))
    return np.concatenate([np.load(job.path) for job in jobs])[: setting.count]


def _run(job: _Job) -> None:
    torch.set_num_threads(1)
    setting = job.setting
    indices = range(job.start, min(job.start + BATCH, setting.count))
    asked = [held_out_scene(setting.first_seed + i) for i in indices]
    terms = []
    for name, weight in setting.weights.items():
        expert = load_expert(job.experts / f"{name}.safetensors")
        if name == CLASS_EXPERT:
            condition = expert.encoder.encode_class([1 + ANIMALS.index(scene.animal) for scene in asked])
        else:
            condition = expert.encoder.encode_text([scene.caption for scene in asked])
        share = setting.reliability if name == CLASS_EXPERT else 1 - setting.reliability
        terms.append(Term(expert, condition, expert.encoder.null(len(asked)), weight, share))
    size = terms[0].expert.image_size
    noise = torch.stack([torch.randn(3, size, size, generator=torch.Generator().manual_seed(i)) for i in indices])
    generator = torch.Generator().manual_seed(1_000_000 + job.start)  # apart from the start noise
    samples = sample_product(terms, noise, str(setting.steps), setting.eta, generator)
    partial = job.path.with_suffix(".partial.npy")
    np.save(partial, ((samples + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    partial.replace(job.path)
