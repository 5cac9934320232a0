"""Configurations of runs that take a second, and folders of pictures to train on."""

import numpy as np
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
