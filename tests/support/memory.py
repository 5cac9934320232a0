"""The largest memory that a process has held, by Linux's /proc."""

from pathlib import Path

MEGABYTE = 2**20


def reset_peak(process: int | str = "self") -> int:
    """Reset a process's highest memory; returns its current memory in bytes, 0 if the system does not report it."""
    try:
        Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return 0
    return _status(process, "VmRSS")


def peak(process: int | str = "self") -> int:
    """Highest memory of a process since `reset_peak`, in bytes; 0 if the system does not report it."""
    return _status(process, "VmHWM")


def _status(process: int | str, name: str) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)
