"""`evaluate --ray`: a cluster's machines write the same bytes as one process, also where some are lost on the way."""

import importlib.util
import os
import re
import signal

import psutil
import pytest

from studies.cli import main
from studies.evaluation import jobs, sampling

from ...support.evaluations import (
    InProcess,
    write_evaluation,
    write_small_latent,
    write_small_vae,
)
from ...support.ray_nodes import RayNodes, secured
from ...support.tiny_runs import write_folder
from ...support.watchdog import wait_until
from .test_evaluate import HAIR, SKIN, TEXT, write_experts

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray isn't installed (requirements-hosts.txt)"
)
FACES = 'kind = "faces"\nseed = 25_000_000\ncount = 4'
SETTINGS = {
    "two": f"terms = [{HAIR}, {SKIN}]\nsteps = 2\neta = 1.0",
    "caption": f'terms = [{TEXT}]\nvary = "weight"\nvalues = [1.0, 3.0]',
}


@pytest.fixture
def faces(tmp_path):
    return write_evaluation(tmp_path / "faces.toml", FACES, write_experts(tmp_path / "experts"), SETTINGS)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with secured(), RayNodes(tmp_path_factory.mktemp("cluster")).running() as running:
        yield running


def evaluate(folder, config, name, *options):
    folders = ["--out", str(folder / name), "--samples", str(folder / f"{name} samples")]
    return main(["evaluate", str(config), *folders, *options])


def written(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".csv", ".npy", ".md")}


@pytest.fixture
def here(faces, tmp_path, monkeypatch):
    """What one process writes, a batch for each picture."""
    monkeypatch.setattr(jobs, "BATCH", 1)
    with monkeypatch.context() as patched:
        patched.setattr(sampling, "ProcessPoolExecutor", InProcess)
        assert evaluate(tmp_path, faces, "here", "--workers", "1") == 0
    return written(tmp_path / "here" / "faces"), written(tmp_path / "here samples")


@needs_ray
def test_two_machines_write_what_one_process_does(cluster, faces, here, tmp_path, monkeypatch):
    """A process that draws is killed after the first batch, and a machine after the second."""
    from studies.evaluation.on_ray import RayCluster

    machine = cluster.join("other")
    draw, done = RayCluster.draw, []

    def watched(self, jobs):
        for _ in draw(self, jobs):
            done.append(len(jobs))
            if len(done) == 1:
                kill_one_that_draws()
            if len(done) == 2:
                kill_with_children(machine.pid)
            yield

    monkeypatch.setattr(RayCluster, "draw", watched)
    assert evaluate(tmp_path, faces, "there", "--ray", cluster.address) == 0
    assert done == [4] * 12
    assert written(tmp_path / "there" / "faces") == here[0]
    assert written(tmp_path / "there samples") == here[1]


def kill_one_that_draws():
    wait_until(those_that_draw, "a process that draws")[0].kill()


def those_that_draw():
    processes = psutil.process_iter(["cmdline"])
    return [each for each in processes if (each.info["cmdline"] or [""])[0].startswith("ray::draw_batch")]


def kill_with_children(pid):
    """As where a machine is switched off."""
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        os.kill(each.pid, signal.SIGKILL)


@needs_ray
def test_machines_compute_with_the_code_that_they_are_sent(cluster):
    """Not with what lies where this process runs, which they happen to have here."""
    from studies.evaluation.on_ray import RayCluster

    names = ("mcdm_core.networks.unet", "studies.evaluation.drawing")
    with RayCluster(cluster.address) as running:
        ray = running._ray
        where = ray.remote(lambda: [__import__("importlib").import_module(name).__file__ for name in names])
        assert all("runtime_resources" in path for path in ray.get(where.remote()))


@needs_ray
def test_what_is_wrong_is_said_as_by_one_process(cluster, faces, tmp_path, capsys):
    text = faces.read_text(encoding="utf-8").replace('condition = "hair"', 'condition = "nose"')
    faces.write_text(text, encoding="utf-8")
    assert evaluate(tmp_path, faces, "there", "--ray", cluster.address) == 2
    assert (
        capsys.readouterr().err.splitlines()[-1] == "error: These pictures have no nose maps; ask for something else."
    )


def test_files_go_as_they_lie_to_one_another(tmp_path):
    on_ray = importlib.import_module("studies.evaluation.on_ray")
    key = write_small_vae(tmp_path / "vae")
    (tmp_path / "experts").mkdir()
    write_small_latent(tmp_path / "experts", "hair", {"kind": "map", "map": "hair"}, {"map_channels": 64}, key)
    hair = tmp_path / "experts" / "hair.safetensors"
    sent = on_ray.files_of_expert(hair, "product")
    assert list(sent) == ["hair.safetensors", "vae/vae.safetensors"]
    other = tmp_path / "other"
    (other / "vae").mkdir(parents=True)
    for name, path in sent.items():
        (other / name).write_bytes(path.read_bytes())
    assert sampling.vae_of(other / "hair.safetensors") == other / "vae" / "vae.safetensors"
    folder = tmp_path / "pictures"
    write_folder(folder)
    assert {path for path in folder.rglob("*") if path.is_file()} == {
        folder / n for n in on_ray.files_of_folder(folder)
    }


def test_without_ray_a_sentence_says_how_to_get_it(faces, tmp_path, capsys, without_ray):
    assert evaluate(tmp_path, faces, "there", "--ray", "127.0.0.1:6379") == 2
    assert re.search(r"Expected Ray.*; run: python -m pip install -r requirements-hosts\.txt", capsys.readouterr().err)
