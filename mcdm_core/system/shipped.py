"""Finds what ships with the core: experts, their VAE and example pictures.

A checkout has them in folders beside `mcdm_core`, where ComfyUI's nodes look too; a wheel has the same folders in the
package (`pyproject.toml` maps them).
"""

import errno
import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_IN_WHEEL = _PACKAGE / "shipped"
_ROOT = _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent

EXPERTS = _ROOT / "experts"
EXAMPLES = _ROOT / "workflows" / "inputs"


def expert_names() -> list[str]:
    """Names of the experts that ship, sorted."""
    return sorted(path.stem for path in EXPERTS.glob("*.safetensors"))


def expert_path(path: str | os.PathLike) -> Path:
    """Path of an expert that ships from its name, such as "hair"; any other path as it is.

    A file of that name in the current folder comes first.

    Raises:
        FileNotFoundError: A name without folder and suffix is neither a file's nor that of an expert that ships.
    """
    given = Path(path)
    if given.suffix or os.fspath(path) != given.name or given.is_file():
        return given
    shipped = EXPERTS / f"{given.name}.safetensors"
    if not shipped.is_file():
        names = ", ".join(expert_names()) or "none"
        raise FileNotFoundError(errno.ENOENT, f"no such file, nor an expert that ships ({names})", os.fspath(path))
    return shipped
