"""What a training run is made of, read from a TOML file."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import tomli

from ..networks import UNetConfig


@dataclass(frozen=True)
class DataConfig:
    """Where pictures and conditions come from.

    Attributes:
        kind: "faces" draws them, "folder" reads the user's own.
        modalities: Conditions trained on, alternating from step to step: "hair", "skin", "sketch", "text";
            empty for an unconditional network. A folder may name any map after its subfolder.
        seed: First seed of the drawn set; sets with seeds 10⁶ apart are disjoint.
        count: How many faces are drawn.
        leading: Attribute → the value that 70 % of the drawn faces have (uniform where not named).
        path: The folder, relative to the configuration file.
        text_encoder: Expert or dual encoder file whose image tower embeds the pictures ("text" only).
        embedding_noise: Largest relative noise on image embeddings. Text embeddings lie beside image embeddings and
            leave unnamed attributes open; noise teaches the network to treat an embedding as evidence, not as truth.
    """

    kind: str
    modalities: tuple[str, ...] = ()
    seed: int = 0
    count: int = 8000
    leading: dict[str, str] = field(default_factory=dict)
    path: str = ""
    text_encoder: str = ""
    embedding_noise: float = 1.0


@dataclass(frozen=True)
class OptimizerConfig:
    """How the network is trained.

    Attributes:
        steps: Optimizer steps.
        batch_size: Pictures a step.
        learning_rate: Peak rate of AdamW.
        warmup: Steps of linear warm-up.
        decay_from: Fraction of the run after which the rate falls linearly to zero.
        ema: Decay of the weight average (ramped up over the first steps).
        condition_dropout: Share of rows trained on the null condition.
        seed: Seed of initialization, batches and noise.
        autocast: Use bfloat16 for convolutions and matrix products.
    """

    steps: int = 4000
    batch_size: int = 32
    learning_rate: float = 4e-4
    warmup: int = 200
    decay_from: float = 0.6
    ema: float = 0.998
    condition_dropout: float = 0.1
    seed: int = 0
    autocast: bool = True


@dataclass(frozen=True)
class TrainingConfig:
    """One run.

    Attributes:
        name: Names the run's folder and the expert.
        network: Architecture.
        data: Pictures and conditions.
        optimizer: Training.
        start: Expert file to start from, relative to the configuration file; empty for random weights.
        schedule: Name of the noise schedule.
        prediction: What the network predicts.
        image_size: Side in pixels.
        card: Licence, attribution and whatever else belongs on the expert's card.
    """

    name: str
    network: UNetConfig
    data: DataConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    start: str = ""
    schedule: str = "cosine"
    prediction: str = "v"
    image_size: int = 64
    card: dict[str, str] = field(default_factory=dict)


def load_config(path: Path) -> TrainingConfig:
    """Read a run's configuration.

    Raises:
        ValueError: The file is no TOML, or a name in it is unknown or missing.
    """
    try:
        values = tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomli.TOMLDecodeError) as error:
        raise ValueError(f"Expected a training configuration in TOML at {path}: {error}.") from error
    sections = {"network": UNetConfig, "data": DataConfig, "optimizer": OptimizerConfig}
    for name, kind in sections.items():
        values[name] = _build(kind, values.get(name, {}), f"[{name}] of {path.name}")
    return _build(TrainingConfig, values, path.name)


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{where} has unknown names {unknown}; known are {sorted(known)}.")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except TypeError as error:
        raise ValueError(f"{where} is incomplete: {error}.") from error
