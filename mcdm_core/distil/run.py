"""Distils a product: one network, with a LoRA and one prompt, learns to answer as several experts do together."""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..conditions.key import fingerprint
from ..expert.condition import Condition
from ..expert.expert import Expert
from ..networks.low_rank import add_low_rank, low_rank_of
from ..product.methods.method import Setting
from ..product.rules.eq10 import EQ10
from ..product.rules.rule import Rule
from ..product.terms.term import Term
from ..training.expert.adapter import adapter_optimizer
from ..training.loop.loop import TrainingReport, TrainingRun
from .buffer import Buffer
from .checks import check_product, check_weight, trained_prompts
from .config import DistilConfig
from .loss import Loss
from .product import ExpertStudent, ProductTeacher
from .prompt_noise import noised
from .report import DistilReport, loss_of
from .task import Task

log = logging.getLogger(__name__)

SAVE_EVERY = 50  # steps; those of a student cost more than those of a run on pictures, since experts are asked as well


class DistilRun(TrainingRun[DistilConfig, nn.Module]):
    """The loop: a teacher fills a buffer, a student learns from it.

    Args:
        task: The teacher and the student.
        network: What learns; of its parameters those that require gradients.
        config: The run.
        folder: Folder of its state and logs.
        report: What is shown of it; None for held-out losses and pictures.
    """

    def __init__(
        self,
        task: Task,
        network: nn.Module,
        config: DistilConfig,
        folder: Path,
        report: TrainingReport[nn.Module] | None = None,
    ):
        self.task = task
        self.buffer = Buffer(task, config)
        self._network = network
        super().__init__(config, report or DistilReport(task, config, folder), folder)

    def make_network(self) -> nn.Module:
        """The network with the adapter that learns."""
        return self._network

    def make_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the adapter's weights."""
        return adapter_optimizer(self.network, self.config.optimizer.learning_rate)

    def train_step(self) -> tuple[float]:
        """One optimizer step on a batch of the buffer; returns its loss.

        A step that fails midway counts for nothing, so that the run can be saved and go on.
        """
        task = self.task if self.task.learner is None else replace(self.task, student=self.task.learner(self.step))
        loss = loss_of(task, self.network, self.buffer.batch(self.step, self.network))
        self.descend(loss)
        self.buffer.finish_batch()
        return (loss.item(),)

    def state(self) -> dict[str, Any]:
        """What `restore` takes, with the buffer."""
        return {**super().state(), "buffer": self.buffer.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state, with its buffer."""
        super().restore(state)
        self.buffer.restore(state["buffer"])


def distil_product(
    terms: Sequence[Term],
    student: Expert,
    conditions: Condition,
    folder: Path,
    config: DistilConfig | None = None,
    *,
    rule: Rule = EQ10,
    settings: Sequence[Setting] = (),
    null: Condition | None = None,
    unseen: Sequence[int] = (),
    resume: bool = False,
) -> nn.Module:
    """Train a LoRA on an expert, so that it alone answers as the product does: one pass a step.

    Example:
        >>> terms = [Term(styled, style, plain), Term(posed, pose, plain)]
        >>> network = distil_product(terms, base, base.encoder.encode_text("both"), Path("runs/both"))
        >>> save_lora("both.safetensors", network, {"licence": "CC BY 4.0"})

    Several prompts are learned at once: row p of the experts' conditions, nulls and masks and of the student's
    conditions belong together. What has a single row is the same for all prompts.

    Args:
        terms: The product, of one space.
        student: The expert that learns, of the same space; it stays as it is.
        conditions: What it is given in place of all that the experts are given.
        folder: Folder of the run's state and logs, for one run at a time.
        config: How it learns; None for the defaults.
        rule: How the experts are combined.
        settings: What is chosen beyond the paper, `Passes` for example.
        null: The student's null, one row, where `config.weight` isn't 1.
        unseen: Rows that are never trained on, for a held-out loss of their own.
        resume: Go on from the state in the folder, as if the run had not been interrupted.

    Returns:
        The student's network with the averaged changes of its weights, which `save_lora` writes.

    Raises:
        ValueError: The terms cannot be combined, the student cannot learn from them, or the state is another run's.
        ForeseenError: The loss diverged.
        WriteError: A file could not be written.
        KeyboardInterrupt: The run was interrupted; its state is saved.
    """
    config = config or DistilConfig()
    trained = trained_prompts(check_product(terms, student, conditions), unseen)
    check_weight(config.weight, conditions, null)
    autocast = config.optimizer.autocast
    teacher = ProductTeacher(terms, rule, settings, autocast)
    teacher.check(student.sample_shape)
    parameter = next(student.network.parameters(), torch.empty(0))
    asked = ExpertStudent(student, conditions, autocast, null, config.weight)
    options = config.optimizer
    task = Task(
        teacher,
        asked,
        shape=student.sample_shape,
        level=lambda progress: min(teacher.level(progress), student.schedule.sigma_max),  # where the student begins
        loss=Loss.of(config.loss, student),
        trained=trained,
        unseen=unseen,
        decode=_decoder(student) if config.report.samples else None,
        clamps=student.clamp_x0,
        dtype=torch.promote_types(parameter.dtype, torch.float32),  # halves overflow where runs begin
        device=parameter.device,
        learner=noised(asked, options.prompt_noise, options.seed) if options.prompt_noise else None,
    )
    config = replace(
        config,
        teacher=fingerprint_of(terms, [rule.pair.__qualname__, *map(repr, settings)]),
        student=fingerprint_of([Term(student, conditions, null)], [*unseen]),
    )
    run = DistilRun(task, _learning(student, config), config, folder)
    if resume:
        run.resume()
    run.run(SAVE_EVERY)
    return run.average


def _decoder(student: Expert) -> Callable[[Tensor], Tensor] | None:
    """What makes pictures for the report; None where there is no VAE, which nothing else needs."""
    try:
        is_decoded = student.clamp_x0 or student.vae is not None
    except ValueError as error:
        log.warning("The report gets no pictures: %s", error)
        is_decoded = False
    return student.decode if is_decoded else None


def _learning(student: Expert, config: DistilConfig) -> nn.Module:
    """A copy of the student's network that learns a change of low rank; without dropout, which no sampling has."""
    torch.manual_seed(config.optimizer.seed)
    network = copy.deepcopy(student.network).eval()
    add_low_rank(network, config.rank)
    if not low_rank_of(network):
        raise ValueError(
            f"Expected a student whose network has linear layers or convolutions, which a LoRA changes, and "
            f"{student.name} has none; choose another."
        )
    return network


def fingerprint_of(terms: Sequence[Term], settings: Sequence[object]) -> str:
    """Equal for the same experts with the same weights, conditions, masks and settings."""
    described = [
        [term.numbers, term.expert.prediction.name, term.expert.schedule.sigma_min, term.expert.schedule.sigma_max]
        for term in terms
    ]
    tensors: dict[str, Tensor] = {}
    for index, term in enumerate(terms):
        parts = {"network": term.expert.network.state_dict(), "mask": {} if term.mask is None else {"": term.mask}}
        for name, condition in (("condition", term.condition), ("null", term.null)):
            parts[name] = {} if condition is None else condition.tensors()
        tensors |= {f"{index} {part} {name}": value for part, each in parts.items() for name, value in each.items()}
    return fingerprint({"terms": described, "settings": [*settings]}, tensors)
