"""A process that tries files one after the other, and can be lost."""

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from ..support.watchdog import PATIENCE
from .trial import Outcome, attempt, usual_memory

ADDRESSES = 3 * 2**30  # bytes beyond what the process begins with


class Child:
    """Tries files in a process of its own, within a limit of memory.

    Args:
        bases: Healthy files, by which the usual memory is measured.
    """

    def __init__(self, bases: list[Path]):
        self.bases = bases
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.bases), daemon=True)
        self.process.start()
        theirs.close()
        assert self.pipe.recv() == "ready"

    def attempt(self, path: Path) -> Outcome:
        """See `trial.attempt`; a process that hangs or dies is replaced."""
        self.pipe.send(path)
        try:
            if self.pipe.poll(PATIENCE):
                return self.pipe.recv()
            outcome = Outcome("hung", f"nothing for {PATIENCE:.0f} s")
        except (EOFError, ConnectionError):
            outcome = Outcome("memory", "the process ended")
        self.close()
        self._start()
        return outcome

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


def _serve(pipe: Connection, bases: list[Path]) -> None:
    torch.set_num_threads(1)
    usual = usual_memory(bases)
    _limit_addresses()
    pipe.send("ready")
    while True:
        path = pipe.recv()
        try:
            pipe.send(attempt(path, usual))
        except MemoryError:
            pipe.send(Outcome("memory", "MemoryError"))


def _limit_addresses() -> None:
    """No more memory than `ADDRESSES` beyond what there is, where the system knows such limits."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, OSError):
        pass
