"""One training run, from its configuration to the expert file."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..checkpoints import load_expert, save_expert
from ..conditions.text import TextTower
from ..metadata import ExpertMetadata
from .config import TrainingConfig, load_config
from .loop import Trainer
from .sources import Source, draw_faces

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A run's batches and, for a text expert, the tower that goes into its file."""

    source: Source
    text_tower: TextTower | None = None


def train_expert(config_path: Path, runs: Path, resume: str | None = None) -> Path:
    """Train the configured network and write its averaged weights as an expert.

    Args:
        config_path: The TOML file.
        runs: Folder that gets a subfolder named after the run.
        resume: None to begin, "state" to go on where the run stopped, or an expert file whose weights to go on from.

    Returns:
        The expert file.

    Raises:
        ValueError: The configuration is wrong, or a saved state exists and `resume` was not given.
    """
    config = load_config(config_path)
    folder = runs / config.name
    prepared = _prepare(config, config_path.parent, runs)
    trainer = Trainer(config, prepared.source, folder)
    if trainer.state_path.exists() and resume is None:
        raise ValueError(f"{trainer.state_path} holds an earlier run; pass --resume to go on with it, or remove it.")
    if trainer.state_path.exists() and resume == "state":
        trainer.resume()
    elif resume and resume != "state":
        expert = load_expert(resume)
        trainer.start_from(expert.network.state_dict())
        trainer.step = int(expert.metadata.get("card", {}).get("steps", 0))
    elif config.start:
        trainer.start_from(load_expert(config_path.parent / config.start).network.state_dict())
    trainer.run()
    path = folder / f"{config.name}.safetensors"
    save_expert(path, trainer.average, describe(trainer, prepared.text_tower), prepared.text_tower)
    return path


def _prepare(config: TrainingConfig, base: Path, runs: Path) -> Prepared:
    if config.data.kind == "folder":
        from .folder import FolderSource

        return Prepared(FolderSource(base / config.data.path, config.data.modalities, config.image_size))
    if config.data.kind != "faces":
        raise ValueError(f"Expected data of kind 'faces' or 'folder' and got {config.data.kind!r}; correct the name.")
    if "text" not in config.data.modalities:
        return Prepared(draw_faces(config.data, runs / "data"))
    from .dual_encoder import embed_images, load_dual_encoder

    text_tower, image_tower = load_dual_encoder(base / config.data.text_encoder)
    return Prepared(draw_faces(config.data, runs / "data", partial(embed_images, image_tower)), text_tower)


def condition_spec(modalities: tuple[str, ...], text_tower: TextTower | None) -> dict:
    """What the expert's encoder has to know; see `mcdm_core.conditions.build_encoder`."""
    match modalities:
        case ():
            return {"kind": "none"}
        case ("text",):
            assert text_tower is not None
            return {"kind": "text", "text_encoder": text_tower.config.to_dict()}
        case ("sketch",):
            return {"kind": "sketch"}
        case (name,):
            return {"kind": "map", "map": name}
        case names:
            return {"kind": "maps", "maps": list(names)}


def describe(trainer: Trainer, text_tower: TextTower | None) -> ExpertMetadata:
    """The expert's header: architecture, condition, and a card that says how it was trained."""
    config = trainer.config
    return ExpertMetadata(
        name=config.name,
        network=config.network,
        image_size=config.image_size,
        condition=condition_spec(config.data.modalities, text_tower),
        schedule=config.schedule,
        prediction=config.prediction,
        card={
            **config.card,
            "steps": trainer.step,
            "seed": config.optimizer.seed,
            "data": f"{config.data.count} {config.data.kind}, seed {config.data.seed}, leading {config.data.leading}",
        },
    )
