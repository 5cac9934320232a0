"""The published runs, as networks that an oracle can sample, and their inputs.

The bare networks are called directly, and combined by the equations of the published code.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from .networks import SIZE, bare_network, random_noise, random_tensor
from .sampling import Network, guided

NOISE = random_noise(2, 3, SIZE, SIZE)
LABEL, SCENE, COMPOSED = 3, "a lake at dusk", ("a camel", "a forest")
SMALL = (random_tensor("small", 2, SIZE // 4, SIZE // 4, 3) * 255).round() / 255
"""Pictures to enlarge, as ComfyUI has them, after their way through 8 bits."""
PICTURE, HIDDEN = random_tensor("picture", 1, SIZE, SIZE, 3), random_tensor("mask", 1, SIZE, SIZE).round()
"""A picture to fill in, and where; as ComfyUI has them."""
MAPS = {name: random_tensor(name, 1, SIZE, SIZE) for name in ("face", "hair")}
SKETCH = random_tensor("sketch", 1, SIZE, SIZE).round()


class Published:
    """The bare networks.

    Args:
        core: The package mcdm_core.
    """

    def __init__(self, core: ModuleType):
        self.core = core
        self._networks: dict[str, tuple[nn.Module, nn.Module | None]] = {}

    def scene(self) -> Network:
        """A class and a text with w = 5 each; U is 5/9 of class 0 and 4/9 of no text."""
        by_class = self._ask("class", *self._labels(LABEL, 0))
        by_text = self._ask("glide", self._read("glide", SCENE), self._read("glide", ""))

        def network(x_t: Tensor, t: Tensor) -> Tensor:
            (label, no_class), (text, no_text) = by_class(x_t, t), by_text(x_t, t)
            return guided(5 / 9 * no_class + 4 / 9 * no_text, [(5.0, label), (5.0, text)])

        return network

    def upsampler(self, name: str) -> Network:
        """Enlarges `SMALL` under the condition of the small picture, without guidance."""
        condition = self._read(name, SCENE) if "glide" in name else self._labels(LABEL)[0]
        network = self._ask(name, {"low_res": _values(SMALL), **condition})
        return lambda x_t, t: network(x_t, t)[0]

    def inpainting(self, name: str, weight: float) -> Network:
        """Fills in `PICTURE`; an upsampler also enlarges the first of `SMALL`."""
        known = 1 - HIDDEN[:, None]
        pictures = {"maps": torch.cat([_values(PICTURE) * known, known], dim=1)}
        if "upsample" in name:
            pictures["low_res"] = _values(SMALL)
        return self._guided(name, *({**pictures, **self._read(name, text)} for text in ("", SCENE)), weight=weight)

    def faces(self, weights: Mapping[str, float], text: Tensor) -> Network:
        """`MAPS`, the embedding of a text and `SKETCH`; U is the face network's null.

        The face network's second modulation runs in every row, also without a text.
        """
        absent, silent = torch.zeros(1, 3, SIZE, SIZE), torch.zeros_like(text)

        def row(face: Tensor = absent, hair: Tensor = absent, embedding: Tensor = silent) -> dict[str, Tensor]:
            return {"maps": torch.cat([face, hair], dim=1), "embedding": embedding}

        rows = {name: row(**{name: _gray(drawing)}) for name, drawing in MAPS.items()} | {"text": row(embedding=text)}
        asked = [name for name in weights if name in rows]
        faces = self._ask("face", row(), *(rows[name] for name in asked), text_active=True)
        sketch = self._ask("sketch", {"maps": _gray(SKETCH)})

        def network(x_t: Tensor, t: Tensor) -> Tensor:
            null, *outputs = faces(x_t, t)
            predictions = dict(zip(asked, outputs, strict=True)) | {"sketch": sketch(x_t, t)[0]}
            return guided(null, [(weight, predictions[name]) for name, weight in weights.items()])

        return network

    def composed(self) -> Network:
        """Composable diffusion: ε∅ + Σ 7.5 (ε_i − ε∅) of two texts."""
        return self._guided("glide", *(self._read("glide", text) for text in ("", *COMPOSED)), weight=7.5)

    def one_class(self, name: str, weight: float) -> Network:
        """Classifier-free guidance of a class, away from class 0."""
        return self._guided(name, *self._labels(0, LABEL), weight=weight)

    def _bare(self, name: str) -> tuple[nn.Module, nn.Module | None]:
        if name not in self._networks:
            self._networks[name] = bare_network(self.core, name)
        return self._networks[name]

    def _guided(self, name: str, *conditions: Mapping[str, Tensor], weight: float) -> Network:
        """Guidance of several conditions, of which the first is the null."""
        networks = self._ask(name, *conditions)

        def network(x_t: Tensor, t: Tensor) -> Tensor:
            null, *outputs = networks(x_t, t)
            return guided(null, [(weight, output) for output in outputs])

        return network

    def _ask(
        self, name: str, *conditions: Mapping[str, Tensor], **flags: bool
    ) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
        """A network's outputs under every condition, each for all rows."""
        network, _ = self._bare(name)
        rows = {
            key: torch.cat([each[key].expand(len(NOISE), *each[key].shape[1:]) for each in conditions])
            for key in conditions[0]
        }
        count = len(conditions)
        return lambda x_t, t: network(x_t.repeat(count, 1, 1, 1), t.repeat(count), **rows, **flags).chunk(count)

    def _labels(self, *labels: int) -> list[dict[str, Tensor]]:
        return [{"labels": torch.tensor([label])} for label in labels]

    def _read(self, name: str, text: str) -> dict[str, Tensor]:
        """A GLIDE network's condition; an empty text has no tokens."""
        _, transformer = self._bare(name)
        context, pooled = transformer(*self._tokenizer([text]))
        return {"context": context, "embedding": pooled}

    @cached_property
    def _tokenizer(self) -> Any:
        return self.core.text.tokenizers.GlideTokenizer()


def _values(picture: Tensor) -> Tensor:
    return picture.movedim(-1, 1) * 2 - 1


def _gray(drawing: Tensor) -> Tensor:
    """A map or sketch as the release reads it: three equal channels, −1 for black; all 0 means no map."""
    return drawing[:, None].expand(-1, 3, -1, -1) * 2 - 1
