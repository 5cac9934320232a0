"""What the node Diffusion Expert on a Worker does: it asks the worker what the MODEL is, and remembers where it is."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..expert_chain import Experts
from . import cluster
from .files import send_files
from .model import RemoteExpert, WorkerName, made_by, remote_patcher
from .prompt_part import PromptPart, part_behind
from .versions import check_versions

_models: weakref.WeakValueDictionary[str, ModelPatcher] = weakref.WeakValueDictionary()
"""MODELs in use, so that experts with one MODEL share it here as they do there."""


def remote_expert(
    prompt: Any,
    node_id: str,
    worker: WorkerName,
    timeout: float,
    shares: Mapping[str, Any],
    mask: Tensor | None,
    experts: Experts,
) -> RemoteExpert:
    """An expert on a worker, which has been asked what its MODEL is, and has loaded it for that.

    Args:
        prompt: ComfyUI's DynamicPrompt.
        node_id: The node, whose links say what to run there.
        worker: Where.
        timeout: Seconds for which it may give no sign of life.
        shares: See `Share`.
        mask: See `ExpertInput`.
        experts: The experts before it.

    Raises:
        ValueError: If the worker cannot be reached, is of another version, or cannot load the MODEL.
    """
    inputs = prompt.get_node(node_id)["inputs"]
    names = [name for name in ("model", "condition", "null") if name in inputs]
    part = part_behind(prompt.get_node, {name: inputs[name] for name in names})
    check_versions(cluster.ask(worker, timeout, "hello")["versions"], worker.name)
    model = _model(part, worker, timeout)
    condition, null = (made_by(part.links[name]) if name in part.links else None for name in ("condition", "null"))
    if null is None and model.model.has_null:  # an expert that listens to nothing has it without its being wired
        null = made_by(part.links["model"])
    place = len(experts) + 1
    return RemoteExpert(model, condition, null, mask=mask, place=place, part=part, timeout=timeout, **shares)


def _model(part: PromptPart, worker: WorkerName, timeout: float) -> ModelPatcher:
    key = json.dumps([worker.address, worker.name, part.links["model"]])
    if (known := _models.get(key)) is not None:
        return known
    send_files(worker, timeout, part.files)
    answer = cluster.ask(worker, timeout, "load", part.nodes, list(part.links["model"]), part.models)
    made = _models[key] = remote_patcher(answer["model"], worker)
    return made
