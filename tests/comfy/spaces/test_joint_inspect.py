"""Inspect Product where experts are of several latent spaces."""

import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import numpy as np
import torch

LEVELS = torch.tensor([8.0, 2.0, 0.6, 0.0])


def holds(grid, tile):
    """Whether a picture is somewhere in another, pixel for pixel."""
    rows, wanted = ([row.tobytes() for row in np.asarray(picture)] for picture in (grid, tile))
    starts = (top for top in range(len(rows) - len(wanted) + 1) if wanted[0] in rows[top])
    return any(all(w in row for w, row in zip(wanted, rows[top:], strict=False)) for top in starts)


def test_every_experts_predictions_are_decoded_by_the_vae_of_its_space(chain, node, host, load, load_latent):
    hair, skin = load_latent("hair"), load("skin")
    experts = chain(*((expert, {"vae": expert.vae}) for expert in (hair, skin)))
    given = {"sampler": comfy.samplers.sampler_object("euler"), "sigmas": LEVELS}
    latent, random = {"samples": torch.zeros(1, 4, 8, 8)}, custom.Noise_RandomNoise(4)
    inspect = {"noise": random, "latent_image": latent, "vae": hair.vae, "steps_shown": "2,", **given}
    made, grid, plots = node("MCDM_Inspect", experts=experts, **inspect)
    assert made["samples"].shape == (1, 4, 8, 8)

    seen = []
    guider = host.run.guider.ProductGuider(experts, seen.append)
    guider.sample(random.generate_noise(latent), latent["samples"], given["sampler"], LEVELS, seed=random.seed)
    assert len(grid) == len(plots) == 1
    drawn = (grid[0].numpy() * 255).round().astype(np.uint8)
    for expert, x0 in ((hair, seen[1].cond[0]), (skin, seen[1].cond[1])):
        (tile,) = host.pictures.grid_tiles.decode_tiles(x0, expert.vae)
        assert holds(drawn, tile)
