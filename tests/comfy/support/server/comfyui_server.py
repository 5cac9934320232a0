"""A ComfyUI as users start it, with the pack among its custom nodes; tests talk to it by HTTP."""

import io
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .... import accelerator
from ....support.processes import start, stop
from ....support.watchdog import PATIENCE, HungError, wait_until
from ....support.workflow_twins import FROM_THIS_REPOSITORY

ROOT = Path(__file__).resolve().parents[4]
SDXL = "sd_xl_base_1.0.safetensors"
INSTALLED = (
    "__init__.py",
    "pyproject.toml",
    "requirements-hosts.txt",
    "worker.py",
    "nodes",
    "mcdm_core",
    "experts",
    "vae",
    "workflows",
    "web",
    "subgraphs",
    "locales",
)


class Server:
    """A running ComfyUI."""

    def __init__(self, address: str, process: subprocess.Popen, log: Path):
        self.address, self.process, self.log = address, process, log

    def request(self, path: str, data: dict | None = None) -> bytes:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.read()
        except TimeoutError:
            raise HungError(f"the answer to {path}", self.end_of_log()) from None

    def get(self, path: str) -> dict:
        return json.loads(self.request(path))

    def queue(self, prompt: dict, client_id: str | None = None) -> str:
        return json.loads(self.request("/prompt", {"prompt": prompt, "client_id": client_id or uuid.uuid4().hex}))[
            "prompt_id"
        ]

    def refusal(self, prompt: dict) -> tuple[int, str]:
        """Status and node errors of a prompt that should be refused."""
        with pytest.raises(urllib.error.HTTPError) as error:
            self.queue(prompt)
        return error.value.code, error.value.read().decode()

    def wait(self, prompt_id: str) -> dict:
        return self.until(lambda: self.get(f"/history/{prompt_id}").get(prompt_id), "the end of a run")

    def until(self, condition, what: str):
        """Wait until a condition holds; returns its result."""
        return wait_until(condition, what, self.process, self.end_of_log)

    def end_of_log(self) -> str:
        """The end of the server's log, for messages."""
        return f" ComfyUI's log ends with:\n{self.log.read_text()[-3000:]}"

    def pictures(self, prompt: dict) -> list[np.ndarray]:
        """Run a prompt and fetch the pictures that it saved, as arrays (H, W, 3) in 0…255."""
        entry = self.wait(self.queue(prompt))
        assert entry["status"]["status_str"] == "success", entry["status"]
        found = [image for output in entry["outputs"].values() for image in output.get("images", [])]
        assert any(image["type"] == "output" for image in found), entry
        return [self.picture(image) for image in found if image["type"] == "output"]

    def picture(self, image: dict) -> np.ndarray:
        query = f"/view?filename={image['filename']}&subfolder={image['subfolder']}&type={image['type']}"
        return np.asarray(Image.open(io.BytesIO(self.request(query))).convert("RGB"))


async def page_events(server: Server, prompts: list[dict], kind: str, last: str, count: int = 1) -> list[Any]:
    """What a page that queues these prompts is sent of one kind, until it was sent so many of the last kind.

    Pictures are of the kind "binary".

    Raises:
        urllib.error.HTTPError: If a prompt is refused whose run is waited for, which would then never end.
        ConnectionError: If the server ends meanwhile.
    """
    import aiohttp

    client, found = uuid.uuid4().hex, []
    page = {"client_id": client, "extra_data": {"extra_pnginfo": {"workflow": {"id": "a workflow"}}}}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://{server.address}/ws?clientId={client}") as socket,
    ):
        for prompt in prompts:
            with suppress(urllib.error.HTTPError) if last == "mcdm.refusals" else nullcontext():
                server.request("/prompt", {"prompt": prompt, **page})
        while count > 0:
            message = await socket.receive()
            if message.type == aiohttp.WSMsgType.TEXT:
                event = json.loads(message.data)
            elif message.type == aiohttp.WSMsgType.BINARY:
                event = {"type": "binary", "data": message.data}
            else:
                raise ConnectionError(f"The page's connection ended: {message}.")
            found += [event["data"]] if event["type"] == kind else []
            count -= event["type"] == last
    return found


@contextmanager
def started(comfyui: Path, folder: Path) -> Iterator[Server]:
    """Install the pack under `folder`, which holds models/ and input/, and run ComfyUI there, from its own folder."""
    install(folder / "custom_nodes" / "mcdm")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    main = str(comfyui / "main.py")
    command = [accelerator.WITHIN, main] if accelerator.is_installed() else [main, "--cpu"]
    command += ["--base-directory", str(folder)]
    command += ["--listen", "127.0.0.1", "--port", str(port), "--preview-method", "auto"]
    command += ["--disable-auto-launch", "--database-url", "sqlite:///:memory:"]
    with log.open("w") as output:
        process = start(command, output, cwd=folder)
    running = Server(f"127.0.0.1:{port}", process, log)

    def answers() -> bool:
        try:
            return bool(running.request("/system_stats"))
        except OSError:
            return False

    try:
        running.until(answers, "the first answer")
        yield running
    finally:
        stop(process)


@contextmanager
def started_with(comfyui: Path, folder: Path, files: Iterable[tuple[str, str]]) -> Iterator[Server]:
    """As `started`, with small random files, by folder and name, in place of downloads; needs the `pack`.

    Files that users copy from this repository are copied from it. SD3 is in the place of SDXL, whose text encoders are
    large.
    """
    from ..published_files import write_published
    from .downloads import write_checkpoint, write_lora, write_sd3_checkpoint

    (folder / "input").mkdir()
    files = sorted(files)
    writers = {"checkpoints": write_checkpoint, "loras": write_lora}
    for seed, (kind, name) in enumerate(files):
        if kind != "mcdm":
            write = write_sd3_checkpoint if name.startswith("sd_xl") else writers[kind]
            write(folder / "models" / kind / name, seed)
    experts = [name for kind, name in files if kind == "mcdm"]
    write_published(folder / "models" / "mcdm", experts)
    for name in FROM_THIS_REPOSITORY.keys() & {*experts}:
        shutil.copyfile(ROOT / FROM_THIS_REPOSITORY[name], folder / "models" / "mcdm" / name)
    try:
        with started(comfyui, folder) as running:
            yield running
    finally:
        shutil.rmtree(folder / "models")  # pytest would keep several hundred megabytes


def install(target: Path) -> None:
    """Put the pack where ComfyUI looks for custom nodes."""
    if target.exists():
        return
    target.mkdir(parents=True)
    for name in INSTALLED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, target / name)
