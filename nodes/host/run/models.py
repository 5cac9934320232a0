"""The MODELs of a run: prepared together, and loaded in the one call that ComfyUI makes for the reference expert's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import comfy.sampler_helpers
from comfy.controlnet import ControlBase
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..chain.expert_chain import Conds, Experts
from ..comfyui.devices import Devices, copies_of
from ..evaluation.requests import Workers, conditionings_on, conds_of
from ..spaces.run_spaces import RunSpaces
from ..spaces.run_state import RunState
from ..weights.adapter_groups import adapter_groups
from ..weights.clones import SharedNetworks
from .prepared import PreparedModel, RunInputs, memory_of_pass, process

logger = logging.getLogger(__name__)

_PASSENGERS = "mcdm passengers"
"""Name of a made-up conditioning of the reference, by whose models ComfyUI loads all that a run needs."""


class ModelsOfRun:
    """The MODELs of a run, from its first refusal to its end.

    CFGGuider prepares the reference expert's MODEL; the others are prepared here.

    Args:
        experts: The chain.
        spaces: The latent spaces of the experts.
        ending: Is closed at the end of the run; it gets what has to be undone.

    Attributes:
        shared: Lets networks answer as each of the MODELs that share them.
        devices: The devices of the MODELs.
        workers: The workers that have experts of the run; None if all are here.
        others: The MODELs but the reference's.
        names: The MODELs in the order of the chain, with the names of their experts in messages.

    Raises:
        ValueError: If a worker cannot be found.
    """

    def __init__(self, experts: Experts, spaces: RunSpaces, ending: ExitStack):
        self.experts = experts
        self.spaces = spaces
        self.names: dict[ModelPatcher, str] = {}
        for expert in experts:
            known = self.names.get(expert.model)
            self.names[expert.model] = f"{known} and {expert.label}" if known else expert.label
        self._reference = experts[0].model
        elsewhere = {expert.model for expert in experts if expert.workers is not None}
        self.devices = Devices([each for each in self.names if each is self._reference or each not in elsewhere])
        ending.callback(self.devices.close)
        self.shared = SharedNetworks(self.names, adapter_groups(experts))
        self._cleanups = ending.enter_context(ExitStack())
        kinds = (expert.workers for expert in experts if expert.workers is not None)
        self.workers: Workers | None = next((of_chain(experts) for of_chain in kinds), None)
        if self.workers is not None:
            ending.callback(self.workers.close)
        others = [patcher for patcher in self.names if patcher is not self._reference]
        self.others = [PreparedModel(each, conditionings_on(experts, each), ending) for each in others]
        ending.callback(self.shared.restore)

    def announce(self, levels_met_by: Callable[[ModelPatcher], Tensor]) -> None:
        """Announce the run to the other MODELs, after loading.

        Args:
            levels_met_by: Gives the noise levels of the run in the form of a MODEL, shape (S + 1,).
        """
        self.shared.find_copies()
        for other in self.others:
            other.announce(levels_met_by(other.patcher))

    def load(
        self, load: Any, model: ModelPatcher, noise_shape: Sequence[int], conds: Conds, *args: Any, **kwargs: Any
    ) -> tuple[Any, Conds, list[ModelPatcher]]:
        """Load every expert, and the models that their conditioning needs.

        ComfyUI frees what an earlier call loaded, so there must be only one call. Of several MODELs of one network, and
        of its copies on another device, one is loaded; `shared` lets it answer as the others. Experts run one after
        the other, so a pass takes as much memory as the expert that needs most.

        Args:
            load: ComfyUI's own function, within the PREPARE_SAMPLING wrappers of other packs.
            model: The reference expert's MODEL.
            noise_shape: Shape of the latent.
            conds: Conditioning of the experts on that MODEL.
            *args: Further arguments of `load`.
            **kwargs: Further arguments of `load`.

        Returns:
            As `load`: the reference's network, its conditioning, and the additional models (ControlNets and the like),
            which need a cleanup after the run, among them the copies of the reference and no other MODEL's.
        """
        with self.shared.loading():
            clones: dict[int, list[ModelPatcher]] = {}
            for patcher in self.names:  # of which the reference is the first
                clones.setdefault(id(patcher.model), []).append(patcher)
            own = memory_of_pass(model, noise_shape, conds)
            passengers, others = self._passengers(model, noise_shape)
            maps = self.spaces.memory()
            whole, apart = map(max, zip(own, *others, (maps, maps), strict=True))
            differing = [self.shared.memory(patchers[0]) for patchers in clones.values()]
            told = ", ".join(map(self._summary, clones.values(), differing))
            logger.info("Loading %s; a pass takes up to %s.", told, _megabytes(whole))
            # A condition that is made up: ComfyUI loads the models in it, and adds the memory that its ControlNet says
            # it takes to the reference's need, whole and apart alike.
            beside = max(whole - own[0], apart - own[1]) + sum(differing)
            entry = {"additional_models": passengers, "control": _Memory(beside)}
            conds = {**conds, _PASSENGERS: [entry]}
            network, conds, additional = load(self.shared.loaded(model), noise_shape, conds, *args, **kwargs)
        copies = (copy for other in self.others for copy in copies_of(other.patcher))
        own_patchers = {id(each) for each in (*map(self.shared.loaded, self.names), *copies, *self.spaces.vaes)}
        conds = {name: entries for name, entries in conds.items() if name != _PASSENGERS}
        return network, conds, [patcher for patcher in additional if id(patcher) not in own_patchers]

    def process(self, conds: Conds, state: RunState, inputs: RunInputs) -> list[Conds]:
        """Process the conditioning of the experts after the first, each against its own MODEL.

        Args:
            conds: Conditioning of all experts on the reference's MODEL, whose `latent_shapes` CFGGuider sets.
            state: The state of the run, in the latent spaces of its experts.
            inputs: What ComfyUI gives the run.
        """
        conds_by_patcher: dict[ModelPatcher, Conds] = {other.patcher: other.conds for other in self.others}
        conds_by_patcher[self._reference] = conds
        processed = []
        for index, expert in enumerate(self.experts[1:], start=1):
            own = self.spaces.with_areas(expert.model, conds_of(conds_by_patcher[expert.model], index))
            own_inputs = inputs.of_model(expert.model, state)
            expert.model.model.latent_shapes = own_inputs.latent_shapes
            process_own = partial(process, expert.model, own, own_inputs)
            # As that MODEL: a clone may have a schedule of its own, and a family may call layers for its conditioning.
            processed.append(self.shared.as_model(expert.model, process_own))
            self._cleanups.callback(comfy.sampler_helpers.cleanup_models, processed[-1], [])
        return processed

    def _passengers(
        self, reference: ModelPatcher, noise_shape: Sequence[int]
    ) -> tuple[list[ModelPatcher], list[tuple[float, float]]]:
        """All that is loaded beside the reference and its conditioning's models; and what passes of the others take.

        One MODEL of each network is loaded, and `shared` answers as the others; so with copies on further devices.
        """
        passengers: list[ModelPatcher] = []
        needs: list[tuple[float, float]] = []
        networks, copied = {id(reference.model)}, {id(copy.model) for copy in copies_of(reference)}
        for other in self.others:
            additional, memory = other.needs(self.spaces.shape_of(other.patcher, noise_shape))
            needs.append(memory)
            loaded = {id(copy) for copy in copies_of(other.patcher) if id(copy.model) in copied}
            copied |= {id(copy.model) for copy in copies_of(other.patcher)}
            passengers += [each for each in additional if id(each) not in loaded]
            if id(other.patcher.model) in networks:
                passengers += other.load_all_but_parameters()
            else:
                passengers.append(self.shared.loaded(other.patcher))
            networks.add(id(other.patcher.model))
        return [*passengers, *self.spaces.vaes], needs

    def _summary(self, clones: Sequence[ModelPatcher], apart: int) -> str:
        experts = " and ".join(self.names[patcher] for patcher in clones)
        text = f"{experts}: {_megabytes(clones[0].model_size())}"
        return f"{text} and {_megabytes(apart)} for what differs" if apart else text


class _Memory(ControlBase):
    """The bytes that the other MODELs need, in the guise of a ControlNet, whose need ComfyUI reads."""

    def __init__(self, size: float):
        super().__init__()
        self._size = size

    def inference_memory_requirements(self, dtype: Any) -> float:
        """Called by ComfyUI; in bytes."""
        return self._size

    def deepclone_multigpu(self, load_device: Any, autoregister: bool = False) -> ControlBase:
        """Called by ComfyUI where the reference is split over devices; the others see to theirs."""
        self.multigpu_clones[load_device] = ControlBase()
        return self.multigpu_clones[load_device]


def _megabytes(size: float) -> str:
    return f"{size / 2**20:.1f} MB"
