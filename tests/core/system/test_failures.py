"""What is foreseen is told from bugs."""

import errno
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from mcdm_core.system.failures import BAD_USE, FAILED, ForeseenError, WriteError, foreseen


def out_of_memory() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    return caught.value


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ValueError("Expected a\n  map."), BAD_USE, "Expected a map."),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.pt"), BAD_USE, "a.pt cannot be used: No such file"),
        (PermissionError(errno.EACCES, "Permission denied", "a.pt"), FAILED, "a.pt cannot be used: Permission denied"),
        (WriteError("a.png could not be written."), FAILED, "a.png could not be written."),
        (ForeseenError("The loss diverged."), FAILED, "The loss diverged."),
        (KeyboardInterrupt(), FAILED, "Interrupted."),
        (MemoryError(), FAILED, "Memory ran out"),
        (out_of_memory(), FAILED, "Memory ran out .*can't allocate memory"),
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried\nmore"),
            FAILED,
            r"ran out \(CUDA out of memory. Tried\)",
        ),
        (BrokenProcessPool(), FAILED, "start fewer"),
        (
            ModuleNotFoundError("No module named 'tomli'", name="tomli"),
            FAILED,
            "requirements-train.txt, in the repository",
        ),
        (ImportError("Distances need scipy; install it."), FAILED, "Distances need scipy"),
    ],
)
def test_what_is_foreseen_is_one_sentence(error, code, sentence):
    outcome, said = foreseen(error)
    assert outcome == code
    assert "\n" not in said
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(said)


@pytest.mark.parametrize(
    "error",
    [
        TypeError("'NoneType' object is not callable"),
        KeyError("x"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ModuleNotFoundError("No module named 'mcdm_core.cli.x'", name="mcdm_core.cli.x"),
        ImportError("cannot import name 'a' from 'b'", name="b"),
    ],
)
def test_bugs_are_not(error):
    assert foreseen(error) is None
