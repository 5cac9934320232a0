"""Trains a LoRA on a product, in the core's loop: its state, its progress and its interruption."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....mcdm_core.diffusion.prediction import Prediction, prediction_named
from ....mcdm_core.diffusion.schedule import Flow, NoiseSchedule, Schedule
from ....mcdm_core.distil.loss import Loss
from ....mcdm_core.distil.run import DistilRun
from ....mcdm_core.distil.task import Task
from ....mcdm_core.training.loop.run_folder import run_folder
from ..chain.expert_chain import Conditioning, Experts
from ..comfyui.latents import fit_empty
from ..evaluation.model_forms import is_flow
from ..files.schedule_sampling import PREDICTIONS
from .fingerprints import fingerprint_of
from .learning import DTYPES, GUIDERS, Learning
from .learning_layers import Factors, shapes_of
from .notes import notes_on
from .plain_tensors import plain
from .previews import Previews
from .refusals import check_levels, check_lists, check_student
from .student import GuidedStudent
from .teacher import GuidedTeacher
from .trial import try_step

_FOLDER = "mcdm_loras"  # in ComfyUI's folder of outputs


@dataclass(frozen=True)
class Trained:
    """What came of it.

    Attributes:
        lora: Tensors by the names that core's nodes know.
        losses: The loss of each step.
        notes: How it is used.
    """

    lora: dict[str, Tensor]
    losses: list[float]
    notes: str


def train(
    chains: Sequence[Experts],
    student: ModelPatcher,
    prompts: Sequence[Conditioning],
    latent: dict[str, Any],
    sigmas: Tensor,
    learning: Learning,
) -> Trained:
    """Train a LoRA on a MODEL, so that it answers one prompt at cfg 1 as a product answers several at once.

    Args:
        chains: The experts with what they are told, for each prompt.
        student: What learns; it and the experts' MODELs stay as they are.
        prompts: What it is told.
        latent: ComfyUI's LATENT, of whose size samples are.
        sigmas: Noise levels of a run of the product, shape (S + 1,).
        learning: How it learns.

    Raises:
        ValueError: It could not end well; one sentence says why.
        InterruptProcessingException: It was cancelled; its state is kept.
    """
    check_lists(chains, prompts, learning)
    samples = fit_empty(student, latent)
    check_student(chains, student, prompts, samples)
    check_levels(chains[0], sigmas)
    shapes = shapes_of(student)
    shape = samples.shape[1:]
    with torch.inference_mode(False), torch.enable_grad():
        asked = GuidedStudent(student, prompts, (learning.batch_size, *shape), DTYPES.get(learning.training_dtype))
        guiders = [GUIDERS[learning.rule](experts) for experts in chains]
        teacher = GuidedTeacher(guiders, plain(sigmas).float().cpu(), shape, asked.leave)
        teacher.check()
        config = learning.config(len(sigmas) - 1)
        config = replace(
            config,
            teacher=fingerprint_of([expert for experts in chains for expert in experts], learning.rule, shape, sigmas),
            student=fingerprint_of([replace(chains[0][0], model=student, condition=each) for each in prompts]),
        )
        torch.manual_seed(learning.seed)
        factors = Factors(shapes, learning.rank).to(asked.device)
        task = Task(
            teacher,
            asked,
            shape=shape,
            level=teacher.level,
            loss=Loss(*_form_of(student), config.loss.most),
            trained=range(len(prompts)),
            clamps=getattr(student.model, "makes_pictures", False),
            device=asked.device,
        )
        try:
            with run_folder(_runs(), learning.name, "state" if learning.resume else None, overwrite=True) as folder:
                try_step(task, factors, asked.called, learning.batch_size)
                bar = comfy.utils.ProgressBar(learning.steps)
                previews = Previews(bar, task, student, teacher.sigmas, learning.seed, asked.leave)
                run = _Run(bar, task, factors, config, folder.path, previews)
                if folder.resumed:
                    run.resume()
                run.run()
                lora = run.average.tensors(DTYPES[learning.lora_dtype])
                for file in (run.state_path, run.log.path):
                    file.unlink(missing_ok=True)
            with suppress(OSError):  # something else lies there
                folder.path.rmdir()
        finally:
            asked.end()
        levels = teacher.level(0.0), teacher.level(1.0)
        return Trained(lora, run.history, notes_on(chains, config, levels, shape))


class _Run(DistilRun):
    """The core's loop, with ComfyUI's progress bar, which can be cancelled between two layers.

    Args:
        bar: The bar.
        *args: See `DistilRun`.
    """

    average: Factors

    def __init__(self, bar: comfy.utils.ProgressBar, *args: Any):
        super().__init__(*args)
        self.history: list[float] = []
        self._bar = bar

    def train_step(self) -> tuple[float]:
        """One step, as `TrainingRun` takes it; the bar, which may raise, is told of the steps before."""
        self._bar.update_absolute(self.step)
        losses = super().train_step()
        self.history += losses
        return losses

    def write_report(self) -> None:
        """Save first, since a picture may take more memory than there is."""
        self.save()
        super().write_report()

    def run(self, save_every: int = sys.maxsize) -> None:
        """Train to the end; the run is saved also when it is cancelled, and at each of its reports."""
        try:
            super().run(save_every)
        except comfy.model_management.InterruptProcessingException:
            self.save()
            raise

    def resume(self) -> None:
        """Continue from the saved state, and refuse another run's in words that fit the node."""
        try:
            super().resume()
        except ValueError as error:
            raise ValueError(
                f"Expected the settings, experts, prompts and student with which the run {self.config.name} was begun, "
                "and some are others, or its state is damaged; restore them, or switch resume off to begin anew."
            ) from error

    def state(self) -> dict[str, Any]:
        """The run's state, with the losses of all steps for the loss map."""
        return {**super().state(), "history": self.history}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        super().restore(state)
        self.history = list(state["history"])


def _form_of(patcher: ModelPatcher) -> tuple[Prediction, NoiseSchedule]:
    """What a MODEL predicts, and a schedule that has its α at any noise level."""
    sampling = patcher.get_model_object("model_sampling")
    if is_flow(sampling):
        return prediction_named("flow"), Flow()
    name = next((name for name in reversed(PREDICTIONS) if isinstance(sampling, PREDICTIONS[name])), "x0")
    return prediction_named(name), Schedule.linear()


def _runs() -> Path:
    return Path(folder_paths.get_output_directory()) / _FOLDER
