"""Draws one batch of samples of held-out conditions."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mcdm_core.checkpoints import load_expert
from mcdm_core.checkpoints.lora import with_lora
from mcdm_core.conditions.reading.maps import read_map
from mcdm_core.expert.condition import Condition
from mcdm_core.expert.expert import Expert
from mcdm_core.pictures.files import as_bytes
from mcdm_core.product.methods.lift_scores import LiftScores
from mcdm_core.product.rules.eq10 import EQ10
from mcdm_core.product.rules.own_null import OWN_NULL
from mcdm_core.product.terms.term import Term
from mcdm_core.sampling import sample_product
from mcdm_core.sampling.choose import choose
from mcdm_core.sampling.ddim import sample_ddim
from mcdm_core.sampling.logic import sample_logic
from mcdm_core.sampling.types import Sampler

from ..baselines import load_gan
from ..data.faces import MAPS
from ..vaes import vae_of
from .config import NOT, NOTHING, Setting, TermConfig
from .equal_scales import sample_at_equal_scales
from .held_out import HeldOut
from .jobs import Job, Samples, sampled_together
from .kinds import open_held_out
from .rows import count_rows

_NOISE_SEED = 1_000_000  # first seed of the noise that ancestral sampling adds; differs from the start noise's
_NEXT_CANDIDATE = 10_000_000  # difference of seeds between two candidates of a picture
RULES = {"product": EQ10, "own-null": OWN_NULL}


def drawn(job: Job) -> Samples:
    """Draw the samples of a batch, on one thread, so that they are equal to the bit in any process."""
    torch.set_num_threads(1)
    held_out = open_held_out(job.data)
    if job.setting.rule == "gan":
        samples, rows = _sample_gan(job, held_out), np.full(len(job.indices), np.nan)
    else:
        parts = sampled_together(job.setting, job.indices)
        sampled = [_sample_part(job.setting, job.experts, held_out, part) for part in parts]
        samples = torch.cat([pictures for pictures, _ in sampled])
        rows = np.concatenate(
            [np.full(len(part), count / len(part)) for part, (_, count) in zip(parts, sampled, strict=True)]
        )
    return Samples(as_bytes(samples).permute(0, 2, 3, 1).numpy(), rows)


def _sample_part(
    setting: Setting, experts: Mapping[str, Path], held_out: HeldOut, indices: range
) -> tuple[Tensor, int]:
    """Pictures of one batch, and the number of rows that all networks were given for it."""
    terms = terms_of(setting, experts, held_out, indices)
    sample: Callable[[Setting, Sequence[Term], range], Tensor] = _sample_plain
    if setting.choose and not setting.choose.by_reader:
        sample = _sample_chosen
    elif setting.choose:
        raise ValueError(
            f"{setting.name!r} chooses by {setting.choose.by!r}, which is measured once all is sampled; `evaluate` "
            "makes that choice, and a sheet has none."
        )
    with count_rows(terms) as rows, torch.autocast("cpu", torch.bfloat16, enabled=setting.autocast):
        samples = sample(setting, terms, indices)
    return terms[0].expert.decode(samples), rows.count


def _sample_plain(setting: Setting, terms: Sequence[Term], indices: range, *scores: LiftScores) -> Tensor:
    noise = start_noise(terms[0].expert, indices, setting.candidate)
    generator = _generator(_NOISE_SEED + indices.start + setting.candidate * _NEXT_CANDIDATE)
    if setting.equal_scales:
        return sample_at_equal_scales(terms, noise, setting.timesteps, generator, setting.eta)
    sampler: Sampler = functools.partial(sample_ddim, eta=setting.eta)
    if setting.logic:
        sampler = functools.partial(sample_logic, logic=setting.logic)
    return sample_product(
        terms,
        noise,
        setting.timesteps,
        sampler=sampler,
        generator=generator,
        rule=RULES[setting.rule],
        settings=(setting.passes, *scores),
    )


def _sample_chosen(setting: Setting, terms: Sequence[Term], indices: range) -> Tensor:
    """The best of several candidates for each picture, by the experts' lift scores."""
    assert setting.choose
    candidates, scores = [], []
    for candidate in range(setting.choose.of):
        of_run = LiftScores(terms)
        drawn = _sample_plain(replace(setting, candidate=candidate), terms, indices, of_run)
        candidates.append(drawn)
        scores.append(of_run.of(drawn))
    best = [int(choose(of_picture, 1)) for of_picture in torch.stack(scores, dim=1)]
    return torch.stack([candidates[candidate][picture] for picture, candidate in enumerate(best)])


def terms_of(setting: Setting, experts: Mapping[str, Path], held_out: HeldOut, indices: range) -> list[Term]:
    """The experts of a setting, with conditions and masks from the pictures of these indices."""
    terms = []
    for term in setting.terms:
        loras = tuple(experts[name] for name in term.lora)
        expert = _expert(experts[term.expert], setting.autocast, loras, term.strength)
        condition = condition_of(term, expert, held_out, indices)
        null = expert.encoder.null(len(indices)) if condition is None else expert.encoder.null_like(condition)
        mask = mask_of(term, expert, held_out, indices) if term.mask else None
        terms.append(Term(expert, condition, null, mask=mask, **term.numbers))
    return terms


def mask_of(term: TermConfig, expert: Expert, held_out: HeldOut, indices: range) -> Tensor:
    """Mask of a term for the samples of these indices, 0…1, (B, h, w)."""
    covered = held_out.map_of(term.masking_map, held_out.sources(term.shift, indices))
    covered = F.adaptive_avg_pool2d(covered[:, None], expert.sample_shape[1:])[:, 0]
    return 1 - covered if term.mask.startswith(NOT) else covered


def start_noise(expert: Expert, indices: range, candidate: int = 0) -> Tensor:
    """Standard normal noise for this expert's samples, with one seed for each picture and candidate; (B, C, H, W)."""
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
    """Condition of an expert for the samples of these indices; maps of one network are merged into one row."""
    if not term.condition:
        return None
    if term.condition == (NOTHING,):
        return expert.encoder.null(len(indices))
    sources = held_out.sources(term.shift, indices)
    conditions = [held_out.encode(name, expert.encoder, sources) for name in term.condition]
    return functools.reduce(expert.encoder.merge, conditions)


@functools.lru_cache(maxsize=8)  # enough for a setting, without keeping the experts of all evaluations of a process
def _expert(path: Path, autocast: bool, loras: tuple[Path, ...] = (), strength: float = 1.0) -> Expert:
    expert = load_expert(path, vae=vae_of(path))
    for lora in loras:
        expert = with_lora(expert, lora, strength)
    expert.network.float()  # half precision is slow on most processors; autocast turns float32 into bfloat16
    if autocast:
        expert.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return expert


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
