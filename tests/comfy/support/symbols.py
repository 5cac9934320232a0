"""The names of ComfyUI's that a source file uses: imports, attribute chains, and methods called on `super()`."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator

CORE = ("comfy", "comfy_api", "comfy_execution", "execution", "folder_paths", "latent_preview", "node_helpers")
CORE += ("nodes", "server")


def symbols_of(source: str) -> set[str]:
    """Dotted names such as comfy.samplers.CFGGuider.sample."""
    tree = ast.parse(source)
    bound = dict(_imports(tree))
    found = set(bound.values()) | _modules(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found |= _resolved(node, bound)
        elif isinstance(node, ast.ClassDef) and len(node.bases) == 1:  # with several, any could have the method
            found |= {f"{base}.{name}" for base in _resolved(node.bases[0], bound) for name in _asked_of_super(node)}
    return found


def exists(symbol: str) -> bool:
    """Whether the running ComfyUI has a symbol."""
    parts = symbol.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(thing, name):
                return False
            thing = getattr(thing, name)
        return True
    return False


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that imports of ComfyUI bind, and what each stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in CORE:
                    yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] in CORE:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _modules(tree: ast.AST) -> set[str]:
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {name for name in imported if name.split(".")[0] in CORE}


def _resolved(node: ast.expr, bound: dict[str, str]) -> set[str]:
    """The dotted name that a chain of attributes stands for, if it begins at an import of ComfyUI."""
    chain: list[str] = []
    while isinstance(node, ast.Attribute):
        chain.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in bound:
        return set()
    return {".".join([bound[node.id], *chain])}


def _asked_of_super(cls: ast.ClassDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(cls)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "super"
        and node.attr != "__init__"
    }
