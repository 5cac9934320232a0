"""Tells failures from bugs, and turns failures into one sentence and an exit code of the command line."""

from concurrent.futures.process import BrokenProcessPool

import torch

BAD_USE, FAILED = 2, 1
"""Exit codes: the input cannot be used; the command failed while running."""

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")
_OWN = ("mcdm_core", "studies")


class ForeseenError(RuntimeError):
    """A failure that is not a bug, in one sentence: a diverged loss, a missing device."""


class WriteError(OSError):
    """A file that could not be written, in one sentence; its former content is unchanged."""


def foreseen(error: BaseException) -> tuple[int, str] | None:
    """Exit code and sentence of a failure; None for a bug, whose traceback should be shown."""
    if isinstance(error, KeyboardInterrupt):
        return FAILED, _line(error) if str(error) else "Interrupted."
    if is_out_of_memory(error):
        return FAILED, f"Memory ran out ({first_line(error)}); ask for fewer or smaller pictures, or for less at once."
    if isinstance(error, BrokenProcessPool):
        return FAILED, "A process that was started for this ended at once, perhaps for want of memory; start fewer."
    if isinstance(error, ForeseenError | WriteError):
        return FAILED, _line(error)
    if isinstance(error, OSError):
        return _of_file(error)
    if isinstance(error, ModuleNotFoundError) and str(error.name).split(".")[0] not in _OWN:
        return FAILED, (
            f"{_line(error)}; install it, or all that sampling (requirements.txt) or training (requirements-train.txt, "
            "in the repository) needs."
        )
    if isinstance(error, ImportError) and error.name is None:  # raised by code; Python's own have a name
        return FAILED, _line(error)
    if isinstance(error, ValueError):
        return BAD_USE, _line(error)
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of this machine or of a device ran out; torch has no exception class for the former."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _of_file(error: OSError) -> tuple[int, str]:
    """Exit code and sentence for a file that cannot be read; a missing one is bad input."""
    reason = error.strerror or _line(error)
    sentence = reason if error.filename is None else f"{error.filename} cannot be used: {reason}; correct the path."
    mistaken = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)
    return (BAD_USE if mistaken else FAILED), sentence


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of a message; torch's messages about memory are whole paragraphs."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
