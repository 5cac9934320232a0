"""An expert on a worker, as ComfyUI here sees it: a MODEL without weights, and conditions that are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.supported_models_base
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..host.chain.expert_chain import Conditioning
from ..host.chain.pairs import Pairs
from ..host.files.expert_model import clamp_pixels
from ..host.prompt.links import Link
from .descriptions import make_latents, make_sampling

_DESCRIBED = ("model_sampling", "latent_format", "name", "pairs", "has_null", "clamps", "guidance")
_MADE_BY = "mcdm_made_by"  # in a CONDITIONING: the node of a worker's that made it


@dataclass(frozen=True)
class WorkerName:
    """Where a worker is.

    Attributes:
        address: Of the cluster.
        name: Of the worker.
    """

    address: str
    name: str


class RemoteModel(comfy.model_base.BaseModel):
    """What schedulers, previews and the product ask of a MODEL, without its network.

    Args:
        described: What a worker said of the MODEL, see `describe_model`.
        worker: Who has the network.

    Raises:
        ValueError: If something is left out, or the schedule or the latents are of a kind that is not known here.
    """

    def __init__(self, described: dict[str, Any], worker: WorkerName):
        for name in _DESCRIBED:
            if name not in described:
                raise ValueError(
                    f"Expected the worker {worker.name} to tell {name} of its MODEL and it doesn't; use the same "
                    "version of the pack on both machines."
                )
        config = comfy.supported_models_base.BASE({"disable_unet_model_creation": True, "dtype": torch.float32})
        config.latent_format = make_latents(described["latent_format"])
        super().__init__(config, device=torch.device("cpu"))
        self.model_sampling = make_sampling(described["model_sampling"])
        self.diffusion_model = _NoNetwork()
        self.worker = worker
        self.expert_name = f"{described['name']} on {worker.name}" if described["name"] else f"on {worker.name}"
        self.pairs = Pairs(*map(bool, described["pairs"]))
        self.has_null = bool(described["has_null"])
        self.guidance = [str(name) for name in described["guidance"]]

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        """Nothing: the worker has the conditions."""
        return {}

    def extra_conds_shapes(self, **kwargs: Any) -> dict[str, Any]:
        """As `extra_conds`."""
        return {}

    def memory_required(self, *args: Any, **kwargs: Any) -> float:
        """Nothing is computed here."""
        return 0.0

    def apply_model(self, *args: Any, **kwargs: Any) -> Tensor:
        """Asked for by samplers that take this for a MODEL.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"Expected a MODEL with weights and got that of Diffusion Expert on a Worker, which are on "
            f"{self.worker.name}; take it for schedulers alone, and sample the experts with Product Guider."
        )


class _NoNetwork(nn.Module):
    dtype = torch.float32


def remote_patcher(described: dict[str, Any], worker: WorkerName) -> ModelPatcher:
    """A MODEL without weights.

    Args:
        described: See `RemoteModel`.
        worker: See `RemoteModel`.
    """
    device = comfy.model_management.get_torch_device()
    offload = comfy.model_management.unet_offload_device()
    patcher = ModelPatcher(RemoteModel(described, worker), load_device=device, offload_device=offload)
    if described["clamps"]:
        patcher.set_model_sampler_post_cfg_function(clamp_pixels)
    return patcher


def is_remote(patcher: ModelPatcher) -> bool:
    """Whether a MODEL's network is on a worker."""
    return isinstance(patcher.model, RemoteModel)


def made_by(link: Link) -> Conditioning:
    """A CONDITIONING that is on a worker: it is told from others by what made it."""
    return [[None, {_MADE_BY: f"{link[0]} {link[1]}"}]]
