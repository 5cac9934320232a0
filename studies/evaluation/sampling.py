"""Samples of held-out conditions, in parallel processes, each batch written once so that a run can be resumed."""

import functools
import hashlib
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from mcdm_core.checkpoints import load_expert, read_metadata
from mcdm_core.checkpoints.lora import with_lora
from mcdm_core.checkpoints.vae_of import find_vae_of
from mcdm_core.conditions.reading.maps import read_map
from mcdm_core.expert.condition import Condition
from mcdm_core.expert.expert import Expert
from mcdm_core.pictures.files import as_bytes
from mcdm_core.product.eq10 import EQ10
from mcdm_core.product.own_null import OWN_NULL
from mcdm_core.product.term import Term
from mcdm_core.sampling import sample_product
from mcdm_core.sampling.choose import choose, measure_lifts
from mcdm_core.sampling.ddim import sample_ddim
from mcdm_core.sampling.langevin import sample_langevin
from mcdm_core.sampling.particles import sample_particles
from mcdm_core.sampling.types import Sampler
from mcdm_core.system.formats import write_array
from mcdm_core.system.writer import make_folder

from ..baselines import load_gan
from ..data.faces import DRAWING_VERSION
from .config import BATCH, DataConfig, Setting, TermConfig
from .faces import MAPS
from .held_out import HeldOut
from .kinds import open_held_out
from .methods import LIFTS
from .rows import count_rows

VERSION = 1  # counts changes to how samples are drawn: those drawn before one are not used after it
_NOISE_SEED = 1_000_000  # of the noise that ancestral sampling adds; apart from the start noise
_LIFT_SEED = 900_000  # of the noise that candidates are compared under
_NEXT_CANDIDATE = 10_000_000  # seeds between two candidates of a picture
_NOT = "not "  # before the name of a map that a mask leaves out
RULES = {"product": EQ10, "own-null": OWN_NULL}


@dataclass(frozen=True)
class Job:
    """One batch.

    Attributes:
        setting: What is sampled.
        data: Held-out pictures.
        experts: Name → file.
        indices: Of the pictures.
        path: Where the samples are kept.
        counted: Whether their rows are kept as well.
    """

    setting: Setting
    data: DataConfig
    experts: Mapping[str, Path]
    indices: range
    path: Path
    counted: bool

    @property
    def rows_path(self) -> Path:
        """Where the rows that networks were asked lie, beside the pictures."""
        return self.path.with_suffix(".rows.npy")

    @property
    def is_done(self) -> bool:
        """Whether all that it writes is there."""
        return self.path.exists() and (not self.counted or self.rows_path.exists())


class Samples(NamedTuple):
    """What was sampled.

    Attributes:
        images: uint8, (B, H, W, 3).
        rows: Rows that networks were asked for each picture, (B,); NaN where they were not counted, as for GANs.
    """

    images: np.ndarray
    rows: np.ndarray


Drawer = Callable[[Sequence[Job]], Iterable[None]]
"""Draws batches and writes each; gives something for each that is done."""


def draw_samples(
    setting: Setting, data: DataConfig, experts: Mapping[str, Path], count: int, out: Path, workers: int | Drawer
) -> np.ndarray:
    """As `draw_counted`, the pictures alone, also those of which no rows were counted; uint8, (count, H, W, 3)."""
    return _draw(setting, data, experts, count, out, workers, counted=False).images


def draw_counted(
    setting: Setting, data: DataConfig, experts: Mapping[str, Path], count: int, out: Path, workers: int | Drawer
) -> Samples:
    """Sample a setting, or read what an earlier run has left.

    Args:
        setting: What to sample.
        data: Held-out pictures that the conditions are taken from.
        experts: Name → file, of LoRAs as well.
        count: Number of samples.
        out: Folder for the samples.
        workers: Processes, each on one thread; or who draws in their place.

    Returns:
        Pictures and rows; those of which an earlier run has counted no rows are drawn again.
    """
    return _draw(setting, data, experts, count, out, workers, counted=setting.rule != "gan")


def _draw(
    setting: Setting,
    data: DataConfig,
    experts: Mapping[str, Path],
    count: int,
    out: Path,
    workers: int | Drawer,
    counted: bool,
) -> Samples:
    make_folder(out)
    key = sample_key(setting, data, experts)
    paths = {batch: out / f"{key}_{batch.start:05d}_{len(batch)}.npy" for batch in batches_of(count)}
    jobs = [Job(setting, data, experts, batch, path, counted) for batch, path in paths.items()]
    missing = [job for job in jobs if not job.is_done]
    if missing:
        done = _in_processes(missing, workers) if isinstance(workers, int) else workers(missing)
        list(tqdm(done, total=len(missing), desc=setting.label, unit="batch"))
    images = np.concatenate([np.load(job.path) for job in jobs])
    rows = np.concatenate([np.load(job.rows_path) for job in jobs]) if counted else np.full(count, np.nan)
    return Samples(images, rows)


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[None]:
    # A forked child inherits the parent's thread pools, which torch cannot use there: spawn.
    context = torch.multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _end_at_ctrl_c) as pool:
        yield from pool.map(_run, jobs)


def _end_at_ctrl_c() -> None:
    """Let Ctrl-C, which reaches all processes, end this one without a traceback; the first process says what became."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def batches_of(count: int) -> list[range]:
    """Indices of the pictures of each file."""
    return _parts_of(range(count), BATCH)


def _parts_of(indices: range, size: int) -> list[range]:
    return [range(start, min(start + size, indices.stop)) for start in range(indices.start, indices.stop, size)]


def sample_key(setting: Setting, data: DataConfig, experts: Mapping[str, Path]) -> str:
    """Names the samples on disk: changes with whatever decides them, also in the experts' files and the folder."""
    decisive = replace(setting, name="", count=0, vary="", values=(), value=None)
    pictures = replace(data, path="", features="", count=data.count if any(term.shift for term in setting.terms) else 0)
    versions = (VERSION, DRAWING_VERSION, BATCH)
    digest = hashlib.sha256(f"{decisive!r} {pictures!r} {versions!r}".encode())
    if setting.added:
        digest.update(repr(setting.added).encode())
    if data.path:
        digest.update(_digest_of_folder(Path(data.path)))
    for term in setting.terms:
        digest.update(_digest(experts[term.expert]))
        if term.lora:
            digest.update(_digest(experts[term.lora]))
    if any(term.lora or term.mask for term in setting.terms):
        digest.update(repr([(bool(term.lora), term.mask) for term in setting.terms]).encode())
    if setting.rule != "gan" and (vae := vae_of(experts[setting.terms[0].expert])):
        digest.update(_digest(vae))
    return digest.hexdigest()[:12]


@functools.cache
def vae_of(path: Path) -> Path | None:
    """The VAE's file of an expert that makes latents; None of one that makes pictures."""
    key = read_metadata(path).vae
    return find_vae_of(path, key) if key else None


@functools.cache
def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@functools.cache
def _digest_of_folder(folder: Path) -> bytes:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.digest()


def _run(job: Job) -> None:
    keep(job, drawn(job))


def keep(job: Job, samples: Samples) -> None:
    """Write what was drawn."""
    if job.counted:  # before the pictures, which say that the job is done where nobody asks for its rows
        write_array(job.rows_path, samples.rows)
    write_array(job.path, samples.images)


def drawn(job: Job) -> Samples:
    """The samples of a batch, on one thread, so that they are the same to the bit in any process."""
    torch.set_num_threads(1)
    held_out = open_held_out(job.data)
    if job.setting.rule == "gan":
        samples, rows = _sample_gan(job, held_out), np.full(len(job.indices), np.nan)
    else:
        parts = _parts_of(job.indices, 1 if job.setting.particles else job.setting.together or BATCH)
        sampled = [_sample_part(job.setting, job.experts, held_out, part) for part in parts]
        samples = torch.cat([pictures for pictures, _ in sampled])
        rows = np.concatenate(
            [np.full(len(part), count / len(part)) for part, (_, count) in zip(parts, sampled, strict=True)]
        )
    return Samples(as_bytes(samples).permute(0, 2, 3, 1).numpy(), rows)


def _sample_part(
    setting: Setting, experts: Mapping[str, Path], held_out: HeldOut, indices: range
) -> tuple[Tensor, int]:
    """Pictures of one batch, and the rows that it took of all networks."""
    terms = terms_of(setting, experts, held_out, indices)
    sample = _sample_plain
    if setting.particles:
        sample = _sample_particle
    elif setting.choose and setting.choose.by == LIFTS:
        sample = _sample_chosen
    with count_rows(terms) as rows, torch.autocast("cpu", torch.bfloat16, enabled=setting.autocast):
        samples = sample(setting, terms, indices)
    return terms[0].expert.decode(samples), rows.count


def _sample_plain(setting: Setting, terms: Sequence[Term], indices: range) -> Tensor:
    noise = start_noise(terms[0].expert, indices, setting.candidate)
    sampler: Sampler = functools.partial(sample_ddim, eta=setting.eta)
    if setting.langevin:
        sampler = functools.partial(sample_langevin, sampler=sampler, **vars(setting.langevin))
    return _sample(setting, terms, noise, indices, sampler)


def _sample_particle(setting: Setting, terms: Sequence[Term], indices: range) -> Tensor:
    """One of the particles of a single picture, each place as often as any other."""
    assert setting.particles
    count = setting.particles.count
    noise = torch.cat([start_noise(terms[0].expert, indices, candidate) for candidate in range(count)])
    options = {name: getattr(setting.particles, name) for name in ("resample_below", "limit")}
    samples = _sample(setting, terms, noise, indices, functools.partial(sample_particles, **options))
    return samples[indices.start % count].unsqueeze(0)


def _sample_chosen(setting: Setting, terms: Sequence[Term], indices: range) -> Tensor:
    """Of several candidates for each picture the one that the experts lift most."""
    assert setting.choose
    candidates, lifts = [], []
    for candidate in range(setting.choose.of):
        candidates.append(_sample_plain(replace(setting, candidate=candidate), terms, indices))
        lifts.append(measure_lifts(terms, candidates[-1], setting.choose.levels, _generator(_LIFT_SEED)))
    best = [int(choose(of_picture, 1)) for of_picture in torch.stack(lifts, dim=1)]
    return torch.stack([candidates[candidate][place] for place, candidate in enumerate(best)])


def _sample(setting: Setting, terms: Sequence[Term], noise: Tensor, indices: range, sampler: Sampler) -> Tensor:
    return sample_product(
        terms,
        noise,
        str(setting.steps),
        sampler=sampler,
        generator=_generator(_NOISE_SEED + indices.start + setting.candidate * _NEXT_CANDIDATE),
        rule=RULES[setting.rule],
        passes=setting.passes,
        agreement=setting.agreement,
    )


def terms_of(setting: Setting, experts: Mapping[str, Path], held_out: HeldOut, indices: range) -> list[Term]:
    """The experts of a setting, with what they are told of the pictures of these indices."""
    terms = []
    for term in setting.terms:
        expert = _expert(experts[term.expert], setting.autocast, experts[term.lora] if term.lora else None)
        condition = condition_of(term, expert, held_out, indices)
        null = expert.encoder.null(len(indices)) if condition is None else expert.encoder.null_like(condition)
        mask = mask_of(term, expert, held_out, indices) if term.mask else None
        terms.append(Term(expert, condition, null, mask=mask, **term.numbers))
    return terms


def mask_of(term: TermConfig, expert: Expert, held_out: HeldOut, indices: range) -> Tensor:
    """How far a term acts at each place of the samples of these indices, 0…1, (B, h, w)."""
    name = term.mask.removeprefix(_NOT)
    covered = held_out.map_of(name, held_out.sources(term.shift, indices))
    covered = F.adaptive_avg_pool2d(covered[:, None], expert.sample_shape[1:])[:, 0]
    return 1 - covered if term.mask.startswith(_NOT) else covered


def start_noise(expert: Expert, indices: range, candidate: int = 0) -> Tensor:
    """Standard normal noise for this expert's samples, of one seed for each candidate of a picture; (B, C, H, W)."""
    seeds = [i + candidate * _NEXT_CANDIDATE for i in indices]
    return torch.stack([torch.randn(expert.sample_shape, generator=_generator(seed)) for seed in seeds])


def _sample_gan(job: Job, held_out: HeldOut) -> Tensor:
    (term,) = job.setting.terms
    gan = load_gan(job.experts[term.expert])
    size = gan.config.image_size
    known = MAPS[: gan.config.map_channels]
    maps = torch.zeros(len(job.indices), gan.config.map_channels, size, size)
    for name in term.condition:
        if name not in known:
            raise ValueError(f"The GAN {term.expert!r} reads {' and '.join(known)} maps, and no {name}; leave it out.")
        sources = held_out.sources(term.shift, job.indices)
        maps[:, known.index(name)] = read_map(held_out.map_of(name, sources), name, size)[:, 0]
    return gan.generate(maps, list(job.indices))


def condition_of(term: TermConfig, expert: Expert, held_out: HeldOut, indices: range) -> Condition | None:
    """What the samples of these indices ask of an expert; maps of one network are merged into one row."""
    if not term.condition:
        return None
    sources = held_out.sources(term.shift, indices)
    conditions = [held_out.encode(name, expert.encoder, sources) for name in term.condition]
    return functools.reduce(expert.encoder.merge, conditions)


@functools.cache
def _expert(path: Path, autocast: bool, lora: Path | None = None) -> Expert:
    expert = load_expert(path)
    if lora is not None:
        expert = with_lora(expert, lora)
    expert.network.float()  # half precision is slow on most processors, and bfloat16 is what autocast makes of float32
    if autocast:
        expert.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return expert


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
