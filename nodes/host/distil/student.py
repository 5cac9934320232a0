"""The student: a MODEL as it is at cfg 1, with changes of its layers that learn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import comfy.model_management
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ....mcdm_core.product.evaluation.forms import from_unbounded
from ..chain.expert_chain import Conditioning
from ..comfyui.network_calls import holding
from ..evaluation.model_forms import form_of
from ..run.prepared import PreparedModel, RunInputs, process
from ..weights.exchange_dynamic import invalidate_pages
from .learning_layers import Factors, LearningLayers
from .plain_tensors import plain, plain_weights

_HELD = 24  # passes whose memory ComfyUI is asked for: each layer's input is kept until the gradient; an estimate


class GuidedStudent:
    """A MODEL as the core's `Student`; it is loaded when it is asked, until `leave`.

    Args:
        patcher: The MODEL, which stays as it is.
        conditionings: The prompt that it is given in place of all that the experts are told, for each of the prompts.
        shape: Shape of a batch, (B, C, …).
        dtype: In which the network computes; None for its own.

    Attributes:
        device: Where it is asked.
        called: The names of its layers that were called and can learn.
    """

    def __init__(
        self,
        patcher: ModelPatcher,
        conditionings: Sequence[Conditioning],
        shape: Sequence[int],
        dtype: torch.dtype | None,
    ):
        self._patcher = patcher.clone()
        if dtype is not None:
            self._patcher.set_model_compute_dtype(dtype)
        self._given = {f"positive {place}": plain(each) for place, each in enumerate(conditionings, start=1)}
        self._shape = tuple(shape)
        self._form = form_of(patcher.get_model_object("model_sampling"), shape)
        self._stage: _Stage | None = None
        self.device = patcher.load_device
        self.called: set[str] = set()

    def __call__(self, network: nn.Module, x: Tensor, sigma: Tensor, prompts: Tensor) -> Tensor:
        """Predict x0 of each sample by its own prompt, one call for each prompt; a `Student`."""
        assert isinstance(network, Factors)
        if self._stage is None:
            self._stage = _Stage(self._patcher, self._given, self._shape, self.called)
        rows = [(prompts == prompt).nonzero()[:, 0] for prompt in prompts.unique()]
        point, level = from_unbounded(x, sigma, self._form)
        answers = [self._stage.ask(network, int(prompts[own[0]]), point[own], level[own]) for own in rows]
        return torch.cat(answers)[torch.cat(rows).argsort()]

    def leave(self) -> None:
        """Give the network its own layers and weights back; it stays loaded."""
        if self._stage is not None:
            self._stage.close()
            self._stage = None

    def end(self) -> None:
        """Leave nothing of the student in the network."""
        self.leave()
        comfy.model_management.unload_model_and_clones(self._patcher, all_devices=True)


class _Stage:
    """The student while it is loaded and asked.

    Args:
        patcher: The student's MODEL.
        given: Its CONDITIONINGs by name, in the order of the prompts.
        shape: Shape of a batch.
        called: See `LearningLayers`.
    """

    def __init__(self, patcher: ModelPatcher, given: dict[str, Conditioning], shape: tuple[int, ...], called: set[str]):
        self._network = patcher.model
        with ExitStack() as ending:
            prepared = PreparedModel(patcher, given, ending)
            self._options = prepared.model_options
            learning = (shape[0] * _HELD, *shape[1:])
            _, conds, models = comfy.sampler_helpers.prepare_sampling(patcher, learning, prepared.conds, self._options)
            ending.callback(comfy.sampler_helpers.cleanup_models, conds, models)
            ending.enter_context(plain_weights(self._network))
            invalidate_pages(self._network)
            # ComfyUI's own switch: families leave out steps then that have no gradient, as its Train LoRA needs, too.
            ending.enter_context(holding(vars(comfy.model_management), {"in_training": True}))
            sigmas = torch.tensor([self._network.model_sampling.sigma_max, 0.0])
            prepared.announce(sigmas)
            empty = torch.zeros(shape)
            inputs = RunInputs(empty, empty, None, sigmas, 0, [shape])
            # One at a time: ComfyUI lends the areas of prompts that it processes together to one another.
            self._conds = [process(patcher, {name: cond}, inputs)[name] for name, cond in conds.items()]
            self._layers = LearningLayers(self._network, called)
            ending.enter_context(self._layers.attached())
            self._ending = ending.pop_all()

    def ask(self, factors: Factors, prompt: int, x: Tensor, sigma: Tensor) -> Tensor:
        """The x0 of a prompt, in the MODEL's own form."""
        self._layers.learn(factors)
        (x0,) = comfy.samplers.calc_cond_batch(self._network, [self._conds[prompt]], x, sigma, self._options)
        found: Tensor = x0
        return found

    def close(self) -> None:
        """Take the network as it was."""
        self._ending.close()
