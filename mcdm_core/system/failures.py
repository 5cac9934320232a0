"""What can go wrong without a bug, told from bugs, as one sentence and an exit code of the command line."""

from concurrent.futures.process import BrokenProcessPool

import torch

BAD_USE, FAILED = 2, 1
"""Exit codes: what was given cannot be used; what was asked for did not come about."""

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")
_OWN = ("mcdm_core", "studies")


class ForeseenError(RuntimeError):
    """Something that fails through no mistake in the code, said in one sentence: a diverged loss, a missing device."""


class WriteError(OSError):
    """A file that could not be written, in one sentence; what it held before is as it was."""


def foreseen(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the sentence of an exception, or None where it is a bug and its traceback is wanted."""
    if isinstance(error, KeyboardInterrupt):
        return FAILED, _line(error) if str(error) else "Interrupted."
    if is_out_of_memory(error):
        return FAILED, f"Memory ran out ({_first_line(error)}); ask for fewer or smaller pictures, or for less at once."
    if isinstance(error, BrokenProcessPool):
        return FAILED, "A process that was started for this ended at once, perhaps for want of memory; start fewer."
    if isinstance(error, ForeseenError | WriteError):
        return FAILED, _line(error)
    if isinstance(error, OSError):
        return _of_file(error)
    if isinstance(error, ModuleNotFoundError) and str(error.name).split(".")[0] not in _OWN:
        return FAILED, f"{_line(error)}; install requirements-train.txt, or requirements.txt for sampling alone."
    if isinstance(error, ImportError) and error.name is None:  # raised by hand; Python's own say of what
        return FAILED, _line(error)
    if isinstance(error, ValueError):
        return BAD_USE, _line(error)
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of this machine or of a device; torch has no class of its own for the first."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _of_file(error: OSError) -> tuple[int, str]:
    """Of files that are read: one that is not there is named by mistake."""
    reason = error.strerror or _line(error)
    sentence = reason if error.filename is None else f"{error.filename} cannot be used: {reason}; correct the path."
    mistaken = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)
    return (BAD_USE if mistaken else FAILED), sentence


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _first_line(error: BaseException) -> str:
    """What torch says of memory goes on for a paragraph."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
