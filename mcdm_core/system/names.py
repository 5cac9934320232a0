"""Checks names of files and folders that come from a configuration."""

import re

LONGEST = 100  # characters; file systems take 255 bytes, including suffixes

_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789¹²³")}
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def check_name(name: str, taken: tuple[str, ...] = ()) -> None:
    """Check that a name is valid for a file or folder on every system, and is no path.

    Args:
        name: The name, without a suffix.
        taken: Names that are already used for something else in the same folder.

    Raises:
        ValueError: It isn't valid, or is taken.
    """
    if not name.strip():
        problem = "is empty"
    elif found := _FORBIDDEN.search(name):
        problem = f"has {found[0]!r} in it"
    elif name != name.strip() or name[0] == "." or name[-1] == ".":
        problem = "begins or ends with a dot or a space"
    elif name.split(".")[0].rstrip().upper() in _RESERVED:
        problem = "is a device of Windows"
    elif len(name) > LONGEST:
        problem = f"has {len(name)} characters, more than {LONGEST}"
    elif name.lower() in taken:
        problem = "is that of a folder which all runs share"
    else:
        return
    raise ValueError(
        f"Expected a name that a folder can have, without any path, and {name!r} {problem}; give it a plain name such "
        'as "mine".'
    )
