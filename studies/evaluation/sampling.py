"""Samples of held-out conditions, in parallel processes, each batch written once so that a run can be resumed."""

import functools
import hashlib
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mcdm_core.checkpoints import load_expert, read_metadata
from mcdm_core.checkpoints.vae_of import find_vae_of
from mcdm_core.conditions.reading.maps import read_map
from mcdm_core.expert.condition import Condition
from mcdm_core.expert.expert import Expert
from mcdm_core.pictures.files import as_bytes
from mcdm_core.product.eq10 import EQ10
from mcdm_core.product.own_null import OWN_NULL
from mcdm_core.product.term import Term
from mcdm_core.sampling import sample_product
from mcdm_core.system.formats import write_array
from mcdm_core.system.writer import make_folder

from ..baselines import load_gan
from ..data.faces import DRAWING_VERSION
from .config import DataConfig, Setting, TermConfig
from .faces import MAPS
from .held_out import HeldOut
from .kinds import open_held_out

BATCH = 20
VERSION = 1  # counts changes to how samples are drawn: those drawn before one are not used after it
_NOISE_SEED = 1_000_000  # of the noise that ancestral sampling adds; apart from the start noise
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
    """

    setting: Setting
    data: DataConfig
    experts: Mapping[str, Path]
    indices: range
    path: Path


Drawer = Callable[[Sequence[Job]], Iterable[None]]
"""Draws batches and writes each; gives something for each that is done."""


def draw_samples(
    setting: Setting, data: DataConfig, experts: Mapping[str, Path], count: int, out: Path, workers: int | Drawer
) -> np.ndarray:
    """Sample a setting, or read what an earlier run has left.

    Args:
        setting: What to sample.
        data: Held-out pictures that the conditions are taken from.
        experts: Name → file.
        count: Number of samples.
        out: Folder for the samples.
        workers: Processes, each on one thread; or who draws in their place.

    Returns:
        uint8, (count, H, W, 3).
    """
    make_folder(out)
    key = sample_key(setting, data, experts)
    jobs = [Job(setting, data, experts, b, out / f"{key}_{b.start:05d}_{len(b)}.npy") for b in batches_of(count)]
    missing = [job for job in jobs if not job.path.exists()]
    if missing:
        done = _in_processes(missing, workers) if isinstance(workers, int) else workers(missing)
        list(tqdm(done, total=len(missing), desc=setting.label, unit="batch"))
    return np.concatenate([np.load(job.path) for job in jobs])


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[None]:
    # A forked child inherits the parent's thread pools, which torch cannot use there: spawn.
    context = torch.multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _end_at_ctrl_c) as pool:
        yield from pool.map(_run, jobs)


def _end_at_ctrl_c() -> None:
    """Let Ctrl-C, which reaches all processes, end this one without a traceback; the first process says what became."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def batches_of(count: int) -> list[range]:
    """Indices of the pictures that are sampled together."""
    return [range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]


def sample_key(setting: Setting, data: DataConfig, experts: Mapping[str, Path]) -> str:
    """Names the samples on disk: changes with whatever decides them, also in the experts' files and the folder."""
    decisive = replace(setting, name="", count=0, vary="", values=(), value=None)
    pictures = replace(data, path="", features="", count=data.count if any(term.shift for term in setting.terms) else 0)
    versions = (VERSION, DRAWING_VERSION, BATCH)
    digest = hashlib.sha256(f"{decisive!r} {pictures!r} {versions!r}".encode())
    if data.path:
        digest.update(_digest_of_folder(Path(data.path)))
    for term in setting.terms:
        digest.update(_digest(experts[term.expert]))
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
    write_array(job.path, drawn(job))


def drawn(job: Job) -> np.ndarray:
    """The samples of a batch, on one thread, so that they are the same to the bit in any process.

    Returns:
        uint8, (B, H, W, 3).
    """
    torch.set_num_threads(1)
    held_out = open_held_out(job.data)
    sample = _sample_gan if job.setting.rule == "gan" else _sample_experts
    samples = sample(job, held_out)
    return as_bytes(samples).permute(0, 2, 3, 1).numpy()


def _sample_experts(job: Job, held_out: HeldOut) -> Tensor:
    terms = terms_of(job.setting, job.experts, held_out, job.indices)
    noise = start_noise(terms[0].expert, job.indices)
    generator = _generator(_NOISE_SEED + job.indices.start)
    rule = RULES[job.setting.rule]
    with torch.autocast("cpu", torch.bfloat16, enabled=job.setting.autocast):
        samples = sample_product(
            terms,
            noise,
            str(job.setting.steps),
            eta=job.setting.eta,
            generator=generator,
            rule=rule,
            passes=job.setting.passes,
        )
    return terms[0].expert.decode(samples)


def terms_of(setting: Setting, experts: Mapping[str, Path], held_out: HeldOut, indices: range) -> list[Term]:
    """The experts of a setting, with what they are told of the pictures of these indices."""
    terms = []
    for term in setting.terms:
        expert = _expert(experts[term.expert], setting.autocast)
        condition = condition_of(term, expert, held_out, indices)
        null = expert.encoder.null(len(indices)) if condition is None else expert.encoder.null_like(condition)
        terms.append(Term(expert, condition, null, **term.numbers))
    return terms


def start_noise(expert: Expert, indices: range) -> Tensor:
    """Standard normal noise for this expert's samples, of one seed each; (B, C, H, W)."""
    return torch.stack([torch.randn(expert.sample_shape, generator=_generator(i)) for i in indices])


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
def _expert(path: Path, autocast: bool) -> Expert:
    expert = load_expert(path)
    expert.network.float()  # half precision is slow on most processors, and bfloat16 is what autocast makes of float32
    if autocast:
        expert.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return expert


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
