"""Imports run one way: downwards in the core, from the studies to the core, and nowhere in a circle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORTERS = ("import_module", "__import__")

LAYERS = {
    "mcdm_core": {
        "cli": 9,
        "training": 8,
        "sampling": 7,
        "product": 6,
        "checkpoints": 5,
        "conditions": 4,
        "expert": 3,
        "networks": 2,
        "text": 1,
        "diffusion": 0,
        "pictures": 0,
        "system": -1,
    },
    "studies": {"cli": 4, "evaluation": 3, "baselines": 2, "training": 1, "data": 0, "metrics": 0},
}
"""Heights of the packages: each imports itself and what is lower."""


def names_of(package: str) -> dict[str, Path]:
    """Dotted name → file of every module of a package."""
    files = (ROOT / package).rglob("*.py")
    return {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


MODULES = names_of("mcdm_core") | names_of("studies")


def imports_of(name: str, source: str, is_package: bool = False) -> Iterator[str]:
    """Dotted names that a module imports, wherever in it: within functions and for type checkers too.

    Args:
        name: The module, which its relative imports are relative to.
        source: Its text.
        is_package: Whether it is an `__init__`.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".")
            base = package[: len(package) - node.level + is_package] if node.level else []
            yield from (".".join([*base, *([node.module] if node.module else []), alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in IMPORTERS:
            argument = node.args[0]
            yield argument.value if isinstance(argument, ast.Constant) else ast.unparse(argument)


def imported_modules(name: str) -> set[str]:
    """Modules of the core and the studies that a module of theirs imports."""
    file = MODULES[name]
    imported = imports_of(name, file.read_text(encoding="utf-8"), file.name == "__init__.py")
    # `from package import thing`: the thing is a module, or in the package's `__init__`.
    found = {known if known in MODULES else known.rpartition(".")[0] for known in imported}
    return (found & MODULES.keys()) - {name}


GRAPH = {name: imported_modules(name) for name in MODULES}


def layer_of(name: str) -> int:
    """Height of a module; what lies beside the packages, `mcdm_core` itself, is on top of all."""
    root, _, rest = name.partition(".")
    return LAYERS[root].get(rest.partition(".")[0], 1 + max(LAYERS[root].values()))


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Imports that lead back to where they began, each written out once."""
    found, done = [], set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append(" → ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for other in sorted(graph[name]):
                visit(other, [*path, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])
    return found


@pytest.mark.parametrize(
    ("name", "is_package", "line", "expected"),
    [
        ("mcdm_core.a.b", False, "from . import c", ["mcdm_core.a.c"]),
        ("mcdm_core.a.b", False, "from ..d.e import f", ["mcdm_core.d.e.f"]),
        ("mcdm_core.a", True, "from .b import c", ["mcdm_core.a.b.c"]),
        ("mcdm_core.a", True, "from ..d import e", ["mcdm_core.d.e"]),
        ("studies.a.b", False, "def f():\n    from mcdm_core import g", ["mcdm_core.g"]),
        ("studies.a.b", False, "if TYPE_CHECKING:\n    import mcdm_core.g", ["mcdm_core.g"]),
        ("mcdm_core.a.b", False, 'importlib.import_module("studies.c")', ["studies.c"]),
        ("mcdm_core.a.b", False, '__import__("studies.c")', ["studies.c"]),
    ],
)
def test_imports_are_read_wherever_they_stand(name, is_package, line, expected):
    assert list(imports_of(name, line, is_package)) == expected


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c", "d"}, "c": {"b"}, "d": set()}) == ["b → c → b"]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("root", LAYERS)
def test_every_package_has_a_layer(root):
    assert {path.parent.name for path in (ROOT / root).glob("*/__init__.py")} <= LAYERS[root].keys()


@pytest.mark.parametrize("root", LAYERS)
def test_imports_go_downwards_only(root):
    upwards = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if name.split(".")[0] == other.split(".")[0] == root
        if name.split(".")[1:2] != other.split(".")[1:2] and layer_of(other) >= layer_of(name)
    ]
    assert upwards == []


def test_no_modules_import_each_other():
    assert circles(GRAPH) == []


@pytest.mark.parametrize("folder", ["mcdm_core", "nodes"])
def test_neither_the_core_nor_the_nodes_import_the_studies(folder):
    importing = [
        f"{name} imports {other}"
        for name, file in names_of(folder).items()
        for other in imports_of(name, file.read_text(encoding="utf-8"), file.name == "__init__.py")
        if other.split(".")[0] == "studies"
    ]
    assert importing == []
