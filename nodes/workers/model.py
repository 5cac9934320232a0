"""An expert on a worker, as this ComfyUI sees it: a MODEL without weights, and placeholders for its conditions."""

from __future__ import annotations

from typing import Any

import comfy.model_base
import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..host.chain.expert_chain import Conditioning
from ..host.evaluation.pairs import Pairs
from ..host.files.expert_model import ExpertConfig, clamp_pixels
from ..host.prompt.worker_graph import Link
from .cluster import WorkerName
from .descriptions import make_latents, make_sampling

_DESCRIBED = ("model_sampling", "latent_format", "name", "pairs", "has_null", "clamps", "guidance")
_MADE_BY = "mcdm_made_by"  # in a CONDITIONING: the output of a worker's node that it stands for


class RemoteModel(comfy.model_base.BaseModel):
    """The parts of a MODEL that schedulers, previews and the product need, without its network.

    Args:
        described: The worker's description of the MODEL, see `describe_model`.
        worker: The worker with the network.

    Raises:
        ValueError: If the description is incomplete, or this ComfyUI lacks the class of the schedule or the latents.
    """

    def __init__(self, described: dict[str, Any], worker: WorkerName):
        for name in _DESCRIBED:
            if name not in described:
                raise ValueError(
                    f"Expected the worker {worker.name} to tell {name} of its MODEL and it doesn't; use the same "
                    "version of the pack on both machines."
                )
        config = ExpertConfig(torch.float32, make_latents(described["latent_format"]))
        super().__init__(config, device=torch.device("cpu"))
        self.model_sampling = make_sampling(described["model_sampling"])
        self.diffusion_model = _NoNetwork()
        self.worker = worker
        self.expert_name = f"{described['name']} on {worker.name}" if described["name"] else f"on {worker.name}"
        self.pairs = Pairs(*map(bool, described["pairs"]))
        self.has_null = bool(described["has_null"])
        self.guidance = [str(name) for name in described["guidance"]]

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        """Empty, since the worker has the conditions."""
        return {}

    def extra_conds_shapes(self, **kwargs: Any) -> dict[str, Any]:
        """Empty, since the worker has the conditions."""
        return {}

    def memory_required(self, *args: Any, **kwargs: Any) -> float:
        """0, since nothing is computed here."""
        return 0.0

    def apply_model(self, *args: Any, **kwargs: Any) -> Tensor:
        """Called by samplers that sample this as an ordinary MODEL.

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


def placeholder(link: Link) -> Conditioning:
    """A placeholder for a CONDITIONING on a worker, which differs from others by the output that it stands for."""
    return [[None, {_MADE_BY: f"{link[0]} {link[1]}"}]]
