"""One training run, from its configuration to the expert file."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..checkpoints import load_expert, save_expert
from ..conditions.text import TextTower
from ..experts import Expert
from ..metadata import ExpertMetadata
from .checks import check_config, check_embedding, check_tower
from .config import DataConfig, TrainingConfig, load_config
from .drawings import MIXTURE, parts_of
from .dual_encoder import embed_images, load_dual_encoder
from .folder import read_folder
from .latents import LatentSpace
from .loop import goes_on
from .scenes import CLASSES, draw_animals, draw_landscapes, landscape_tower
from .sources import Source, draw_faces
from .trainer import Trainer


@dataclass(frozen=True)
class Prepared:
    """A run's batches and, for a text expert, the tower that goes into its file."""

    source: Source
    held_out: Source
    text_tower: TextTower | None = None


def train_expert(config_path: Path, runs: Path, resume: str | None = None) -> Path:
    """Train the configured network and write its averaged weights as an expert.

    Args:
        config_path: The TOML file.
        runs: Folder that gets a subfolder named after the run.
        resume: None to begin; "state" to go on where the run stopped, or to begin where there is no state; or an
            expert file whose averaged weights and number of steps to go on from.

    Returns:
        The expert file.

    Raises:
        ValueError: The configuration is wrong, its data cannot be read, or a saved state exists and `resume` was not
            given.
    """
    config = load_config(config_path)
    check_config(config)
    folder, base = runs / config.name, config_path.parent
    space = LatentSpace(base / config.vae) if config.vae is not None else None
    if space is not None:
        config = replace(config, vae=space.key)  # so that a state does not go on with the latents of another VAE
    resumed = goes_on(folder, resume)
    begin = None if resumed else _load_beginning(config, base, resume)
    own_tower = getattr(begin[0].encoder, "tower", None) if begin and begin[1] else None
    prepared = _prepare(config, base, runs, own_tower) if space is None else _prepare_latents(config, runs, space)
    decode = None if space is None else space.decode
    trainer = Trainer(config, prepared.source, prepared.held_out, folder, decode)
    if resumed:
        trainer.resume()
    elif begin is not None:
        expert, steps = begin
        if steps and prepared.text_tower is not None:
            check_tower(expert, prepared.text_tower)
        trainer.start_from(expert.network.state_dict(), steps)
    trainer.run()
    path = folder / f"{config.name}.safetensors"
    if prepared.text_tower is not None:
        prepared.text_tower.half()  # a direction needs no more, and the file stays small
    network = trainer.average.half() if config.half else trainer.average
    save_expert(path, network, describe(trainer, prepared), prepared.text_tower)
    return path


def _load_beginning(config: TrainingConfig, base: Path, resume: str | None) -> tuple[Expert, int] | None:
    """The expert to begin with and the steps of this run that it has behind it; None to begin with random weights."""
    if resume not in (None, "state"):
        expert = _load_start(Path(resume))
        return expert, int(expert.metadata["card"].get("steps", 0))
    return (_load_start(base / config.start), 0) if config.start else None


def _load_start(path: Path) -> Expert:
    if not path.exists():
        raise ValueError(f"Expected an expert file to start from at {path} and there is none; train it first.")
    return load_expert(path)


def _prepare(config: TrainingConfig, base: Path, runs: Path, own_tower: TextTower | None) -> Prepared:
    data, cache, held_out = config.data, runs / "data", config.report.held_out_count
    beside = data.beside(held_out)
    if data.kind == "animals":
        return Prepared(draw_animals(data, cache), draw_animals(beside, cache))
    text_tower, embed = None, None
    if data.kind == "landscapes":
        if "text" in data.modalities:
            text_tower = own_tower or landscape_tower(cache)
            check_embedding(config, text_tower.config.dim)
        return Prepared(
            draw_landscapes(data, cache, text_tower), draw_landscapes(beside, cache, text_tower), text_tower
        )
    if "text" in data.modalities:
        text_tower, image_tower = load_dual_encoder(base / data.text_encoder)
        check_embedding(config, text_tower.config.dim)
        embed = partial(embed_images, image_tower)
    if data.kind == "folder":
        pictures = read_folder(
            base / data.path, data.modalities, config.image_size, held_out, embed, data.embedding_noise
        )
        return Prepared(*pictures, text_tower)
    return Prepared(draw_faces(data, cache, embed), draw_faces(beside, cache, embed), text_tower)


def _prepare_latents(config: TrainingConfig, runs: Path, space: LatentSpace) -> Prepared:
    data, cache, size = config.data, runs / "data", config.image_size
    if config.network.in_channels != space.channels:
        raise ValueError(
            f"The VAE's latents have {space.channels} channels and [network] has in_channels = "
            f"{config.network.in_channels}; set in_channels and out_channels to {space.channels}."
        )
    beside = data.beside(config.report.held_out_count)
    return Prepared(space.source(data, size, cache), space.source(beside, size, cache))


def condition_spec(modalities: tuple[str, ...], text_tower: TextTower | None) -> dict:
    """What the expert's encoder has to know; see `mcdm_core.conditions.build_encoder`."""
    match modalities:
        case ():
            return {"kind": "none"}
        case ("text",):
            assert text_tower is not None
            return {"kind": "text", "text_encoder": text_tower.config.to_dict()}
        case ("class",):
            return {"kind": "class", "classes": list(CLASSES)}
        case ("sketch",):
            return {"kind": "sketch"}
        case (name,):
            return {"kind": "map", "map": name}
        case names:
            return {"kind": "maps", "maps": list(names)}


def describe(trainer: Trainer, prepared: Prepared) -> ExpertMetadata:
    """The expert's header: architecture, condition, and a card that says how it was trained."""
    config = trainer.config
    return ExpertMetadata(
        name=config.name,
        network=config.network,
        image_size=config.image_size,
        condition=condition_spec(config.data.modalities, prepared.text_tower),
        schedule=config.schedule,
        prediction=config.prediction,
        card={
            **config.card,
            "steps": trainer.step,
            "seed": config.optimizer.seed,
            "data": _describe_data(config.data, len(prepared.source)),
            **({} if config.vae is None else {"vae": config.vae}),
        },
    )


def _describe_data(data: DataConfig, count: int) -> str:
    if data.kind == "folder":
        return f"{count} pictures of the folder {Path(data.path).name!r}"
    if data.kind == MIXTURE:
        return "; ".join(_describe_data(part, part.count) for part in parts_of(data).values())
    if data.sets:
        names = data.trained or data.modalities
        return "; ".join(f"{name}: {_describe_data(data.of(name), data.of(name).count)}" for name in names)
    leading = f", leading {data.leading}" if data.kind == "faces" else ""
    return f"{count} {data.kind}, seed {data.seed}{leading}"
