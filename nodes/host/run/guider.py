"""The guider: ComfyUI's CFGGuider with a product of experts in place of its one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import comfy.patcher_extension
import comfy.sampler_helpers
import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.diffusion.schedule import levels_of
from ....mcdm_core.product.methods.lifts import Lifts
from ....mcdm_core.product.methods.method import Methods
from ....mcdm_core.product.plans.joint import spaces_ahead
from ....mcdm_core.product.rules.eq10 import EQ10
from ....mcdm_core.product.rules.own_null import OWN_NULL
from ....mcdm_core.product.rules.rule import Rule
from ..chain.expert_chain import Conds, Experts, labels_by_model
from ..chain.hooks import null_is_read, separate_hooked
from ..chain.run_wrappers import within_wrappers
from ..comfyui.devices import Devices
from ..comfyui.latents import pack, parts_of, unframed
from ..comfyui.page import refusals_at_experts
from ..evaluation.expert_conds import conditionings_on, conds_of
from ..evaluation.joint_product import JointProduct
from ..evaluation.networks import LocalNetworks
from ..evaluation.noise_levels import Forms, align_levels, form_of
from ..evaluation.product import Product
from ..evaluation.scaled_noise import drawn_of
from ..evaluation.spaces import SpacesOfRun
from ..evaluation.types import Observer
from ..evaluation.workers import ExpertOnWorker, Start, workers_of
from ..weights.adapter_groups import adapter_groups
from ..weights.weights_on_devices import WeightsOnAllDevices
from .delegates import delegate_hooked
from .idle import warn_of_idle_conditions, warn_of_idle_hooks
from .joint_sampler import JointSample, JointSampler
from .loading import load_jointly
from .planning import plan_run
from .prepared import PreparedModel, process
from .refusals import check_experts, check_packed
from .run_state import Run
from .scores import lifts_of_run, with_scores
from .space_refusals import check_noise, check_one_space, check_sampler


class ProductGuider(comfy.samplers.CFGGuider):
    """Combines experts by Eq. 10: D = Σ_i w_i D_i(x_i) − (Σ_i w_i − 1) Σ_j a_j D_j(∅).

    For the reference expert, the first of the chain, CFGGuider does what it always does; the other MODELs are prepared
    beside it. With one expert the result is CFGGuider's at cfg = w, bit for bit. A run leaves nothing behind, so the
    object can be sampled again.

    Args:
        experts: The chain.
        observer: Is shown every evaluation of the product.
        scores: Whether the samples carry how far every expert lifts them, see `scores_of`; that takes no further pass.

    Attributes:
        rule: How predictions are combined.
        run: Set only while it samples.

    Raises:
        ValueError: If there is no expert, or hooks need a MODEL that ComfyUI cannot load.
    """

    rule: Rule = EQ10
    run: Run
    conds: Conds  # CFGGuider's own

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
            return with_scores(samples, self.chain, self.run.scores)

    def check_run(self, noise: Tensor, sigmas: Tensor) -> None:
        """Refuse what `sample` would refuse before it calls a network; loads nothing.

        Args:
            noise: The start noise.
            sigmas: Noise levels of the run, at least one.

        Raises:
            ValueError: If the experts cannot be combined.
        """
        parts = parts_of(noise)
        with refusals_at_experts(self.node_of):
            spaces = self._check_experts(*parts)
            if spaces is not None:
                check_noise(noise, sigmas)
            plan_run(self.experts, self.rule, pack(parts), [part.shape for part in parts], noise.device, sigmas, spaces)

    def watch(self, observer: Observer) -> None:
        """Show an observer every evaluation of the run; to be called before the first one."""
        self.run.observers.append(observer)

    def node_of(self, index: int, setting: str) -> str | None:
        """Id of the node that has an input of an expert; None if it isn't known, or is the node that runs.

        Args:
            index: The expert's.
            setting: The input, see `TermError`.
        """
        return self.experts[index].node

    @contextmanager
    def running(self, latent_image: Tensor, latent_shapes: Sequence[Sequence[int]] | None = None) -> Iterator[None]:
        """Prepare a run, and clean up after it whatever becomes of it.

        Args:
            latent_image: What to start from, shape (B, C, …), or nested.
            latent_shapes: Where it is packed, the shapes of what it holds.

        Raises:
            ValueError: If the experts cannot be combined.
        """
        before = dict(vars(self))  # CFGGuider keeps a run in attributes, after a failure for good
        with ExitStack() as stack:
            stack.enter_context(refusals_at_experts(self.node_of))
            spaces = self._check_experts(*parts_of(latent_image, latent_shapes))
            warn_of_idle_hooks(self.experts)
            stack.callback(self._set_attributes, before)
            names = labels_by_model(self.experts)
            elsewhere = {expert.model for expert in self.experts if isinstance(expert, ExpertOnWorker)}
            here = [patcher for patcher in names if patcher is self.model_patcher or patcher not in elsewhere]
            devices = Devices(here)
            stack.callback(devices.close)
            self.run = Run(WeightsOnAllDevices(names, adapter_groups(self.experts)), devices)
            if spaces is not None:
                self.run.joint = JointSample(spaces)
            if self.observer is not None:
                self.watch(self.observer)
            if self.scores:
                self.run.lifts = Lifts(self.experts)
            stack.callback(self._clean_up)
            stack.callback(lambda: self.run.methods.forget())
            self.run.workers = workers_of(self.experts)
            if self.run.workers is not None:
                stack.callback(self.run.workers.close)
            self.run.others = self._prepare_others(stack)
            stack.callback(self.run.weights.restore)
            yield
            self.run.methods.end()

    def outer_sample(self, noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As CFGGuider's, but all experts are loaded where it loads its one model."""
        if self.run.joint is not None:
            self.run.joint.drawn = drawn_of(noise)
        if self.run.others:
            comfy.patcher_extension.add_wrapper_with_key(
                comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING,
                "mcdm",
                self._prepare_sampling,
                self.model_options,
                is_model_options=True,
            )
        run: Callable[..., Tensor] = super().outer_sample
        kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
        shared = comfy.patcher_extension.get_all_wrappers(kind, self.model_options, is_model_options=True)
        names = labels_by_model(self.experts)
        for other in self.run.others:
            run = within_wrappers(run, other.guider, shared, " and ".join(names[other.patcher]))
        return run(noise, *args, **kwargs)

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
        settings = {"denoise_mask": denoise_mask, "seed": seed}
        settings |= {name: kwargs[name] for name in ("latent_shapes",) if name in kwargs}
        self.run.shapes = kwargs.get("latent_shapes") or [noise.shape]
        self._plan_run(noise, device, sigmas)
        if self.run.joint is not None:
            check_noise(noise, sigmas)
            sampler = self._joint_sampler(self.run.joint, sampler, noise, latent_image)
        self._process_conds(noise, latent_image, settings)
        if self.run.workers is not None:
            start = Start(noise, latent_image, denoise_mask, sigmas, seed)
            self.run.workers.begin(start, self.run.shapes, self.run.forms)
        self.run.weights.activate(self.model_patcher)
        rest = (callback, disable_pbar, seed, *args)
        try:
            made = super().inner_sample(noise, latent_image, device, sampler, sigmas, denoise_mask, *rest, **kwargs)
            if self.scores and self.run.lifts is not None:
                self.run.scores = lifts_of_run(self.run.lifts, self.inner_model.process_latent_in(made), sigmas)
            return made
        finally:
            self.run.weights.restore()  # before CFGGuider cleans up after the reference expert

    def _check_experts(self, *parts: Tensor) -> SpacesOfRun | None:
        """Refuse a chain that can't be sampled from the parts of a latent, or whose samples can't carry scores."""
        spaces = check_experts(self.experts, *parts)
        if self.scores:
            check_one_space(self.experts, "scores, which compare their predictions of one sample", "switch scores off")
        return spaces

    def _plan_run(self, noise: Tensor, device: Any, sigmas: Tensor) -> None:
        spaces = None if self.run.joint is None else self.run.joint.spaces
        self.run.planner = plan_run(self.experts, self.rule, noise, self.run.shapes, device, sigmas, spaces)
        self.run.forms = Forms(partial(self.run.shape_of, shape=noise.shape))
        self.run.methods = Methods(self.run.planner.methods)
        self.run.methods.begin(levels_of(sigmas), [0] if null_is_read(self.experts) else [])
        self.run.weights.find_copies()
        for other in self.run.others:
            other.start(self.levels_met_by(other.patcher, sigmas))

    def levels_met_by(self, patcher: ModelPatcher, sigmas: Tensor) -> Tensor:
        """Noise levels of the run as a MODEL meets them.

        Args:
            patcher: The MODEL.
            sigmas: The levels in the reference's form, shape (S + 1,).
        """
        forms, joint = self.run.forms, self.run.joint
        scale = 1.0 if joint is None else joint.spaces.scale_of(patcher)
        return align_levels(sigmas, forms.of(self.model_patcher), forms.of(patcher), scale)

    def _joint_sampler(self, joint: JointSample, sampler: Any, noise: Tensor, latent_image: Tensor) -> JointSampler:
        """The sampler of all spaces, with the start of each."""
        check_sampler(sampler)
        latent = self.inner_model.process_latent_in(latent_image) if latent_image.any() else latent_image
        joint.begin(unframed(noise), unframed(latent).to(noise))
        windows = self.run.planner.windows
        own = self.run.forms.of(self.model_patcher)
        packed = form_of(self.model_patcher.get_model_object("model_sampling"), joint.spaces.joint.packed_shape)
        return JointSampler(
            sampler,
            joint,
            lambda noise: spaces_ahead(windows, joint.spaces.places, noise),
            own.noise_scale / packed.noise_scale,
        )

    def _process_conds(self, noise: Tensor, latent_image: Tensor, settings: dict[str, Any]) -> None:
        conds: dict[ModelPatcher, Conds] = {other.patcher: other.conds for other in self.run.others}
        conds[self.model_patcher] = self.conds
        for index, expert in enumerate(self.experts[1:], start=1):
            own = conds_of(conds[expert.model], index)
            start = (noise, latent_image, settings)
            if self.run.joint is not None:
                own = self.run.joint.spaces.with_areas(expert.model, own)
                start = self.run.joint.start_of(expert.model, *start)
            own_noise, own_latent, own_settings = start
            if "latent_shapes" in own_settings:
                expert.model.model.latent_shapes = own_settings["latent_shapes"]  # CFGGuider tells the reference's
            process_own = partial(process, expert.model, own, own_noise, own_latent, **own_settings)
            # As that MODEL: a clone may have a schedule of its own, and a family may ask layers for its conditioning.
            self.run.processed.append(self.run.weights.ask_layers(expert.model, process_own))
        self.conds = conds_of(self.conds, 0)

    def predict_noise(
        self,
        x: Tensor,
        timestep: Tensor,
        model_options: dict | None = None,
        seed: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """The product's prediction of x0 (ComfyUI calls it noise), at σ = `timestep`."""
        return self.make_product().predict(x, timestep, model_options or {}, self.run.separate)

    def make_product(self) -> Product:
        """The product of the run, made when it is first asked for: CFGGuider has processed its conditioning by then."""
        run = self.run
        if run.product is None:
            options = {other.patcher: other.model_options for other in run.others}
            conds = [self.conds, *run.processed]
            if len(run.shapes) > 1:
                check_packed(self.experts, conds)
            networks = LocalNetworks(self.experts, conds, options, run.weights, run.devices)
            if run.joint is None:
                run.product = Product(networks, run.forms, run.planner, run.taking_part, run.workers)
            else:
                spaces, parts = run.joint.spaces, run.joint.parts
                run.product = JointProduct(networks, run.forms, run.planner, run.taking_part, spaces, parts)
        return run.product

    def _prepare_others(self, stack: ExitStack) -> list[PreparedModel]:
        others = []
        for patcher in dict.fromkeys(expert.model for expert in self.experts):
            if patcher is self.model_patcher:
                continue
            conditionings = conditionings_on(self.experts, patcher)
            conds = {name: comfy.sampler_helpers.convert_cond(value) for name, value in conditionings.items()}
            other = PreparedModel(patcher, conds)
            stack.callback(other.close)
            other.open()
            others.append(other)
        return others

    def _prepare_sampling(
        self, executor: Any, model: ModelPatcher, noise_shape: Sequence[int], conds: Conds, *args: Any, **kwargs: Any
    ) -> tuple[Any, Conds, list[ModelPatcher]]:
        """Wrapper around ComfyUI's own loading, which would load one MODEL and free the others."""
        kwargs |= {"others": self.run.others, "weights": self.run.weights, "names": labels_by_model(self.experts)}
        kwargs |= {"shape_of": self.run.shape_of, "spaces": self.run.joint and self.run.joint.spaces}
        with self.run.weights.loading():
            return load_jointly(executor, model, noise_shape, conds, *args, **kwargs)

    def _set_attributes(self, attributes: dict[str, Any]) -> None:
        self.__dict__.clear()
        self.__dict__.update(attributes)

    def _clean_up(self) -> None:
        if "loaded_models" in vars(self):  # an exception kept CFGGuider from its own cleanup
            started = self.run.product is not None  # a ControlNet that was not may fail to clean up
            comfy.sampler_helpers.cleanup_models(self.conds if started else {}, self.loaded_models)
        for conds in self.run.processed:  # CFGGuider cleans up after the reference's only
            comfy.sampler_helpers.cleanup_models(conds, [])


class OwnNullGuider(ProductGuider):
    """Combines experts by composable diffusion: D = Σ_j a_j D_j(∅) + Σ_i w_i (D_i(x_i) − D_i(∅)).

    With one expert the result is CFGGuider's at cfg = w, bit for bit.
    """

    rule = OWN_NULL
