"""Drawn training sets, kept on disk once they are drawn."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

log = logging.getLogger(__name__)


def draw_set(
    path: Path, names: Sequence[str], draw_one: Callable[[Any], tuple[np.ndarray, ...]], jobs: Sequence[Any]
) -> dict[str, np.ndarray]:
    """Draw every job on all cores, or read what an earlier run has drawn.

    Args:
        path: The set's file, an npz; its name has to change with what is drawn.
        names: Names of the arrays that a job is drawn as.
        draw_one: Turns a job into these arrays; has to be importable, since it runs in other processes.
        jobs: One for each picture.

    Returns:
        Name → the arrays of all jobs, stacked.
    """
    if not path.exists():
        log.info("Drawing %d pictures into %s", len(jobs), path)
        with ProcessPoolExecutor() as pool:
            drawn = list(tqdm(pool.map(draw_one, jobs, chunksize=64), total=len(jobs), desc="drawing", unit="picture"))
        arrays: dict[str, Any] = {name: np.stack([row[i] for row in drawn]) for i, name in enumerate(names)}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **arrays)
        partial.replace(path)  # an interrupted write must not pass for a set
    with np.load(path) as stored:
        return {name: stored[name] for name in names}


def channels_first(images: np.ndarray) -> Tensor:
    """Pictures (N, H, W, 3) as a tensor (N, 3, H, W)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
