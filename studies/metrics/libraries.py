"""Libraries that only some metrics need, imported when they are used."""

import importlib
from types import ModuleType


def library(module: str, package: str, purpose: str) -> ModuleType:
    """Import a module.

    Args:
        module: Its name.
        package: What to install for it.
        purpose: What needs it.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {package}, which cannot be imported ({error}); install it: pip install {package}."
        ) from error
