"""Imports run one way: downwards in the core, from the studies to the core, nowhere in a circle; the core is light."""

import ast
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORTERS = ("import_module", "__import__")

LAYERS = {
    "mcdm_core": {
        "cli": 10,
        "distil": 9,
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
    "mcdm_core.product": {
        "denoisers": 5,
        "evaluate": 4,
        "plans": 4,
        "methods": 3,
        "evaluation": 2,
        "spaces": 2,
        "rules": 1,
        "terms": 0,
    },
    "mcdm_core.training": {
        "sections": 6,
        "autoencoder": 5,
        "expert": 5,
        "kinds": 4,
        "folder": 3,
        "dual_encoder": 2,
        "loop": 2,
        "data": 1,
        "config": 0,
    },
    "studies": {
        "cli": 5,
        "gallery": 4,
        "evaluation": 3,
        "baselines": 2,
        "training": 1,
        "data": 0,
        "metrics": 0,
        "files": 0,
        "stacked": 0,
        "gaussian": 0,
        "vaes": 0,
    },
    "nodes": {"workers": 1, "host": 0},
    "nodes.host": {
        "prompt": 8,
        "pictures": 7,
        "distil": 6,
        "samplers": 6,
        "run": 5,
        "evaluation": 4,
        "weights": 3,
        "spaces": 3,
        "files": 2,
        "chain": 1,
        "comfyui": 0,
    },
}
"""Heights of the packages in a package, and of modules beside them: each imports itself and what is lower."""

LARGEST_ROOM = 11
"""Modules of a package of `nodes.host` at most."""

MOST_LEVELS = 7
"""Modules of a room of the core or the nodes, one folder, of which each imports the next, at most."""

LARGEST_FOLDER_OF_TESTS = 20
"""Python files that lie in one folder of tests at most."""


def names_of(package: str) -> dict[str, Path]:
    """Dotted name → file of every module of a package."""
    files = (ROOT / package).rglob("*.py")
    return {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


MODULES = names_of("mcdm_core") | names_of("studies") | names_of("nodes")


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
    """Modules of the core, the studies and the nodes that a module of theirs imports."""
    file = MODULES[name]
    imported = imports_of(name, file.read_text(encoding="utf-8"), file.name == "__init__.py")
    # `from package import thing`: the thing is a module, or in the package's `__init__`.
    found = {known if known in MODULES else known.rpartition(".")[0] for known in imported}
    return (found & MODULES.keys()) - {name, "nodes"}  # `import nodes` is ComfyUI's own


GRAPH = {name: imported_modules(name) for name in MODULES}


def room_of(name: str, root: str) -> str:
    """The package of `root` that a module belongs to, by its last name; "" of one that lies beside them."""
    room = name.removeprefix(root).removeprefix(".").partition(".")[0]
    return room if room in LAYERS[root] else ""


def layer_of(name: str, root: str) -> int:
    """Height of a module in `root`; what lies beside the packages, `mcdm_core` itself, is on top of all."""
    return LAYERS[root].get(room_of(name, root), 1 + max(LAYERS[root].values()))


def levels_of(graph: dict[str, set[str]]) -> int:
    """The modules of the longest chain of imports in a graph without circles; imports of others don't count."""

    @cache
    def height(name: str) -> int:
        return 1 + max(map(height, graph[name] & graph.keys()), default=0)

    return max(map(height, graph))


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


def test_levels_are_counted():
    assert levels_of({"a": {"b", "c"}, "b": {"d"}, "c": {"elsewhere"}, "d": set()}) == 3


@pytest.mark.parametrize("root", LAYERS)
def test_every_package_has_a_layer(root):
    folder = ROOT / root.replace(".", "/")
    assert {path.parent.name for path in folder.glob("*/__init__.py")} <= LAYERS[root].keys()


@pytest.mark.parametrize("root", LAYERS)
def test_imports_go_downwards_only(root):
    upwards = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if all(f"{each}.".startswith(f"{root}.") for each in (name, other))
        if room_of(name, root) != room_of(other, root) and layer_of(other, root) >= layer_of(name, root)
    ]
    assert upwards == []


def test_rooms_of_the_host_can_be_overlooked():
    sizes = {room: len([*(ROOT / "nodes" / "host" / room).glob("[!_]*.py")]) for room in LAYERS["nodes.host"]}
    assert max(sizes.values()) <= LARGEST_ROOM, sizes
    assert [path.name for path in (ROOT / "nodes" / "host").glob("*.py")] == ["__init__.py"]


def test_no_room_has_more_than_seven_levels():
    rooms: dict[Path, dict[str, set[str]]] = defaultdict(dict)
    for name, file in MODULES.items():
        if file.name != "__init__.py" and not name.startswith("studies"):
            rooms[file.parent.relative_to(ROOT)][name] = GRAPH[name]
    levels = {str(room): levels_of(graph) for room, graph in rooms.items()}
    assert {room: count for room, count in levels.items() if count > MOST_LEVELS} == {}


def test_folders_of_tests_can_be_overlooked():
    sizes = Counter(path.parent.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
    assert max(sizes.values()) <= LARGEST_FOLDER_OF_TESTS, sizes.most_common(3)


def test_no_modules_import_each_other():
    TopologicalSorter(GRAPH).prepare()  # raises an error that names a circle


def test_workers_are_imported_only_where_one_is_used():
    users = {name for name, others in GRAPH.items() if any(other.startswith("nodes.workers") for other in others)}
    assert {name for name in users if not name.startswith("nodes.workers")} == {"nodes.remote"}
    at_once = ast.parse(MODULES["nodes.remote"].read_text(encoding="utf-8")).body
    assert not [node for node in at_once if isinstance(node, ast.ImportFrom) and "workers" in (node.module or "")]


def test_a_distillation_is_imported_by_its_command_and_its_node_alone():
    users = {name for name, others in GRAPH.items() if any(other.startswith("mcdm_core.distil") for other in others)}
    outside = {name for name in users if not name.startswith(("mcdm_core.distil", "studies", "nodes.host.distil"))}
    assert outside == {"mcdm_core.cli.distil"}
    hosts = {name for name, others in GRAPH.items() if any(other.startswith("nodes.host.distil") for other in others)}
    assert {name for name in hosts if not name.startswith("nodes.host.distil")} == {"nodes.train"}
    at_once = ast.parse(MODULES["mcdm_core.cli.distil"].read_text(encoding="utf-8")).body
    assert not [node for node in at_once if isinstance(node, ast.ImportFrom) and "distil" in (node.module or "")]


def test_neither_the_core_nor_the_nodes_import_the_studies():
    of_studies = {name for name in MODULES if name.split(".")[0] == "studies"}
    importing = {name: others & of_studies for name, others in GRAPH.items() if name not in of_studies}
    assert {name: others for name, others in importing.items() if others} == {}


def test_tests_import_nothing_relative_to_the_clones_folder():
    # Its name may be no name of a package, as that of an unpacked archive isn't: "mcdm-main".
    beyond = [
        f"{file.relative_to(ROOT)}: {ast.unparse(node)}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level > len(file.relative_to(ROOT).parts) - 1
    ]
    assert beyond == []


COMFYUI = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "nodes", "server"}
HEAVY = {
    "PIL",
    "dicebear",
    "dicebear_styles",
    "resvg_py",
    "scipy",
    "skimage",
    "torchvision",
    "mcdm_core.training",
    "studies",
}


def imported_by(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has after a statement."""
    command = [sys.executable, "-c", f"{statement}; import json, sys; json.dump(list(sys.modules), sys.stdout)"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def test_importing_the_core_needs_torch_and_little_else():
    modules = imported_by("import mcdm_core")
    assert "torch" in modules
    assert modules & (COMFYUI | HEAVY) == set()


def test_metrics_import_their_libraries_when_they_are_used():
    assert imported_by("import studies.metrics") & (COMFYUI | (HEAVY - {"studies"})) == set()
