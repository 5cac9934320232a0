"""Files are written whole or not at all."""

import errno
import io
import os
import stat
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mcdm_core.pictures.files import write_picture
from mcdm_core.system import writer
from mcdm_core.system.failures import WriteError
from mcdm_core.system.formats import write_array, write_state, write_tensors, write_text

WRITERS = {
    "text.md": lambda path: write_text(path, "ε\n"),
    "picture.png": lambda path: write_picture(path, Image.new("RGB", (4, 4), "red")),
    "expert.safetensors": lambda path: write_tensors(path, {"a": torch.arange(6.0).view(2, 3).T}, {"key": "value"}),
    "state.pt": lambda path: write_state(path, {"network": torch.arange(1000), "step": 3}),
    "latents.npy": lambda path: write_array(path, np.arange(1000)),
}
every_kind = pytest.mark.parametrize("name", WRITERS)


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that is full by the time a file should be on it, as some report it only then."""

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer.os, "fsync", fsync)


class Full(io.FileIO):
    """An open file on a disk that becomes full with the second write to it."""

    writes = 0

    def write(self, data):
        self.writes += 1
        if self.writes > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_what_is_written_is_read_back(tmp_path):
    for name, write in WRITERS.items():
        (tmp_path / name).write_text("before")
        write(tmp_path / name)
    assert {*os.listdir(tmp_path)} == {*WRITERS}
    assert (tmp_path / "text.md").read_bytes() == "ε\n".encode()
    assert Image.open(tmp_path / "picture.png").getpixel((0, 0)) == (255, 0, 0)
    assert torch.equal(load_file(tmp_path / "expert.safetensors")["a"], torch.arange(6.0).view(2, 3).T)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 3
    assert np.array_equal(np.load(tmp_path / "latents.npy"), np.arange(1000))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
@every_kind
def test_the_umask_decides_the_mode(name, umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        WRITERS[name](tmp_path / name)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


@pytest.mark.usefixtures("full_disk")
@every_kind
def test_a_full_disk_leaves_what_was_there_and_nothing_else(name, tmp_path):
    path = tmp_path / name
    path.write_text("before")
    with pytest.raises(WriteError, match=rf"{name} could not be written \(No space left on device\)"):
        WRITERS[name](path)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["state.pt", "latents.npy"])
def test_a_disk_that_becomes_full_in_the_middle_is_said_to_be(name, tmp_path, monkeypatch):
    """Torch and numpy say something of their own then, or write on."""
    monkeypatch.setattr(writer.Path, "open", lambda path, mode: Full(path, mode))
    with pytest.raises(WriteError, match="No space left on device"):
        WRITERS[name](tmp_path / name)
    assert os.listdir(tmp_path) == []


class Unwritable:
    def __reduce__(self):
        raise RuntimeError("can't allocate memory")


def test_a_failure_is_not_taken_for_what_was_handled_before(tmp_path):
    """The state of a cancelled run is written while its cancellation is handled."""
    try:
        raise ValueError("cancelled")
    except ValueError:
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            write_state(tmp_path / "state.pt", {"network": Unwritable()})
    assert os.listdir(tmp_path) == []


def test_an_interruption_leaves_what_was_there(tmp_path):
    path = tmp_path / "text.md"
    path.write_text("before")

    def write():
        with writer.writing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["text.md"]


@pytest.mark.usefixtures("full_disk")
def test_a_line_is_appended_whole_or_not_at_all(tmp_path):
    path = tmp_path / "loss.csv"
    path.write_bytes(b"step,loss\n")
    with pytest.raises(WriteError, match="No space left"):
        writer.append_line(path, "1,0.5")
    assert path.read_bytes() == b"step,loss\n"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_what_a_link_points_to_is_replaced_and_not_the_link(tmp_path):
    (tmp_path / "real.md").write_text("before")
    (tmp_path / "link.md").symlink_to(tmp_path / "real.md")
    write_text(tmp_path / "link.md", "after")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "real.md").read_text() == "after"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_to_itself_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "loop.md").symlink_to("loop.md")
    with pytest.raises(WriteError, match="could not be written"):
        write_text(tmp_path / "loop.md", "after")
    assert [path.name for path in tmp_path.iterdir()] == ["loop.md"]


def test_a_name_as_long_as_a_file_system_takes_can_be_written(tmp_path):
    write_text(tmp_path / ("a" * 250 + ".md"), "after")
    assert len(os.listdir(tmp_path)) == 1


def test_file_systems_without_modes_are_written_to(tmp_path, monkeypatch):
    def chmod(path, mode):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    monkeypatch.setattr(writer.os, "chmod", chmod)
    write_text(tmp_path / "text.md", "ε\n")
    assert (tmp_path / "text.md").read_text(encoding="utf-8") == "ε\n"


@pytest.mark.skipif(sys.platform == "win32", reason="such names are POSIX's")
@pytest.mark.parametrize("name", WRITERS)
def test_what_is_no_file_is_not_replaced_by_one(name, tmp_path):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(WriteError, match="is a device, a pipe or a socket"):
        WRITERS[name](path)
    assert path.is_fifo()
    assert os.listdir(tmp_path) == [name]
