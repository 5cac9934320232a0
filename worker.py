"""Make this ComfyUI a worker: Diffusion Expert on a Worker can then put experts on it, from another ComfyUI.

    python custom_nodes/mcdm/worker.py --name NAME --address HOST:PORT --join -- COMFYUI_ARGUMENTS

joins the Ray cluster at HOST:PORT with a Ray node on this machine, and runs ComfyUI there until it is stopped.
docs/hosts.md says how to start a cluster, and whom to trust.
"""

# Ray sends the class below by value to its processes: it can't refer to anything in this file, nor import the pack,
# whose folder must never be on the path of a process that imports ComfyUI.

import argparse
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACK = Path(__file__).resolve().parent
NAMESPACE = "mcdm"
JOIN_SECONDS = 180  # longest wait for the Ray node to join
START_SECONDS = 600
ANSWER_SECONDS = 30  # longest wait for a running worker's sign of life; a worker silent for longer is ended

logger = logging.getLogger("mcdm.worker")


class Worker:
    """ComfyUI in a process of Ray's. Threads answer calls, so that a sign of life never waits for a pass.

    Args:
        comfyui: ComfyUI's folder.
        arguments: Its command line.
        threads: Number of torch's threads.
    """

    def __init__(self, comfyui: str, arguments: list[str], threads: int):
        import asyncio
        import importlib
        import sys
        import threading

        sys.path[:] = [comfyui, *(entry for entry in sys.path if "site-packages" in entry or "lib" in entry)]
        sys.argv = ["main.py", *arguments]
        self._streams = sys.stdout, sys.stderr  # ComfyUI replaces both; without a reference, their files would close
        try:
            main = importlib.import_module("main")
            loop, server, _ = main.start_comfyui(asyncio.new_event_loop())
        except SystemExit as error:  # to Ray, it would mean that the worker has finished its work
            raise RuntimeError("ComfyUI ended while it started; look at its arguments.") from error
        # There is no page, but something has to take ComfyUI's messages to it.
        threading.Thread(target=loop.run_until_complete, args=(server.publish_loop(),), daemon=True).start()
        importlib.import_module("torch").set_num_threads(threads)
        known = importlib.import_module("nodes").NODE_CLASS_MAPPINGS
        if "MCDM_Expert" not in known:
            raise RuntimeError("ComfyUI has started without this pack; its log says why.")
        pack = known["MCDM_Expert"].__module__.rpartition(".")[0]
        self._engine = importlib.import_module(f"{pack}.workers.engine").Engine()

    def alive(self) -> bool:
        """A sign of life."""
        return True

    def process(self) -> int:
        """The id of the process."""
        import os

        return os.getpid()

    def hello(self) -> dict:
        """What the worker is; a method of its own, as a ComfyUI with another version of the pack asks it first."""
        return self._engine.hello()

    def call(self, method: str, *args: Any) -> dict:
        """What the engine's method of this name answers, or its refusal."""
        return self._engine.call(method, *args)


def main() -> int:
    """Start the worker, and stay until it is stopped."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that context managers clean up
    try:
        _check(options)
        with _ray_node(options) as node, _worker(options, node):
            logger.info("The worker %s is ready. Ctrl-C ends it.", options.name)
            threading.Event().wait()
    except ValueError as error:
        logger.error("%s", error)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--name", required=True, help="what the node Diffusion Expert on a Worker calls it")
    parser.add_argument("--address", required=True, help="HOST:PORT of the cluster's head")
    node = parser.add_mutually_exclusive_group()
    node.add_argument("--join", action="store_true", help="start a Ray node here that joins the cluster")
    node.add_argument("--head", action="store_true", help="start the cluster here, at the port of ADDRESS")
    parser.add_argument("--listen", help="this machine's address in the cluster, for --join and --head [Ray's choice]")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch [one for each core]")
    parser.add_argument("--comfyui", type=Path, default=PACK.parents[1], help="ComfyUI's folder [the one around this]")
    parser.add_argument("arguments", nargs="*", metavar="COMFYUI_ARGUMENT", help="after --, as for ComfyUI's main.py")
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuse options that cannot work or are not safe.

    Raises:
        ValueError: If ComfyUI or Ray is missing, the address is malformed, or Ray's token authentication is off.
    """
    if not (options.comfyui / "main.py").is_file():
        raise ValueError(f"Expected ComfyUI in {options.comfyui} and found no main.py; give its folder as --comfyui.")
    host, _, port = options.address.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()):
        raise ValueError(f"Expected HOST:PORT as --address and got {options.address!r}; correct it.")
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise ValueError(f"Expected Ray; run: python -m pip install -r {PACK / 'requirements-hosts.txt'}") from error
    token = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if os.environ.get("RAY_AUTH_MODE") != "token" or not (token or (Path.home() / ".ray" / "auth_token").is_file()):
        raise ValueError(
            "Expected Ray's token authentication, since Ray's ports are open to other machines; set "
            "RAY_AUTH_MODE=token and give all machines one token in ~/.ray/auth_token, as docs/hosts.md says."
        )


@contextlib.contextmanager
def _ray_node(options: argparse.Namespace) -> Iterator[subprocess.Popen | None]:
    """A Ray node as long as the block lasts; None without --join and --head, when one is already running."""
    if not (options.join or options.head):
        yield None
        return
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    command += ["--node-ip-address", options.listen] if options.listen else []
    command += ["--disable-usage-stats", "--include-dashboard", "false"] if options.head else []
    command += ["--head", "--port", options.address.rpartition(":")[2]] if options.head else []
    command += [] if options.head else ["--address", options.address]
    process = subprocess.Popen(command, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"})
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)


@contextlib.contextmanager
def _worker(options: argparse.Namespace, node: subprocess.Popen | None) -> Iterator[None]:
    """A worker on that node, as long as the block lasts; Ray restarts it if it dies."""
    ray = _joined(options.address, node)
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    _take_name(ray, options.name)
    environment = {
        "OMP_NUM_THREADS": str(options.threads),  # Ray would set it to 1
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # hide all GPUs
        "RAY_worker_niceness": "0",  # and lower the priority
    }
    actor = ray.remote(Worker).options(
        name=options.name,
        namespace=NAMESPACE,
        lifetime="detached",
        num_cpus=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False),
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=16,
        runtime_env={"env_vars": environment},
    )
    handle = actor.remote(str(options.comfyui.resolve()), options.arguments, options.threads)
    try:
        answer = _first_answer(ray, handle)
        logger.info("%s on %s.", ", ".join(f"{k} {v}" for k, v in answer["versions"].items()), answer["device"])
        yield
    finally:
        ray.kill(handle, no_restart=True)


def _first_answer(ray: Any, handle: Any) -> dict[str, Any]:
    """The worker's versions and device, once ComfyUI has started.

    Raises:
        ValueError: If it doesn't start.
    """
    try:
        return ray.get(handle.hello.remote(), timeout=START_SECONDS)
    except ray.exceptions.RayError as error:
        raise ValueError(f"Expected ComfyUI to start and it didn't: {error}") from error


def _joined(address: str, node: subprocess.Popen | None) -> Any:
    """The module `ray`, once this process has joined the cluster; it retries until the node is ready.

    Raises:
        ValueError: If the node ends, or none joins in time.
    """
    import ray

    deadline = time.monotonic() + JOIN_SECONDS
    while (said := _try_to_join(ray, address)) is not None:
        if node is not None and node.poll() is not None:
            raise ValueError(
                f"Expected the Ray node that this started to join the cluster at {address} and it ended, as it says "
                "above; see that this machine has the cluster's token, Ray and Python."
            )
        if time.monotonic() > deadline:
            raise ValueError(
                f"Expected a Ray node of the cluster at {address} on this machine and found none; start one, or add "
                f"--join or --head. {said[:400]}"
            )
        time.sleep(1.0)
    return ray


def _try_to_join(ray: Any, address: str) -> str | None:
    """Join the cluster; returns the error as text, None on success."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()  # Ray would try for minutes
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, OverflowError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        return " ".join(str(error).split())
    return None


def _take_name(ray: Any, name: str) -> None:
    """End a worker of this name that no longer answers; refuse the name if it does."""
    try:
        former = ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return
    ready, _ = ray.wait([former.alive.remote()], timeout=ANSWER_SECONDS)
    try:
        answers = bool(ready) and ray.get(ready[0])
    except ray.exceptions.RayError:
        answers = False
    if answers:
        raise ValueError(f"Expected a name of its own for the worker and got {name}, which is at work; choose another.")
    ray.kill(former, no_restart=True)


if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != PACK]
    sys.exit(main())
