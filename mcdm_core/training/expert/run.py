"""One training run, from its configuration to the expert file."""

from dataclasses import replace
from pathlib import Path

from ...checkpoints import load_expert, save_expert
from ...checkpoints.lora import save_lora
from ...checkpoints.metadata import ExpertMetadata
from ...conditions.key import fingerprint
from ...expert.expert import Expert
from ...networks.text_tower import TextTower
from ..config import TrainingConfig, load_config
from ..data.kind import DataKind, Prepared
from ..data.latents import LatentSpace
from ..data.sources import Source
from ..dual_encoder.embeddings import check_tower
from ..kinds import KINDS, Kinds, kind_named
from ..loop.going_on import earlier_stages
from ..loop.run_folder import RunFolder, run_folder
from .adapter import AdapterTrainer
from .checks import check_config
from .trainer import Trainer


def train_expert(
    config_path: Path, runs: Path, resume: str | None = None, overwrite: bool = False, kinds: Kinds = KINDS
) -> Path:
    """Train the configured network and write its averaged weights as an expert, or its change as a LoRA.

    Args:
        config_path: The TOML file.
        runs: Folder that gets a subfolder named after the run.
        resume: None to begin; "state" to continue where the run stopped, or to begin where there is no state; or an
            expert file whose averaged weights and number of steps to continue from.
        overwrite: Whether a new run may replace files of an earlier one of its name.
        kinds: The kinds of data that it may be trained on.

    Returns:
        The expert file, or the LoRA's.

    Raises:
        ValueError: The configuration is wrong, its data cannot be read, or there are files of an earlier run and
            neither `resume` nor `overwrite` was given.
        ForeseenError: The loss diverged, or another run uses the folder.
        WriteError: A file could not be written; its former content is unchanged.
    """
    config = load_config(config_path)
    kind = kind_named(config.data.kind, kinds)
    check_config(config, kind)
    if config.adapter is not None and resume not in (None, "state"):
        raise ValueError(
            f"Expected a LoRA to go on from its state and got {resume}; give --resume without a file, and name the "
            "expert that it belongs to as start."
        )
    with run_folder(runs, config.name, resume, overwrite) as run:
        _train(config, kind, config_path.parent, runs / "data", run, resume)
    return run.written


def _train(config: TrainingConfig, kind: DataKind, base: Path, cache: Path, run: RunFolder, resume: str | None) -> None:
    """Train into the run's folder; paths of the configuration are relative to `base`."""
    space = LatentSpace(base / config.vae) if config.vae is not None else None
    if space is not None:
        config = replace(config, vae=space.key)  # so that no state is resumed with the latents of another VAE
    begin = None if run.resumed else _load_beginning(config, base, resume)
    own_tower = getattr(begin[0].encoder, "tower", None) if begin and begin[1] else None
    if begin is not None:
        _check_beginning(config, *begin)
    if space is None:
        prepared = kind.prepare(config, base, cache, own_tower)
    else:
        prepared = _prepare_latents(config, base, cache, kind, space, own_tower)
    decode = None if space is None else space.decode
    trainer_of = Trainer if config.adapter is None else AdapterTrainer
    trainer = trainer_of(config, prepared.training, prepared.held_out, run.path, decode)
    tower = {} if prepared.text_tower is None else prepared.text_tower.state_dict()
    trainer.content = fingerprint({"pictures": prepared.content}, tower)
    if run.resumed:
        trainer.resume()
    elif begin is not None:
        expert, steps = begin
        if (steps or config.adapter) and prepared.text_tower is not None:
            check_tower(expert, prepared.text_tower)
        if steps:
            trainer.earlier = earlier_stages(expert.metadata["card"])
        trainer.start_from(expert.network.state_dict(), steps)
    trainer.run()
    if config.adapter is not None:
        save_lora(
            run.written,
            trainer.average,
            _card(trainer, prepared, kind) | {"start": Path(config.start).stem},
            config.half,
        )
        return
    if prepared.text_tower is not None:
        prepared.text_tower.half()  # precise enough for a direction, and the file stays small
    network = trainer.average.half() if config.half else trainer.average
    save_expert(run.written, network, describe(trainer, prepared, kind), prepared.text_tower)


def _load_beginning(config: TrainingConfig, base: Path, resume: str | None) -> tuple[Expert, int] | None:
    """The expert to start from, and the steps of this run that it has done; None to start from random weights."""
    if resume not in (None, "state"):
        expert = _load_start(Path(resume))
        return expert, int(expert.metadata["card"].get("steps", 0))
    return (_load_start(base / config.start), 0) if config.start else None


def _check_beginning(config: TrainingConfig, expert: Expert, steps: int) -> None:
    """Refuse an expert that the configuration doesn't go on from.

    Raises:
        ValueError: Its latents are another VAE's; or it stays what it is, but for its weights or a LoRA on them, and
            the configuration has another noise schedule or prediction, or no further step.
    """
    own = {"vae": config.vae}
    if steps or config.adapter is not None:
        own |= {"schedule": config.schedule, "prediction": config.prediction}
    for name, value in own.items():
        if (found := expert.metadata[name]) != value:
            raise ValueError(
                f"Expected the {name} of {expert.name}, {found}, and the configuration has {value}; set {name} to that "
                "of the expert."
            )
    if steps and steps >= config.optimizer.steps:
        raise ValueError(
            f"{expert.name} has made {steps} steps, and [optimizer] asks for {config.optimizer.steps} in all; raise "
            "steps."
        )


def _load_start(path: Path) -> Expert:
    if not path.exists():
        raise ValueError(f"Expected an expert file to start from at {path} and there is none; train it first.")
    return load_expert(path)


def _prepare_latents(
    config: TrainingConfig, base: Path, cache: Path, kind: DataKind, space: LatentSpace, tower: TextTower | None
) -> Prepared[Source]:
    channels = space.autoencoder.config.latent_channels
    if config.network.in_channels != channels:
        raise ValueError(
            f"The VAE's latents have {channels} channels and [network] has in_channels = "
            f"{config.network.in_channels}; set in_channels and out_channels to {channels}."
        )
    prepared = kind.prepare_latents(config, base, cache, tower)
    training, held_out = (
        space.source(pictures.parts.values(), cache, pictures.conditions)
        for pictures in (prepared.training, prepared.held_out)
    )
    return Prepared(training, held_out, prepared.text_tower, prepared.content)


def condition_spec(modalities: tuple[str, ...], text_tower: TextTower | None, classes: tuple[str, ...]) -> dict:
    """Description of the expert's condition; see `mcdm_core.conditions.build_encoder`."""
    match modalities:
        case ():
            return {"kind": "none"}
        case ("text",):
            assert text_tower is not None
            return {"kind": "text", "text_encoder": text_tower.config.to_dict()}
        case ("class",):
            return {"kind": "class", "classes": list(classes)}
        case ("sketch",):
            return {"kind": "sketch"}
        case (name,):
            return {"kind": "map", "map": name}
        case names:
            return {"kind": "maps", "maps": list(names)}


def describe(trainer: Trainer, prepared: Prepared[Source], kind: DataKind) -> ExpertMetadata:
    """The expert's header: architecture, condition, and a card that says how it was trained."""
    config = trainer.config
    return ExpertMetadata(
        name=config.name,
        network=config.network,
        image_size=config.image_size,
        condition=condition_spec(config.data.modalities, prepared.text_tower, kind.classes),
        schedule=config.schedule,
        prediction=config.prediction,
        card=_card(trainer, prepared, kind),
        vae=config.vae,
    )


def _card(trainer: Trainer, prepared: Prepared[Source], kind: DataKind) -> dict:
    """The model card: how the weights were trained."""
    config = trainer.config
    earlier = {"earlier": "; ".join(trainer.earlier)} if trainer.earlier else {}
    return {
        **config.card,
        **earlier,
        "steps": trainer.step,
        "seed": config.optimizer.seed,
        "data": kind.describe(config.data, len(prepared.training)),
    }
