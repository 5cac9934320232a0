"""Imports libraries that only some metrics need, when they are used."""

import importlib
from types import ModuleType


def library(module: str, package: str, purpose: str) -> ModuleType:
    """Import a module.

    Args:
        module: Name of the module.
        package: Package to install for it, for the message.
        purpose: Metric that needs it, for the message.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {package}, which cannot be imported ({error}); install it: pip install {package}."
        ) from error
