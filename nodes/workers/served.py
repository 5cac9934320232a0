"""A worker's side of a run: its experts are loaded and prepared as for a run of its own, and answer requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..host.chain.attachments import SAMPLER_WIDE, hooks_on_guidance, wrappers_of
from ..host.chain.expert_chain import Experts, WiredTerm
from ..host.evaluation.pairs import pairs_of
from ..host.evaluation.requests import NEGATIVE, POSITIVE, Request
from ..host.files.expert_model import clamp_pixels, implicit_null
from ..host.run.guider import ProductGuider
from .descriptions import describe_latents, describe_sampling
from .wire import to_buffer, to_tensor

Made = dict[str, Any]
"""An expert's "model", "condition" and "null", as made by nodes."""


def describe_model(patcher: ModelPatcher) -> dict[str, Any]:
    """Describe a MODEL for a ComfyUI that doesn't have its network.

    Raises:
        ValueError: If a wrapper on it works on the whole product, or its schedule or latents cannot be described.
    """
    for kind, key, _ in wrappers_of(patcher, *SAMPLER_WIDE):
        raise ValueError(
            f"Expected nothing on a worker's MODEL that works on the prediction of the whole product and got "
            f"{key or 'a node'} ({kind}); leave it out."
        )
    hooks = hooks_on_guidance(patcher)
    return {
        "model_sampling": describe_sampling(patcher.get_model_object("model_sampling")),
        "latent_format": describe_latents(patcher.get_model_object("latent_format")),
        "name": getattr(patcher.model, "expert_name", None),
        "pairs": list(pairs_of(patcher)),
        "has_null": implicit_null(patcher) is not None,
        "clamps": any(clamp_pixels in each for each in hooks.values()),
        "guidance": [name for name, each in hooks.items() if any(hook is not clamp_pixels for hook in each)],
    }


def serve_run(setup: dict[str, Any], made: Sequence[Made], serve: Callable[[Answering], None]) -> None:
    """Prepare a run, and keep it ready until a function returns.

    Args:
        setup: The setup from `WorkersOfRun.begin`.
        made: The experts, in the order of the setup.
        serve: Called in the middle of ComfyUI's sampling, when networks are loaded and conditions processed. Its
            argument answers requests. The run ends when it returns.

    Raises:
        ValueError: If the experts cannot be used, before `serve` is called.
    """
    here = {expert["index"]: index for index, expert in enumerate(setup["experts"])}  # their indices on this worker
    levels = [to_tensor(expert["levels"]) for expert in setup["experts"]]
    guider = _PartsGuider(_chain(setup, made), levels)

    def sampler(
        model: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], callback: Any = None, disable: Any = None
    ) -> Tensor:
        """A sampler function for ComfyUI that samples nothing: it answers requests."""

        def answer(question: list[dict[str, Any]]) -> list[dict[str, Any]]:
            requests = [Request(here[each["expert"]], _role(each["role"])) for each in question]
            return guider.answer(requests, question, extra_args["model_options"])

        serve(answer)
        return x

    mask = setup["denoise_mask"]
    guider.sample(
        to_tensor(setup["noise"]),
        to_tensor(setup["latent_image"]),
        comfy.samplers.KSAMPLER(sampler),
        levels[0],
        denoise_mask=None if mask is None else to_tensor(mask),
        disable_pbar=True,
        seed=setup["seed"],
    )


Answering = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
"""Maps requests with their points to predictions."""


class _PartsGuider(ProductGuider):
    """A guider that gives single experts' predictions, not their product.

    Args:
        experts: The worker's experts; any of them may be the first.
        levels: Noise levels of the run in the form of each expert.
    """

    def __init__(self, experts: Experts, levels: Sequence[Tensor]):
        super().__init__(experts)
        self._levels = {expert.model: of for expert, of in zip(self.experts, levels, strict=True)}

    def levels_met_by(self, patcher: ModelPatcher, sigmas: Tensor) -> Tensor:
        """The levels from the setup, already aligned with the reference of the whole product."""
        return self._levels[patcher]

    def answer(
        self, requests: list[Request], points: list[dict[str, Any]], model_options: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Predictions of x0.

        Args:
            requests: Requests to experts of this chain.
            points: For each request "x" and "sigma" in the form of its MODEL; the same for all requests to one MODEL.
            model_options: The first MODEL's prepared options.
        """
        networks, asked = self.product.networks, dict[ModelPatcher, tuple[Tensor, Tensor]]()
        for request, point in zip(requests, points, strict=True):
            model = networks.asked_with(request.expert)
            if model not in asked:
                x = to_tensor(point["x"]).to(model.load_device)
                asked[model] = x, x.new_full((len(x),), float(point["sigma"]))
        predictions = networks.predict(requests, asked.__getitem__, model_options)
        return [dict(to_buffer(predictions[request])) for request in requests]


def _chain(setup: dict[str, Any], made: Sequence[Made]) -> Experts:
    """The worker's experts, with weights and reliabilities that pass all checks: the calling ComfyUI has its own."""
    guiding = sum(each.get("condition") is not None for each in made)
    chain = []
    for expert, each in zip(setup["experts"], made, strict=True):
        condition, null = each.get("condition"), each.get("null")
        null = implicit_null(each["model"]) if null is None else null
        weight = 0.0 if condition is None else 1.0 / guiding
        reliability = 0.0 if null is None else 1.0
        place = int(expert["place"])
        chain.append(WiredTerm(each["model"], condition, null, weight=weight, reliability=reliability, place=place))
    return tuple(chain)


def _role(role: str) -> str:
    if role not in (POSITIVE, NEGATIVE):
        raise ValueError(
            f"Expected a prompt or a negative to be asked and got {role}; use the same version of the pack."
        )
    return role
