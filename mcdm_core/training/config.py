"""Configuration of training runs, read from a TOML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from ..networks import UNetConfig
from ..networks.text_tower import MOST_WORDS
from ..system.fields import Between, PictureSize, find_misfit, shown

MOST_SEED = 2**63 - 1  # the largest integer of TOML, and a seed that any generator takes
MOST_RANK = 1024  # of a LoRA
MOST_AT_ONCE = 2**31 - 1  # pictures per step; numpy refuses to draw more rows, with an unclear message


@dataclass(frozen=True)
class DataConfig:
    """Source of pictures and conditions.

    Attributes:
        kind: "folder" reads the user's own; `python -m studies train` has more kinds, which are drawn.
        modalities: Conditions trained on, alternating from step to step: "sketch", "text", "class", or any map by its
            name, as far as the kind has them (a folder's maps are named after their subfolders); empty for an
            unconditional network. Each of several maps has its own channel, in this order.
        trained: The modalities that are trained on, if not all; the others keep their channels. This way a network is
            fine-tuned on one modality after the other.
        seed: First seed of the drawn set; sets with seeds 10⁶ apart are disjoint.
        count: Number of pictures to draw; a run may be resumed with more of them, but not with fewer.
        leading: Attribute → the value that most of the drawn pictures have (uniform where not named).
        sets: Modality → `seed`, `count` and `leading` of its own drawn pictures, which replace those above; for all
            modalities or none. As in the paper, no picture is then seen with more than one of its maps.
        path: The folder, relative to the configuration file.
        text_encoder: Dual encoder file whose image tower embeds the pictures, where the modality is "text".
        embedding_noise: Largest noise on image embeddings, relative to their spread. Text embeddings differ from image
            embeddings and leave unnamed attributes open; noise teaches the network to treat an embedding as evidence,
            not as truth.
        share: Share of the drawn pictures that have the leading values, 0…1.
        named: Attributes that captions of drawn pictures name, where the modality is "text": the condition is then the
            caption's embedding, which leaves other attributes open; empty for embeddings of the pictures.
    """

    kind: str
    modalities: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    seed: int = 0
    count: Annotated[int, Between(1)] = 8000
    leading: dict[str, str] = field(default_factory=dict)
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    path: str = ""
    text_encoder: str = ""
    embedding_noise: Annotated[float, Between(0)] = 0.6
    share: Annotated[float, Between(0, 1)] = 0.7
    named: tuple[str, ...] = ()


@dataclass(frozen=True)
class DescentConfig:
    """Length and rate of any run.

    Attributes:
        steps: Optimizer steps.
        batch_size: Pictures per step.
        learning_rate: Peak rate.
        warmup: Steps of linear warm-up.
        decay_from: Fraction of the run after which the rate falls linearly to zero.
        ema: Decay of the weight average (ramped up over the first steps).
        seed: Seed of initialization, batches and noise.
        autocast: Use bfloat16 for convolutions and matrix products.
    """

    steps: Annotated[int, Between(0)] = 4000
    batch_size: Annotated[int, Between(1, MOST_AT_ONCE)] = 32
    learning_rate: Annotated[float, Between(0)] = 4e-4
    warmup: Annotated[int, Between(0)] = 200
    decay_from: Annotated[float, Between(0, 1)] = 0.6
    ema: Annotated[float, Between(0, 1)] = 0.998
    seed: Annotated[int, Between(0, MOST_SEED)] = 0
    autocast: bool = True


@dataclass(frozen=True)
class OptimizerConfig(DescentConfig):
    """Optimizer and schedule of a run on pictures.

    Attributes:
        muon: Train inner weights by Muon, all others by Adam; otherwise everything by AdamW.
        condition_dropout: Share of rows trained on the null condition.
    """

    muon: bool = False
    condition_dropout: Annotated[float, Between(0, 1)] = 0.1


@dataclass(frozen=True)
class AdapterConfig:
    """A LoRA: a low-rank change is trained and written, while the weights of the expert in `start` stay fixed.

    Attributes:
        rank: Rank of the change of each weight.
    """

    rank: Annotated[int, Between(1, MOST_RANK)] = 8


@dataclass(frozen=True)
class LogConfig:
    """Logs of any run.

    Attributes:
        every: Steps between rows of `loss.csv`.
        held_out_every: Steps between held-out losses and samples, 0 for none; they are also made at the end.
        held_out: Pictures held out: drawn for it, or taken out of the folder (at most a tenth of it, at least one).
        samples: Number of held-out conditions of each modality that are sampled, 0 for none.
        sample_steps: DDIM steps of these samples.
    """

    every: Annotated[int, Between(1)] = 100
    held_out_every: Annotated[int, Between(0)] = 500
    held_out: Annotated[int, Between(1)] = 64
    samples: Annotated[int, Between(0)] = 4
    sample_steps: Annotated[int, Between(1)] = 20


@dataclass(frozen=True)
class ReportConfig(LogConfig):
    """Logs, held-out losses and samples of a run on pictures.

    Attributes:
        weight: Guidance weight w of the samples.
    """

    weight: float = 2.0


@dataclass(frozen=True)
class TrainingConfig:
    """One run.

    Attributes:
        name: Name of the run's folder and of the expert.
        network: Architecture.
        data: Pictures and conditions.
        optimizer: Optimizer and schedule.
        report: Logs and samples.
        start: Expert file to start from, relative to the configuration file; empty for random weights.
        vae: File of a VAE whose latents the network makes, relative to the configuration file; none for pixels.
        schedule: Name of the noise schedule.
        prediction: What the network predicts.
        image_size: Side in pixels, also where the network makes latents.
        half: Write the weights in half precision, which is enough for sampling.
        card: Licence, attribution and other entries of the expert's card.
        adapter: Trains a LoRA; None trains all weights.
    """

    name: str
    network: UNetConfig
    data: DataConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    report: ReportConfig = ReportConfig()
    start: str = ""
    vae: str | None = None
    schedule: str = "cosine"
    prediction: str = "v"
    image_size: PictureSize = 64
    half: bool = False
    card: dict[str, str] = field(default_factory=dict)
    adapter: AdapterConfig | None = None


@dataclass(frozen=True)
class DualEncoderConfig:
    """A text tower and an image tower, trained on pairs of pictures and captions.

    Attributes:
        name: Name of the run's folder and of the file.
        path: Folder of pairs (`images/` and `captions/`), relative to the configuration file; empty draws faces.
        image_size: Side in pixels to which the folder's pictures are resized; faces are drawn at 64.
        steps: Optimizer steps.
        batch_size: Pairs per step.
        seed: Seed of initialization and batches, and the first seed of drawn faces.
        count: Number of faces to draw.
        words: Largest size of the vocabulary; the rarest words of a folder's captions are left out.
    """

    name: str = "encoder"
    path: str = ""
    image_size: PictureSize = 64
    steps: Annotated[int, Between(1)] = 3000
    batch_size: Annotated[int, Between(1, MOST_AT_ONCE)] = 128
    seed: Annotated[int, Between(0, MOST_SEED)] = 6_000_000
    count: Annotated[int, Between(1)] = 12_000
    words: Annotated[int, Between(1, MOST_WORDS)] = 4000

    @property
    def kind(self) -> str:
        """Kind of the data of its pairs, see `kinds`."""
        return "folder" if self.path else "faces"


def load_config(path: Path) -> TrainingConfig:
    """Read an expert's configuration.

    Raises:
        ValueError: The file is no TOML, or a name in it is unknown or missing, or a value is of another type.
    """
    values = read_toml(path)
    if "adapter" in values:
        values["adapter"] = build(AdapterConfig, values["adapter"], f"[adapter] of {path.name}")
    return build_sections(TrainingConfig, values, path.name)


def load_dual_encoder_config(path: Path) -> DualEncoderConfig:
    """Read the `[dual_encoder]` section of a configuration.

    Raises:
        ValueError: The file is no TOML, or a name in the section is unknown, or a value is of another type.
    """
    return build(DualEncoderConfig, read_toml(path)["dual_encoder"], f"[dual_encoder] of {path.name}")


def read_toml(path: Path) -> dict[str, Any]:
    """The file's content.

    With `like = "other.toml"`, it is that of the file of this name beside it, but for the values that it has itself:
    those of its tables one by one, lists as a whole.

    Raises:
        ValueError: There is no such file, it is no TOML, or what it is like is none beside it, or like itself.
    """
    return _read(path, ())


def _read(path: Path, readers: tuple[str, ...]) -> dict[str, Any]:
    import tomli  # not among what a product or its distillation from Python needs

    try:
        values = tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise ValueError(f"Expected a configuration in TOML at {path}: {error}.") from error
    if "like" not in values:
        return values
    other, readers = values.pop("like"), (*readers, path.name)
    if not isinstance(other, str) or not other.isprintable() or Path(other).name != other or not other:
        raise ValueError(
            f"Expected the name of a file beside {path.name} as like and got {shown(other)}; give it without a folder."
        )
    if other in readers:
        raise ValueError(f"{' is like '.join([*readers, other])}, in a circle; take like out of one of them.")
    if not path.with_name(other).is_file():
        raise ValueError(f"Expected {other} beside {path.name}, which is like it, and found none; correct like.")
    return _merged(_read(path.with_name(other), readers), values)


def _merged(values: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    tables = {
        name: _merged(values[name], value)
        for name, value in own.items()
        if isinstance(value, dict) and isinstance(values.get(name), dict)
    }
    return {**values, **own, **tables}


def build_sections(kind: type, values: dict[str, Any], file: str, within: str = "") -> Any:
    """As `build`, where fields are dataclasses too: sections, whose values are all defaults if they are left out.

    Args:
        kind: The dataclass of the file, or of a section.
        values: Its fields; those of sections within it are tables.
        file: Name of the file in messages.
        within: Name of the section, as TOML writes it; empty for the file.

    Raises:
        ValueError: As `build`.
    """
    for name, hint in get_type_hints(kind).items():
        if isinstance(values, dict) and isinstance(hint, type) and is_dataclass(hint):
            section = f"{within}.{name}" if within else name
            values = values | {name: build_sections(hint, values.get(name, {}), file, section)}
    return build(kind, values, f"[{within}] of {file}" if within else file)


def build(kind: type, values: dict[str, Any], where: str) -> Any:
    """A dataclass from a section's values.

    Args:
        kind: The dataclass.
        values: Its fields, lists for tuples.
        where: Name of the section in messages.

    Raises:
        ValueError: The section is no table, a name in it is unknown or missing, or a value is of another type or
            out of range.
    """
    if not isinstance(values, dict):
        raise ValueError(f"Expected {where} to be a table and got {shown(values)}; give each of its values a name.")
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{where} has unknown names {unknown}; known are {sorted(known)}.")
    if misfit := find_misfit(kind, values):
        name, expected, got = misfit
        raise ValueError(f"{where}: expected {expected} for {name} and got {got}; correct it.")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except TypeError as error:
        raise ValueError(f"{where} is incomplete: {error}.") from error
