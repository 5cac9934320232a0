"""Entry point of `python -m benchmarks.hosts`: what experts on workers cost beside experts in one process, and save.

Two workers are started on this machine, each a ComfyUI in a process of its own with one thread of torch, in a Ray
cluster of their own. Needs Ray (`requirements-hosts.txt`) and pytest; on a machine with two idle cores or more.
"""

import argparse
import importlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.ray_nodes import RayNodes, secured
from tools.comfyui import find_comfyui

from .comfyui import ROOT, enter
from .command import parsed

if TYPE_CHECKING:
    from .cases import Result

WORKERS = ("one", "two")
LENDS_NOTHING = 0.5  # two such weights add up to 1, where no null is needed: one pass for each expert and step


def main() -> int:
    """Parse the command line, measure, and print a Markdown table line by line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hosts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="how often each contender runs (20)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a run without networks (20)")
    parser.add_argument("--passes", type=int, default=4, help="timed steps of a run with networks (4)")
    return measure_on_workers(parser, WORKERS, measured)


def measure_on_workers(
    parser: argparse.ArgumentParser, names: Sequence[str], measure: Callable[..., Iterator["Result"]]
) -> int:
    """Parse the command line, start workers, measure, and print a Markdown table line by line.

    Args:
        parser: With all options but `--csv`.
        names: Of the workers.
        measure: Gives the lines of the table; takes products, the cluster and the options.
    """
    options = parsed(parser)
    from .report import HEAD, show, write_csv

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, workers(Path(folder), names) as nodes:
        sys.stdout.write(f"{os.cpu_count()} CPU cores, one thread for each process\n\n{HEAD}\n")
        node = enter(cpu=True)
        import torch

        torch.set_num_threads(1)
        with torch.inference_mode():  # as ComfyUI runs nodes
            results = show(measure(Products(node, nodes.address), nodes, options))
        importlib.import_module("ray").shutdown()
    if options.csv:
        write_csv(options.csv, results)
    return 0


@contextmanager
def workers(folder: Path, names: Sequence[str]) -> Iterator[RayNodes]:
    """Workers with one thread each; gives their cluster.

    Args:
        folder: An empty one.
        names: Of the workers.

    Raises:
        FileNotFoundError: No ComfyUI is found.
    """
    comfyui = find_comfyui()
    if comfyui is None:
        raise FileNotFoundError(
            "Expected a ComfyUI in COMFYUI_PATH, around this folder or in ~/ComfyUI and found none; set COMFYUI_PATH."
        )
    packs = folder / "custom_nodes"
    packs.mkdir()
    (packs / "mcdm").symlink_to(ROOT, target_is_directory=True)
    (packs / "benchmark_network.py").symlink_to(ROOT / "benchmarks" / "host_nodes.py")
    nodes = RayNodes(folder)
    with secured(), nodes.running():
        for name in names:
            command = [str(ROOT / "worker.py"), "--name", name, "--address", nodes.address]
            command += ["--threads", "1", "--comfyui", str(comfyui), "--", "--cpu", "--base-directory", str(folder)]
            nodes.start([*command, "--database-url", "sqlite:///:memory:"], name, "is ready")
        yield nodes


def measured(products: "Products", nodes: RayNodes, options: argparse.Namespace) -> Iterator["Result"]:
    """All lines of the table."""
    from .networks import LATENTS, TIMED

    for kind, (_, shape) in LATENTS.items():
        yield _overhead(products, kind, shape, options)
    yield from _speed(products, TIMED, options)


def _overhead(products: "Products", kind: str, shape: tuple[int, ...], options: argparse.Namespace) -> "Result":
    """Time of a step with one of two experts on a worker, beyond that of both here; constants are their networks."""
    from .cases import compared, steps_of
    from .intervals import difference

    guiders = {"here": products.of([kind, kind]), "there": products.of([kind, kind], [None, WORKERS[0]])}
    rounds = steps_of(guiders, shape, options.rounds, options.steps)
    there, here = ([type(span)(*(1e3 * s for s in span)) for span in rounds[name]] for name in ("there", "here"))
    return compared(f"an expert on a worker − here, no network, {kind}", "ms a step", difference, there, here)


def _speed(products: "Products", kind: str, options: argparse.Namespace) -> Iterator["Result"]:
    """Time of a step of two experts, one on each of two workers, and one of them here, over that of both here."""
    from .cases import compared, steps_of
    from .intervals import difference, ratio
    from .networks import HOSTS_SIZE

    kinds = [kind, kind]
    guiders = {"here": products.of(kinds), "both": products.of(kinds, WORKERS)}
    guiders["one"] = products.of(kinds, [None, WORKERS[1]])
    rounds = steps_of(guiders, HOSTS_SIZE.latent, options.rounds, options.passes)
    passes = [type(span)(*(0.5e3 * s for s in span)) for span in rounds["here"]]
    yield compared("a pass, on one thread", "ms", difference, passes, None)
    yield compared("2 experts on 2 workers / in one process", "ratio", ratio, rounds["both"], rounds["here"])
    yield compared("2 experts, one on a worker / in one process", "ratio", ratio, rounds["one"], rounds["here"])


class Products:
    """Makes GUIDERs whose experts are here or on workers, with the same networks and conditions.

    Args:
        node: Runs one of the pack's nodes.
        address: Of the workers' cluster.
    """

    def __init__(self, node: Callable[..., tuple], address: str):
        self._node = node
        self._address = address

    def of(self, kinds: list[str], places: Any = (None, None)) -> Any:
        """A GUIDER.

        Args:
            kinds: Of each expert's network, see `networks.made`.
            places: Each expert's worker; None for here.
        """
        chain: tuple = ()
        for seed, (kind, place) in enumerate(zip(kinds, places, strict=True), start=1):
            chain = (*chain, self._there(kind, seed, place, chain)) if place else self._here(kind, seed, chain)
        return self._node("MCDM_Guider", experts=chain)[0]

    def _here(self, kind: str, seed: int, chain: tuple) -> tuple:
        from .networks import made

        model, condition, null = made(kind, seed)
        wired = {"model": model, "condition": condition, "null": null, "experts": chain}
        experts: tuple = self._node("MCDM_Expert", **wired, **_SHARE)[0]
        return experts

    def _there(self, kind: str, seed: int, worker: str, chain: tuple) -> Any:
        remote = "mcdm_pack.nodes.workers"
        where = importlib.import_module(f"{remote}.cluster").WorkerName(self._address, worker)
        made = {"class_type": "BenchmarkNetwork", "inputs": {"kind": kind, "seed": seed}}
        links = {"model": ["1", 0], "condition": ["1", 1], "null": ["1", 2]}
        graph = json.dumps({"1": made, "2": {"class_type": "MCDM_Expert", "inputs": links}})
        make = importlib.import_module(f"{remote}.node").remote_expert
        return make(None, "", graph, where, 600.0, _SHARE, None, chain)


_SHARE = {"weight": LENDS_NOTHING, "reliability": 1.0, "start": 0.0, "end": 1.0}

if __name__ == "__main__":
    sys.exit(main())
