"""The user's own folder as a kind of data."""

from pathlib import Path

from ..networks.text_tower import TextTower, TextTowerConfig
from ..text.vocabulary import gather_vocabulary
from .config import DataConfig, DualEncoderConfig, TrainingConfig
from .data_kind import DataKind, Prepared, PreparedPairs
from .embeddings import check_text_encoder, load_embeddings
from .folder import read_folder
from .pairs import read_pairs

_RESERVED = ("images", "captions", "auto")


class FolderKind(DataKind):
    """See `DataKind`; the layout of a folder is that of `folder`."""

    name = "folder"

    def check(self, config: TrainingConfig) -> None:
        """See `DataKind`."""
        data = config.data
        if not data.path:
            raise ValueError('Expected the folder\'s path in [data] and found none; add path = "…".')
        if "class" in data.modalities:
            raise ValueError('A folder has maps, sketches and captions and no "class"; remove it from modalities.')
        if reserved := [name for name in data.modalities if name in _RESERVED or "/" in name]:
            raise ValueError(f"{reserved[0]!r} cannot be the name of a modality; rename its subfolder.")
        check_text_encoder(data)
        if data.sets:
            raise ValueError("A folder has the same pictures for each modality; remove [data.sets].")

    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared:
        """See `DataKind`; held-out pictures are taken out of the folder."""
        data = config.data
        embeddings = load_embeddings(config, base)
        training, held_out = read_folder(
            base / data.path,
            data.modalities,
            config.image_size,
            config.report.held_out_count,
            embeddings.embed,
            data.embedding_noise,
        )
        return Prepared(training, held_out, embeddings.tower)

    def describe(self, data: DataConfig, count: int) -> str:
        """See `DataKind`."""
        return f"{count} pictures of the folder {Path(data.path).name!r}"

    def prepare_pairs(self, config: DualEncoderConfig, base: Path) -> PreparedPairs:
        """See `DataKind`; the vocabulary is that of the training captions."""
        training, held_out = read_pairs(base / config.path, config.image_size)
        words = gather_vocabulary((text for texts in training.captions for text in texts), config.words)
        return PreparedPairs(training, held_out, TextTowerConfig(vocabulary=words, lexicon="plain"))
