"""All experts of a run come into memory in the one call that ComfyUI makes for the reference expert."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from comfy.controlnet import ControlBase
from comfy.model_patcher import ModelPatcher

from ..chain.expert_chain import Conds
from ..comfyui.device_copies import copies_of
from ..evaluation.spaces import SpacesOfRun
from ..weights.clones import SharedWeights
from .prepared import PassMemory, PreparedModel, memory_of_pass

logger = logging.getLogger(__name__)

_PASSENGERS = "mcdm passengers"


def load_jointly(
    load: Any,
    model: ModelPatcher,
    noise_shape: Sequence[int],
    conds: Conds,
    *args: Any,
    others: Sequence[PreparedModel],
    weights: SharedWeights,
    names: dict[ModelPatcher, list[str]],
    shape_of: Callable[[ModelPatcher, Sequence[int]], Sequence[int]],
    spaces: SpacesOfRun | None = None,
    **kwargs: Any,
) -> tuple[Any, Conds, list[ModelPatcher]]:
    """Load every expert, and the models that their conditioning needs.

    ComfyUI frees what an earlier call loaded, so there must be only one call. Of several MODELs of one network, and of
    its copies on another device, one is loaded; `SharedWeights` lets it answer as the others. Experts run one after the
    other, so a pass takes as much memory as the expert that needs most.

    Args:
        load: ComfyUI's own function, within the PREPARE_SAMPLING wrappers of other packs.
        model: The reference expert's MODEL.
        noise_shape: Shape of the latent.
        conds: Conditioning of the experts on that MODEL.
        *args: Further arguments of `load`.
        others: The other MODELs.
        weights: Of the run's MODELs.
        names: The names in messages of the experts on each MODEL.
        shape_of: Gives the shape of a MODEL's samples where the reference's have `noise_shape`.
        spaces: Those of the experts, whose VAEs are loaded too; None if they have one.
        **kwargs: Further arguments of `load`.

    Returns:
        As `load`: the reference's network, its conditioning, and the additional models (ControlNets and the like),
        which need a cleanup after the run, among them the copies of the reference and no other MODEL's.
    """
    networks = {id(model.model): [model]}
    passengers: list[ModelPatcher] = []
    copied = {id(copy.model) for copy in copies_of(model)}
    own = memory_of_pass(model, noise_shape, conds)
    needs = [own]
    for other in others:
        models, memory = other.needs(shape_of(other.patcher, noise_shape))
        needs.append(memory)
        shared = {id(copy) for copy in copies_of(other.patcher) if id(copy.model) in copied}
        copied |= {id(copy.model) for copy in copies_of(other.patcher)}
        passengers += [each for each in models if id(each) not in shared]
        clones = networks.setdefault(id(other.patcher.model), [])
        if not clones:
            passengers.append(weights.loaded(other.patcher))
        else:
            passengers += other.load_beside_weights()
        clones.append(other.patcher)
    vaes = [] if spaces is None else spaces.vaes
    passengers += vaes
    if spaces is not None:
        needs.append(PassMemory(spaces.memory(), spaces.memory()))
    whole, least = max(need.whole for need in needs), max(need.apart for need in needs)
    differing = {key: weights.memory(clones[0]) for key, clones in networks.items()}
    logger.info(
        "Loading %s; a pass takes up to %s.",
        ", ".join(_summary(clones, differing[key], names) for key, clones in networks.items()),
        _megabytes(whole),
    )
    # A condition that is made up: ComfyUI loads the models in it, and asks its ControlNet how much memory it takes. It
    # adds that to the reference's need, whole and apart alike.
    beside = max(whole - own.whole, least - own.apart) + sum(differing.values())
    entry = {"additional_models": passengers, "control": _Memory(beside)}
    conds = {**conds, _PASSENGERS: [entry]}
    network, conds, additional = load(weights.loaded(model), noise_shape, conds, *args, **kwargs)
    loaded = {weights.loaded(clone) for clones in networks.values() for clone in clones}
    copies = (copy for other in others for copy in copies_of(other.patcher))
    experts = {id(each) for each in (*loaded, *copies, *vaes)}
    conds = {name: entries for name, entries in conds.items() if name != _PASSENGERS}
    return network, conds, [patcher for patcher in additional if id(patcher) not in experts]


class _Memory(ControlBase):
    """The memory that the other MODELs need, in the guise of a ControlNet, which ComfyUI asks for its need.

    Args:
        size: Bytes beside the reference's own need.
    """

    def __init__(self, size: float):
        super().__init__()
        self._size = size

    def inference_memory_requirements(self, dtype: Any) -> float:
        """Asked for by ComfyUI; in bytes."""
        return self._size

    def deepclone_multigpu(self, load_device: Any, autoregister: bool = False) -> ControlBase:
        """Asked for by ComfyUI where the reference is split over devices; the others see to theirs."""
        self.multigpu_clones[load_device] = ControlBase()
        return self.multigpu_clones[load_device]


def _summary(clones: Sequence[ModelPatcher], apart: int, names: dict[ModelPatcher, list[str]]) -> str:
    experts = " and ".join(name for patcher in clones for name in names[patcher])
    text = f"{experts}: {_megabytes(clones[0].model_size())}"
    return f"{text} and {_megabytes(apart)} for what differs" if apart else text


def _megabytes(size: float) -> str:
    return f"{size / 2**20:.1f} MB"
