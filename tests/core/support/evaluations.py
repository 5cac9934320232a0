"""Runs of `evaluate` on small experts and readers of random weights."""

import json

import torch
from safetensors.torch import save_file
from small_experts import write_expert

from mcdm_core.evaluation import main
from mcdm_core.evaluation.reader import WIDTH, Reader
from mcdm_core.networks.image_encoder import ImageEncoder

_SHAPE = {"channel_mult": (1,), "attention_downsamplings": (), "patch": 8}


class InProcess:
    """Stands where the process pool does: what runs in a child is not seen by a coverage report."""

    def __init__(self, *arguments, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def map(self, function, jobs):
        return map(function, jobs)


def write_small(folder, name, condition, reads, tower=None, schedule="cosine"):
    """An expert as small as one of 64 pixels can be; `reads` says what its network is told."""
    folder.mkdir(exist_ok=True)
    write_expert(folder / f"{name}.safetensors", condition, 64, tower, _SHAPE | reads, schedule)


def write_small_text(folder, name, tower, schedule="cosine"):
    condition = {"kind": "text", "text_encoder": tower.config.to_dict()}
    write_small(folder, name, condition, {"pooled_dim": tower.config.dim}, tower, schedule)


def biased_reader(path, classes, answer):
    """A reader of random weights that takes every picture for the same."""
    network = ImageEncoder(len(classes), WIDTH)
    with torch.no_grad():
        network.head[-1].bias[list(classes).index(answer)] += 100
    save_file({key: value.half() for key, value in network.state_dict().items()}, path)
    return Reader(path, classes)


def evaluate(what, experts, out, *options):
    """What the command writes as JSON."""
    arguments = ["--experts", str(experts), "--out", str(out), "--steps", "1", "--workers", "1", *options]
    assert main([what, *arguments]) == 0
    return json.loads((out / f"{what}.json").read_text(encoding="utf-8"))
