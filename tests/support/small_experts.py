"""Files of small experts with random weights, and a small network of latents."""

import torch

from mcdm_core import ExpertMetadata, UNet, UNetConfig, save_expert
from mcdm_core.checkpoints.autoencoders import save_autoencoder
from mcdm_core.networks import TextTower
from mcdm_core.networks.autoencoder import Autoencoder, AutoencoderConfig

LATENT_NETWORK = UNetConfig(
    in_channels=4,
    out_channels=4,
    model_channels=16,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_downsamplings=(2,),
    norm_groups=8,
)
"""A network of a VAE's latents."""


def write_expert(path, condition, size=16, tower=None, shape=None, schedule="cosine", vae=None):
    """Save a network with random weights, also in layers that start at zero: with those, all experts would agree."""
    shape = shape or ({"map_channels": 1} if tower is None else {"pooled_dim": tower.config.dim})
    config = UNetConfig(**{"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 2), "patch": 2} | shape)
    network = UNet(config)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    about = {"condition": condition, "schedule": schedule, "card": {"licence": "CC BY 4.0"}, "vae": vae}
    save_expert(path, network, ExpertMetadata(path.stem, network=config, image_size=size, **about), tower)
    return path


def write_vae(path, seed=0):
    """A narrow VAE of random weights, whose norm has measured something."""
    torch.manual_seed(seed)
    network = Autoencoder(AutoencoderConfig((4, 4, 4, 4)))
    network.norm.measure(network.features(torch.rand(8, 3, 16, 16) * 2 - 1))
    save_autoencoder(path, network.eval())
    return path


def write_text_expert(path, size=16):
    tower = TextTower()
    return write_expert(path, {"kind": "text", "text_encoder": tower.config.to_dict()}, size, tower)
