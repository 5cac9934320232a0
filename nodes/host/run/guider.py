"""The guider: ComfyUI's CFGGuider with a product of experts in place of its one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import comfy.sampler_helpers
import comfy.samplers
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key, get_all_wrappers
from torch import Tensor

from ....mcdm_core.diffusion.schedule import levels_of
from ....mcdm_core.product.evaluation.forms import align_levels
from ....mcdm_core.product.methods.lift_scores import LiftScores
from ....mcdm_core.product.methods.method import Methods
from ....mcdm_core.product.rules.eq10 import EQ10
from ....mcdm_core.product.rules.own_null import OWN_NULL
from ....mcdm_core.product.rules.rule import Rule
from ..chain.attachments import within_wrappers
from ..chain.conditioning_hooks import delegate_hooked, separate_hooked
from ..chain.expert_chain import Conds, Experts
from ..comfyui.latents import pack, parts_of, without_time_axis
from ..comfyui.page import refusals_at_experts
from ..comfyui.start_noise import Drawn, drawn_of
from ..evaluation.model_forms import form_of
from ..evaluation.networks import NetworksOfRun
from ..evaluation.product import ProductOfRun
from ..evaluation.requests import Observer, conditionings_on, conds_of
from ..spaces.refusals import OF_SCORES, check_noise, check_one_space, in_spaces
from ..spaces.run_spaces import RunSpaces
from ..spaces.run_state import RunState
from .models import ModelsOfRun
from .planning import PlansOfRun, planner_of
from .prepared import RunInputs
from .refusals import check_packed, checked_spaces, warn_of_idle_conditions, warn_of_idle_hooks
from .scores import scores_of_run, with_scores

_KEY = "mcdm"  # of the wrappers that a run adds


class ProductGuider(comfy.samplers.CFGGuider):
    """Combines experts by Eq. 10: D = Σ_i w_i D_i(x_i) − (Σ_i w_i − 1) Σ_j a_j D_j(∅).

    For the reference expert, the first of the chain, CFGGuider does what it always does; the other MODELs are prepared
    beside it. With one expert the result is CFGGuider's at cfg = w, bit for bit. A run leaves nothing behind, so the
    object can be sampled again.

    ComfyUI's SamplerCustomAdvanced calls `sample`, and that the rest. `models`, `plans` and `product` exist from the
    phase that makes them to the end of the run:

    1. `sample` has `running` check the experts and make `models`;
    2. `outer_sample` loads them, where CFGGuider loads its one model, within the wrappers of the other MODELs;
    3. `inner_sample` makes `plans`, announces the run to the other MODELs, and processes the experts' conditioning;
    4. `_begin_product`, around the sampler, makes `product`, whose `predict` each `predict_noise` calls; of
       several latent spaces the sampler is in a `JointSampler`, whose `JointGuider` calls it with the reference's part.

    Args:
        experts: The chain.
        observer: Is shown every evaluation of the product.
        scores: Whether the samples carry every expert's score of them, see `scores_of`; that takes no further pass.

    Attributes:
        chain: The experts as they are wired, which the scores of a run name.
        experts: The same with the MODELs that are run, where hooks or network copies need others.
        rule: How predictions are combined.
        models: The MODELs, from phase 1 on.
        plans: The plans at all noise levels, from phase 3 on.
        product: The product, from phase 4 on.

    Raises:
        ValueError: If there is no expert, or hooks need a MODEL that ComfyUI cannot load.
    """

    rule: Rule = EQ10
    models: ModelsOfRun
    plans: PlansOfRun
    product: ProductOfRun
    conds: Conds  # CFGGuider's own
    _drawn: Drawn  # what the start noise was made of, known by the tensor that comes in
    _scores: Tensor | None = None  # the scores of the finished samples, if these are to carry any

    def __init__(self, experts: Experts, observer: Observer | None = None, scores: bool = False):
        if not experts:
            raise ValueError("Expected at least one expert and got an empty chain; connect a Diffusion Expert node.")
        warn_of_idle_conditions(experts)
        self.chain = experts
        self.scores = scores
        experts = separate_hooked(delegate_hooked(experts))
        super().__init__(experts[0].model)
        self.experts = experts
        self.observer = observer
        self.inner_set_conds(conditionings_on(experts, experts[0].model))

    def sample(
        self, noise: Tensor, latent_image: Tensor, sampler: Any, sigmas: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """As CFGGuider's.

        Raises:
            ValueError: If the experts cannot be combined; before any network is called.
        """
        if sigmas.shape[-1] == 0:
            return latent_image
        with self.running(latent_image):
            samples = super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)
            return samples if self._scores is None else with_scores(samples, self.chain, self._scores)

    @contextmanager
    def running(self, latent_image: Tensor, latent_shapes: Sequence[Sequence[int]] | None = None) -> Iterator[None]:
        """Prepare a run, and clean up after it whatever becomes of it.

        Args:
            latent_image: What to start from, shape (B, C, …), or nested.
            latent_shapes: Where it is packed, the shapes of what it holds.

        Raises:
            ValueError: If the experts cannot be combined.
        """
        with refusals_at_experts(self.node_of), self._unchanged(), ExitStack() as ending:
            spaces = self._checked_spaces(*parts_of(latent_image, latent_shapes))
            warn_of_idle_hooks(self.experts)
            ending.callback(self._clean_up)
            self.models = ModelsOfRun(self.experts, spaces, ending)
            yield

    def _checked_spaces(self, *parts: Tensor) -> RunSpaces:
        """The spaces of a run, after the checks of its experts, of a latent's parts and of what scores ask."""
        spaces = checked_spaces(self.experts, *parts)
        if self.scores:
            check_one_space(in_spaces(self.experts), *OF_SCORES)
        return spaces

    def outer_sample(self, noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As CFGGuider's, but all experts are loaded where it loads its one model."""
        self._drawn, models = drawn_of(noise), self.models
        run: Callable[..., Tensor] = super().outer_sample
        of_first = get_all_wrappers(WrappersMP.OUTER_SAMPLE, self.model_options, is_model_options=True)
        for other in models.others:
            run = within_wrappers(run, other.guider, of_first, models.names[other.patcher])
        given = self.conds
        with self._wrapper(WrappersMP.PREPARE_SAMPLING, models.load) if models.others else nullcontext():
            made = run(noise, *args, **kwargs)
        self.conds = given  # those of all experts, in case that a node's wrapper runs once more
        return made

    def inner_sample(
        self,
        noise: Tensor,
        latent_image: Tensor,
        device: Any,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Tensor | None,
        callback: Callable | None,
        disable_pbar: bool,
        seed: int | None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """As CFGGuider's, which processes the reference's conditioning; the others' is processed here."""
        models = self.models
        inputs = RunInputs(noise, latent_image, denoise_mask, sigmas, seed, kwargs.get("latent_shapes"))
        plans = self.plans = self._plan_run(inputs, device)
        sampler = plans.sampler_around(sampler, self.model_patcher)
        scores = LiftScores(self.experts) if self.scores else None
        methods = Methods(filter(None, [*plans.planner.methods, scores]))
        try:
            methods.begin(levels_of(sigmas), plans.planner.combination.read_nulls)
            models.announce(partial(self.levels_met_by, sigmas=sigmas))
            processed = models.process(self.conds, plans.state, inputs)
            self.conds = conds_of(self.conds, 0)
            if models.workers is not None:
                models.workers.begin(inputs, plans.form_of)
            models.shared.activate(self.model_patcher)
            rest = (callback, disable_pbar, seed, *args)
            with self._wrapper(WrappersMP.SAMPLER_SAMPLE, partial(self._begin_product, processed, methods)):
                made = super().inner_sample(noise, latent_image, device, sampler, sigmas, denoise_mask, *rest, **kwargs)
            methods.end()
            if scores is not None:
                self._scores = scores_of_run(scores, self.inner_model.process_latent_in(made), sigmas)
            return made
        finally:
            models.shared.restore()  # before CFGGuider cleans up after the reference expert
            methods.forget()

    def _plan_run(self, inputs: RunInputs, device: Any) -> PlansOfRun:
        """Plan the run; asks no network of an expert."""
        spaces, noise, latent = self.models.spaces, inputs.noise, inputs.latent_image
        planner = planner_of(self.experts, self.rule, noise, inputs.shapes, device, inputs.sigmas, spaces)
        shape_of = partial(spaces.shape_of, shape=noise.shape)
        form_in_run = cache(lambda each: form_of(each.get_model_object("model_sampling"), shape_of(each)))
        if spaces.are_several:
            check_noise(noise, inputs.sigmas)
            latent = self.inner_model.process_latent_in(latent) if latent.any() else latent
            noise, latent = without_time_axis(noise), without_time_axis(latent).to(noise)
        return PlansOfRun(planner, form_in_run, inputs.shapes, RunState(spaces, self._drawn, noise, latent))

    def levels_met_by(self, patcher: ModelPatcher, sigmas: Tensor) -> Tensor:
        """Noise levels of the run as a MODEL meets them.

        Args:
            patcher: The MODEL.
            sigmas: The levels in the reference's form, shape (S + 1,).
        """
        reference, own = map(self.plans.form_of, (self.model_patcher, patcher))
        return align_levels(sigmas, reference, own, self.models.spaces.kappa_of(patcher))

    def _begin_product(
        self,
        processed: list[Conds],
        methods: Methods,
        run_sampler: Callable[..., Tensor],
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Wrapper around the sampler: CFGGuider has processed the reference's conditioning by then."""
        models, plans, conds = self.models, self.plans, [self.conds, *processed]
        if len(plans.shapes) > 1:
            check_packed(self.experts, conds)
        options = {other.patcher: other.model_options for other in models.others}
        read_nulls = plans.planner.combination.read_nulls
        networks = NetworksOfRun(self.experts, conds, read_nulls, options, models.shared, models.devices)
        self.product = ProductOfRun(networks, plans.form_of, plans.state, plans.planner, methods, models.workers)
        if self.observer is not None:
            self.product.observers.append(self.observer)
        return run_sampler(*args, **kwargs)

    def predict_noise(
        self, x: Tensor, timestep: Tensor, model_options: dict | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The product's prediction of x0 (ComfyUI calls it noise), at σ = `timestep`."""
        return self.product.predict(x, timestep, model_options or {})

    def check_run(self, noise: Tensor, sigmas: Tensor) -> None:
        """Refuse what `sample` would refuse before it calls a network; loads nothing.

        Args:
            noise: The start noise.
            sigmas: Noise levels of the run, at least one.

        Raises:
            ValueError: If the experts cannot be combined.
        """
        parts = parts_of(noise)
        spaces = self._checked_spaces(*parts)
        if spaces.are_several:
            check_noise(noise, sigmas)
        shapes = [part.shape for part in parts]
        planner_of(self.experts, self.rule, pack(parts), shapes, noise.device, sigmas, spaces)

    def node_of(self, index: int, name: str) -> str | None:
        """Id of the node that has an input of an expert; None if it isn't known, or is the node that runs.

        Args:
            index: The expert's.
            name: The input's name, see `TermError`.
        """
        return self.experts[index].node

    @contextmanager
    def _wrapper(self, kind: str, wrapper: Callable) -> Iterator[None]:
        """Within the block ComfyUI calls a wrapper of the run's own, inside those of other packs."""
        add_wrapper_with_key(kind, _KEY, wrapper, self.model_options, is_model_options=True)
        own = self.model_options["transformer_options"]["wrappers"][kind][_KEY]
        try:
            yield
        finally:
            own.remove(wrapper)

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """After the block all attributes are as before: CFGGuider keeps a run in some, after a failure for good."""
        before = dict(vars(self))
        try:
            yield
        finally:
            self.__dict__.clear()
            self.__dict__.update(before)

    def _clean_up(self) -> None:
        if "loaded_models" in vars(self):  # an exception kept CFGGuider from its own cleanup
            started = "product" in vars(self)  # a ControlNet that was not may fail to clean up
            comfy.sampler_helpers.cleanup_models(self.conds if started else {}, self.loaded_models)


class OwnNullProductGuider(ProductGuider):
    """Combines experts by composable diffusion: D = Σ_j a_j D_j(∅) + Σ_i w_i (D_i(x_i) − D_i(∅)).

    With one expert the result is CFGGuider's at cfg = w, bit for bit.
    """

    rule = OWN_NULL
