"""Runs that take a second: their configurations, folders of pictures to train on, interruptions, and tables."""

import csv
import signal

import numpy as np
import pytest
import torch
from PIL import Image

SIZE = 16

NETWORK = """
[network]
model_channels = 32
channel_mult = [1]
num_res_blocks = 1
attention_downsamplings = []
patch = 2
dropout = 0.1
"""

LATENT_NETWORK = """
image_size = 32
vae = "vae.safetensors"
[network]
in_channels = 4
out_channels = 4
model_channels = 32
channel_mult = [1, 2]
num_res_blocks = 1
attention_downsamplings = [2]
norm_groups = 8
"""


def write_config(
    path,
    *,
    data,
    network="",
    steps=4,
    report="held_out_every = 0",
    top="image_size = 16",
    optimizer="batch_size = 4\nwarmup = 2\nautocast = false",
):
    """Write a configuration named after its file; `data`, `network`, `report`, `top`, `optimizer` are lines of TOML."""
    text = f'name = "{path.stem}"\n{top}\n{NETWORK}{network}\n[data]\n{data}\n[report]\n{report}\n'
    path.write_text(f"{text}[optimizer]\nsteps = {steps}\n{optimizer}\n", encoding="utf-8")
    return path


def write_folder(folder, maps=("hair", "skin"), count=6, size=(24, 24), captions=False):
    """Pictures of an orange rectangle on blue; a map of each name shows the rectangle."""
    for name in ("images", *maps, *(["captions"] if captions else [])):
        (folder / name).mkdir(parents=True, exist_ok=True)
    width, height = size
    for i in range(count):
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[2 : height - 6, 3 + i : width - 8 + i] = 255
        picture = np.where(mask[..., None] > 0, np.uint8([200, 160, 30]), np.uint8([20, 20, 120]))
        Image.fromarray(picture).save(folder / "images" / f"face_{i}.png")
        for name in maps:
            Image.fromarray(mask).save(folder / name / f"face_{i}.png")
        if captions:
            color = ("Crimson", "scarlet-ish")[i % 2]
            (folder / "captions" / f"face_{i}.txt").write_text(f"A {color} box, number {i}\n\nein Kasten\n", "utf-8")
    return folder


class Interrupting:
    """A source that notes whose batches it makes, and is interrupted while it makes one.

    Args:
        source: Makes the batches.
        at: The number of the batch, counted from 1; 0 is none.
        number: The signal.
    """

    def __init__(self, source, at=0, number=signal.SIGINT):
        self._source, self._at, self._number = source, at, number
        self.asked = []

    def __getattr__(self, name):
        return getattr(self._source, name)

    def __len__(self):
        return len(self._source)

    def batch(self, modality, size, rng):
        self.asked.append(modality)
        if len(self.asked) == self._at:
            signal.raise_signal(self._number)
        return self._source.batch(modality, size, rng)


def assert_goes_on_as_if_uninterrupted(trainer):
    """A run that is interrupted in its third step and resumed ends with the weights of one that isn't.

    Args:
        trainer: Makes a trainer in a folder, given by its name, that is interrupted at a batch, see `Interrupting`.
    """
    whole = trainer("whole")
    whole.run()
    interrupted = trainer("resumed", 3)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    resumed = trainer("resumed")
    resumed.resume()
    assert resumed.step == 3  # the step that was interrupted is finished
    resumed.run()
    for name in ("network", "average"):
        expected, actual = (getattr(run, name).state_dict() for run in (whole, resumed))
        assert all(torch.equal(expected[key], actual[key]) for key in expected)


def csv_rows(path):
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
