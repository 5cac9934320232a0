"""Trains a LoRA on a product, in the core's loop: its settings, its state, its progress and its interruption."""

from __future__ import annotations

import math
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
from ....mcdm_core.distil.config import DistilConfig, LearningConfig, LogsConfig, TrajectoryConfig
from ....mcdm_core.distil.loss import Loss
from ....mcdm_core.distil.run import SAVE_EVERY, DistilRun
from ....mcdm_core.distil.task import Task
from ....mcdm_core.training.loop.run_folder import run_folder
from ..chain.expert_chain import Conditioning, Experts
from ..comfyui.latents import fit_empty
from ..evaluation.noise_levels import is_flow
from ..files.schedule_sampling import PREDICTIONS
from ..run.guider import OwnNullGuider, ProductGuider
from .fingerprints import fingerprint_of
from .learning_layers import Factors, shapes_of
from .notes import notes_on
from .plain_tensors import plain
from .refusals import check_levels, check_lists, check_student
from .student import GuidedStudent
from .teacher import GuidedTeacher
from .trial import try_step

GUIDERS = {"product": ProductGuider, "own-negative": OwnNullGuider}
"""How the experts are combined, by the names of the guiders."""

_FOLDER = "mcdm_loras"  # in ComfyUI's folder of outputs
_MOST_WALKED = 16  # batches of trajectories between two turns of the student
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Widgets:
    """How a student learns.

    Attributes:
        rule: A key of `GUIDERS`.
        steps: How long.
        batch_size: Rows of a step, and trajectories that are walked at a time.
        learning_rate: Its peak.
        rank: Of the LoRA.
        seed: Of everything that is drawn.
        training_dtype: In which the student computes, a key of `DTYPES`, or "none" for its own.
        lora_dtype: Of the LoRA, a key of `DTYPES`.
        name: Of the run, which is kept under it until it has ended.
        resume: Whether to go on where a run of this name was cancelled.
    """

    rule: str
    steps: int
    batch_size: int
    learning_rate: float
    rank: int
    seed: int
    training_dtype: str
    lora_dtype: str
    name: str
    resume: bool


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
    widgets: Widgets,
) -> Trained:
    """Train a LoRA on a MODEL, so that it answers one prompt at cfg 1 as a product answers several at once.

    Args:
        chains: The experts with what they are told, for each prompt.
        student: What learns; it and the experts' MODELs stay as they are.
        prompts: What it is told.
        latent: ComfyUI's LATENT, of whose size samples are.
        sigmas: Noise levels of a run of the product, shape (S + 1,).
        widgets: How it learns.

    Raises:
        ValueError: It could not end well; one sentence says why.
        InterruptProcessingException: It was cancelled; its state is kept.
    """
    check_lists(chains, prompts, widgets.steps)
    samples = fit_empty(student, latent)
    check_student(chains, student, prompts, samples)
    check_levels(chains[0], sigmas)
    shapes = shapes_of(student)
    shape = samples.shape[1:]
    with torch.inference_mode(False), torch.enable_grad():
        asked = GuidedStudent(student, prompts, (widgets.batch_size, *shape), DTYPES.get(widgets.training_dtype))
        guiders = [GUIDERS[widgets.rule](experts) for experts in chains]
        teacher = GuidedTeacher(guiders, plain(sigmas).float().cpu(), shape, asked.leave)
        teacher.check()
        config = _config(widgets, len(sigmas) - 1)
        config = replace(
            config,
            teacher=fingerprint_of([expert for experts in chains for expert in experts], widgets.rule, shape, sigmas),
            student=fingerprint_of([replace(chains[0][0], model=student, condition=each) for each in prompts]),
        )
        torch.manual_seed(widgets.seed)
        factors = Factors(shapes, widgets.rank).to(asked.device)
        task = _task(teacher, asked, student, shape, len(prompts), config)
        try:
            with run_folder(_runs(), widgets.name, "state" if widgets.resume else None, overwrite=True) as folder:
                try_step(task, factors, asked.called, widgets.batch_size)
                run = _Run(task, factors, config, folder.path)
                if folder.resumed:
                    run.resume()
                run.run(SAVE_EVERY)
                for file in (run.state_path, run.log.path):
                    file.unlink(missing_ok=True)
            with suppress(OSError):  # something else lies there
                folder.path.rmdir()
        finally:
            asked.end()
        levels = teacher.level(0.0), teacher.level(1.0)
        lora = run.average.tensors(DTYPES[widgets.lora_dtype])
        return Trained(lora, run.history, notes_on(chains, config, levels, shape))


def _task(
    teacher: GuidedTeacher,
    asked: GuidedStudent,
    model: ModelPatcher,
    shape: Sequence[int],
    prompts: int,
    config: DistilConfig,
) -> Task:
    """What the core's loop knows of a teacher, and of a student of this MODEL."""
    prediction, schedule = _form_of(model)
    return Task(
        teacher,
        asked,
        shape=shape,
        level=teacher.level,
        loss=Loss(prediction, schedule, config.loss.most),
        trained=range(prompts),
        clamps=getattr(model.model, "makes_pictures", False),
        device=asked.device,
    )


class _Run(DistilRun):
    """The core's loop, with ComfyUI's progress bar, which can be cancelled between two layers."""

    average: Factors

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.history: list[float] = []
        self._bar = comfy.utils.ProgressBar(self.config.optimizer.steps)

    def train_step(self) -> tuple[float]:
        """See `TrainingRun`."""
        losses = super().train_step()
        self.history += losses
        self._bar.update_absolute(self.step)
        return losses

    def run(self, save_every: int = SAVE_EVERY) -> None:
        """See `TrainingRun`; a cancelled run is saved, too."""
        try:
            super().run(save_every)
        except comfy.model_management.InterruptProcessingException:
            self.save()
            raise

    def resume(self) -> None:
        """See `TrainingRun`."""
        try:
            super().resume()
        except ValueError as error:
            raise ValueError(
                f"Expected the settings, experts, prompts and student with which the run {self.config.name} was begun, "
                "and some are others, or its state is damaged; restore them, or switch resume off to begin anew."
            ) from error

    def state(self) -> dict[str, Any]:
        """See `TrainingRun`."""
        return {**super().state(), "history": self.history}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `TrainingRun`."""
        super().restore(state)
        self.history = list(state["history"])


def _config(widgets: Widgets, most_steps: int) -> DistilConfig:
    """The core's settings; trajectories of half as many steps as those that were given, up to as many."""
    walked = max(1, min(_MOST_WALKED, math.ceil(widgets.steps / (2 * most_steps))))
    return DistilConfig(
        name=widgets.name,
        rank=widgets.rank,
        trajectories=TrajectoryConfig(max(1, most_steps // 2), most_steps, batches=walked),
        optimizer=LearningConfig(
            steps=widgets.steps,
            batch_size=widgets.batch_size,
            learning_rate=widgets.learning_rate,
            seed=widgets.seed,
            autocast=False,
        ),
        report=LogsConfig(held_out_every=0, samples=0),
    )


def _form_of(model: ModelPatcher) -> tuple[Prediction, NoiseSchedule]:
    """What a MODEL predicts, and a schedule that has its α at any noise level."""
    sampling = model.get_model_object("model_sampling")
    if is_flow(sampling):
        return prediction_named("flow"), Flow()
    name = next((name for name in reversed(PREDICTIONS) if isinstance(sampling, PREDICTIONS[name])), "x0")
    return prediction_named(name), Schedule.linear()


def _runs() -> Path:
    return Path(folder_paths.get_output_directory()) / _FOLDER
