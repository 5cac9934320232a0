"""What all kinds of drawn pictures have in common."""

from mcdm_core.training.config import DataConfig, TrainingConfig
from mcdm_core.training.data_kind import DataKind

from ..data.landscapes import IMAGE_SIZE
from .mixture import check_mixture
from .sets import check_sets


class DrawnKind(DataKind):
    """See `DataKind`.

    Attributes:
        modalities: What its pictures can be told by.
    """

    modalities: tuple[str, ...]

    def check(self, config: TrainingConfig) -> None:
        """See `DataKind`."""
        if config.image_size != IMAGE_SIZE:
            raise ValueError(
                f"{self.name.capitalize()} are drawn at {IMAGE_SIZE} pixels, not at {config.image_size}; set "
                "image_size to that."
            )
        if unknown := [name for name in config.data.modalities if name not in self.modalities]:
            raise ValueError(
                f"Drawn {self.name} have the modalities {', '.join(self.modalities)} and not {unknown[0]!r}; choose "
                "among them."
            )
        check_sets(config.data, config.report.held_out_count)

    def check_pictures(self, data: DataConfig) -> None:
        """See `DataKind`; only mixtures are drawn at any size, and the refusal says so."""
        check_mixture(data)

    def describe(self, data: DataConfig, count: int) -> str:
        """See `DataKind`."""
        return f"{count} {self.name}, seed {data.seed}"
