"""What a product draws as pictures to train on, by which a LoRA of core's way is compared with a distilled one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mcdm_core.checkpoints import load_expert
from mcdm_core.distil.command import product_of
from mcdm_core.distil.product import told
from mcdm_core.distil.recipe import RULES, load_recipe
from mcdm_core.distil.run import fingerprint_of
from mcdm_core.networks.text_tower import TextTower
from mcdm_core.pictures.files import as_bytes
from mcdm_core.product.terms.term import Term
from mcdm_core.sampling import sample_product
from mcdm_core.training.config import DataConfig, TrainingConfig
from mcdm_core.training.data.kind import DataKind, PicturesToEncode, Prepared
from mcdm_core.training.data.sources import Conditions, Source

from ..vaes import vae_of
from .prompts import draw_prompts
from .sets import held_out_of

_STEPS = "10"
_AT_ONCE = 16  # pictures sampled at a time


class ProductKind(DataKind):
    """Pictures of a product; `path` is the file of a distillation, of whose prompts all but the unseen are drawn."""

    name = "product"

    def check(self, config: TrainingConfig) -> None:
        """Refuse networks of pixels."""
        raise ValueError("The pictures of a product are for networks of latents, and no vae is named; name one.")

    def prepare(self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None) -> Prepared[Source]:
        """Is never asked for: `check` refuses every such configuration."""
        raise NotImplementedError

    def check_latents(self, config: TrainingConfig) -> None:
        """Refuse data without a path, and modalities other than text."""
        if not config.data.path or config.data.modalities != ("text",):
            raise ValueError(
                'Pictures of a product have the modality "text", and path names the file of a distillation; got '
                f"{list(config.data.modalities)} and {config.data.path!r}; correct them."
            )

    def prepare_latents(
        self, config: TrainingConfig, base: Path, cache: Path, tower: TextTower | None
    ) -> Prepared[PicturesToEncode]:
        """Make the pictures and their captions; pictures are sampled when they are first used."""
        product = DrawingProduct(base / config.data.path)
        training, held_out = (
            PicturesToEncode({self.name: ProductPictures(product, data.seed, data.count)}, product.captions(data.count))
            for data in (config.data, held_out_of(config.data, config.report.held_out))
        )
        return Prepared(training, held_out, product.text_tower)

    def describe(self, data: DataConfig, count: int) -> str:
        """The number of pictures and the product that draws them."""
        return f"{count} pictures of the product of {Path(data.path).name}, seed {data.seed}"


class DrawingProduct:
    """The product of a distillation, and its prompts that are no unseen ones, through which pictures cycle.

    Args:
        path: The distillation's file, of those that `python -m mcdm_core distil` takes.

    Attributes:
        rule: How the experts are combined.
        terms: The experts; row p of their conditions belongs to prompt p.
        student: The expert that is trained.
        conditions: The student's condition, likewise.
        key: Names what is drawn: experts, LoRAs, prompts and settings.

    Raises:
        ValueError: The configuration is wrong, or an expert cannot read a prompt.
        FileNotFoundError: There is no expert, LoRA or VAE of a name.
    """

    def __init__(self, path: Path):
        recipe = load_recipe(path, draw_prompts)
        self.rule = RULES[recipe.rule]
        self.terms, self.student, self.conditions = product_of(recipe, lambda file: load_expert(file, vae=vae_of(file)))
        self._passes = recipe.passes
        conditions = [Term(self.student, self.conditions)]
        self.key = fingerprint_of([*self.terms, *conditions], [recipe.rule, repr(recipe.passes), _STEPS])
        self._trained = [index for index, prompt in enumerate(recipe.prompts) if not prompt.unseen]

    @property
    def text_tower(self) -> TextTower:
        """That of the student."""
        tower: TextTower = self.student.encoder.tower
        return tower

    def prompts(self, count: int) -> Tensor:
        """The prompt of each of so many pictures, an index of the configuration's prompts, int64 (count,)."""
        return torch.tensor([self._trained[index % len(self._trained)] for index in range(count)])

    def captions(self, count: int) -> Conditions:
        """What the student is told of each of so many pictures."""
        conditions = self.conditions.take(self.prompts(count))
        return lambda modality, rows, rng: conditions.take(torch.from_numpy(rows))

    def draw(self, prompts: Tensor, seeds: range) -> Tensor:
        """The pictures of prompts (B,), each from the noise of its seed: (B, 3, H, W), −1…1."""
        shape = self.student.sample_shape
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        terms = [told(term, prompts) for term in self.terms]
        samples = sample_product(terms, noise, _STEPS, rule=self.rule, settings=(self._passes,))
        return self.student.decode(samples)


@dataclass(frozen=True)
class ProductPictures:
    """Samples of a product, as `Pictures`.

    Attributes:
        product: What draws them.
        seed: First seed of their noise.
        count: How many.
    """

    product: DrawingProduct
    seed: int
    count: int

    @property
    def name(self) -> str:
        """Names the product's content, the seed and the count."""
        return f"product_{self.product.key}_{self.seed}_{self.count}"

    def __len__(self) -> int:
        return self.count

    def load(self, cache: Path) -> np.ndarray:
        """All pictures, uint8, (N, H, W, 3), sampled now; nothing is read from `cache`."""
        return np.concatenate([*self.chunks()])

    @torch.no_grad()
    def chunks(self) -> Iterator[np.ndarray]:
        """All pictures, sampled now, in chunks (n, H, W, 3)."""
        prompts = self.product.prompts(self.count)
        for first in range(0, self.count, _AT_ONCE):
            rows = prompts[first : first + _AT_ONCE]
            pictures = self.product.draw(rows, range(self.seed + first, self.seed + first + len(rows)))
            yield as_bytes(pictures).permute(0, 2, 3, 1).numpy()
