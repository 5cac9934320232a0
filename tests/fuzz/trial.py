"""What becomes of one expert file: looked at as POST /prompt does, loaded, sampled."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mcdm_core import load_expert
from mcdm_core.checkpoints import CheckpointError, read_encoder

from ..support.calls import counted_calls
from ..support.memory import MEGABYTE, peak, reset_peak

BETWEEN = 100 * MEGABYTE  # beyond a good load and the file's size
LOOK_BYTES = 64 * MEGABYTE
# Of functions: a good file takes 40,000, and the longest pickle 2,000,000, or 4,800,000 if it were read to its end.
LOOK_CALLS = 4_000_000
CALLS = 2 * LOOK_CALLS


@dataclass
class Outcome:
    """What became of a file.

    Attributes:
        kind: "refused", "sampled", "traceback" (while loading), "fails later" (while sampling, or a picture that is
            not finite), "calls" (too many of functions), "memory" or "look" (too much for POST).
        detail: The sentence, or the error.
        calls: Of functions, for all.
        peak: Bytes beyond what the process had before.
    """

    kind: str
    detail: str
    calls: int = 0
    peak: int = 0


def is_sentence(error: Exception) -> bool:
    """Whether an error is fit to be shown: one line, of a length that can be read."""
    text = str(error)
    return isinstance(error, CheckpointError) and "\n" not in text and 20 < len(text) < 1000


def look(path: Path) -> None:
    """Everything that is read of a file before a run."""
    read_encoder(path)


def load_and_sample(path: Path) -> Outcome:
    """Load an expert and ask it once, about its null condition."""
    try:
        expert = load_expert(path)
    except CheckpointError as error:
        return Outcome("refused" if is_sentence(error) else "traceback", f"{error}")
    except MemoryError:
        return Outcome("memory", "MemoryError")
    except Exception as error:
        return Outcome("traceback", f"{type(error).__name__}: {error}")
    try:
        with torch.no_grad():
            x = torch.randn(1, *expert.sample_shape)
            condition = expert.encoder.null()
            if expert.encoder.low_res is not None:
                picture = torch.zeros(1, 8, 8, 3)
                condition = expert.encoder.encode_low_res(picture, condition)
            finite = all(bool(expert.predict_x0(x, sigma, condition).isfinite().all()) for sigma in (0.5, 5.0))
    except MemoryError:
        return Outcome("memory", "MemoryError while sampling")
    except Exception as error:
        return Outcome("fails later", f"{type(error).__name__}: {error}")
    return Outcome("sampled", "") if finite else Outcome("fails later", "a picture that is not finite")


def attempt(path: Path, usual: int) -> Outcome:
    """Try one file.

    Args:
        path: The file.
        usual: Bytes that a good load takes, the file's size left out.
    """
    torch.manual_seed(0)
    before = reset_peak()
    problem = None
    with counted_calls() as looked:
        try:
            look(path)
        except CheckpointError as error:
            problem = None if is_sentence(error) else str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
    look_peak = peak() - before
    with counted_calls() as loaded:
        outcome = load_and_sample(path)
    outcome.calls, outcome.peak = looked.count + loaded.count, peak() - before
    if problem and outcome.kind in ("refused", "sampled"):
        outcome.kind, outcome.detail = "traceback", f"at POST: {problem}"
    if outcome.peak > usual + path.stat().st_size + BETWEEN:
        outcome.kind = "memory"
    elif looked.count > LOOK_CALLS or look_peak > LOOK_BYTES:
        told = f"{looked.count:,} calls, {look_peak / MEGABYTE:.0f} MB"
        outcome.kind, outcome.detail = "look", f"{told}; {outcome.detail}"
    if outcome.calls > CALLS:
        outcome.kind, outcome.detail = "calls", f"{outcome.calls:,} calls; {outcome.detail}"
    return outcome


def usual_memory(bases: list[Path]) -> int:
    """Bytes that good loads take at most; the first is not counted, as it also loads code."""
    assert attempt(bases[0], 2**62).kind == "sampled"
    return max(attempt(path, 2**62).peak for path in bases)
