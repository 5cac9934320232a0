"""The published runs, as networks that an oracle can sample with, and what goes into them.

The networks are asked bare, one condition at a time, and united by the equations of the published code.
"""

from collections.abc import Mapping
from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from published_networks import SIZE, bare_network, random_noise, random_tensor
from published_sampling import Network, guided
from torch import Tensor, nn

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
        label, no_class = (self._ask("class", labels=torch.tensor([index])) for index in (LABEL, 0))
        text, no_text = (self._ask("glide", **self._read("glide", words)) for words in (SCENE, ""))

        def network(x_t: Tensor, t: Tensor) -> Tensor:
            null = 5 / 9 * no_class(x_t, t) + 4 / 9 * no_text(x_t, t)
            return guided(null, [(5.0, label(x_t, t)), (5.0, text(x_t, t))])

        return network

    def upsampler(self, name: str) -> Network:
        """Enlarges `SMALL`, told what the small picture was told, without guidance."""
        told = self._read(name, SCENE) if "glide" in name else {"labels": torch.tensor([LABEL])}
        return self._ask(name, low_res=_values(SMALL), **told)

    def inpainting(self, name: str, weight: float) -> Network:
        """Fills in `PICTURE`, and enlarges the first of `SMALL` where it is an upsampler."""
        known = 1 - HIDDEN[:, None]
        pictures = {"maps": torch.cat([_values(PICTURE) * known, known], dim=1)}
        if "upsample" in name:
            pictures["low_res"] = _values(SMALL)
        told, untold = (self._ask(name, **pictures, **self._read(name, text)) for text in (SCENE, ""))
        return lambda x_t, t: guided(untold(x_t, t), [(weight, told(x_t, t))])

    def faces(self, weights: Mapping[str, float], text: Tensor) -> Network:
        """`MAPS`, the embedding of a text and `SKETCH`; U is the face network's null.

        The face network's second modulation runs in every row, also where no text is told.
        """
        black, silent = torch.zeros(1, 3, SIZE, SIZE), torch.zeros_like(text)

        def face(face: Tensor = black, hair: Tensor = black, embedding: Tensor = silent) -> Network:
            return self._ask("face", maps=torch.cat([face, hair], dim=1), embedding=embedding, text_active=True)

        networks = {name: face(**{name: _gray(MAPS[name])}) for name in MAPS}
        networks["text"] = face(embedding=text)
        networks["sketch"] = self._ask("sketch", maps=_gray(SKETCH))
        null = face()
        return lambda x_t, t: guided(null(x_t, t), [(w, networks[name](x_t, t)) for name, w in weights.items()])

    def composed(self) -> Network:
        """Composable diffusion: ε∅ + Σ 7.5 (ε_i − ε∅) of two texts."""
        null, *conditions = (self._ask("glide", **self._read("glide", text)) for text in ("", *COMPOSED))
        return lambda x_t, t: guided(null(x_t, t), [(7.5, network(x_t, t)) for network in conditions])

    def one_class(self, name: str, weight: float) -> Network:
        """Classifier-free guidance of a class, away from class 0."""
        label, null = (self._ask(name, labels=torch.tensor([index])) for index in (LABEL, 0))
        return lambda x_t, t: guided(null(x_t, t), [(weight, label(x_t, t))])

    def _bare(self, name: str) -> tuple[nn.Module, nn.Module | None]:
        if name not in self._networks:
            self._networks[name] = bare_network(self.core, name)
        return self._networks[name]

    def _ask(self, name: str, **told: Any) -> Network:
        network, _ = self._bare(name)
        told = {
            key: value.expand(len(NOISE), *value.shape[1:]) if isinstance(value, Tensor) else value
            for key, value in told.items()
        }
        return lambda x_t, t: network(x_t, t, **told)

    def _read(self, name: str, text: str) -> dict[str, Tensor]:
        """What a GLIDE network is told; no text has no tokens."""
        _, transformer = self._bare(name)
        context, pooled = transformer(*self._tokenizer([text]))
        return {"context": context, "embedding": pooled}

    @cached_property
    def _tokenizer(self) -> Any:
        return self.core.conditions.tokenizers.GlideTokenizer()


def _values(picture: Tensor) -> Tensor:
    return picture.movedim(-1, 1) * 2 - 1


def _gray(drawing: Tensor) -> Tensor:
    return drawing[:, None].expand(-1, 3, -1, -1)
