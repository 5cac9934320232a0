"""The part of an expert's file that describes its condition."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from torch import Tensor, nn

from ..networks import ClipTextTower, TextTowerConfig, TextTransformerConfig
from ..networks.blank import without_weights
from ..system.fields import Between, Length, Line

ANY = "any"
"""Value of a network's field that may be anything but None."""
COLORS = 3  # channels of a small picture, and of one to fill in, which has a channel more for its known part

Background = Annotated[float, Between(-1, 1)]
LowRes = Annotated[int, Between(1, 1024)] | None
Maps = Annotated[tuple[Line, ...], Length(1, 64)]


Config = TypeVar("Config", TextTowerConfig, TextTransformerConfig)
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Fields:
    """Entries of a description beside its kind; here none."""


@dataclass(frozen=True)
class Description:
    """Everything that an encoder is built from.

    Attributes:
        spec: The header's description of the condition; see `build_encoder`.
        image_size: The expert's height and width in pixels.
        state: The encoder's tensors, named as in their module.
        load_text: Loads FaRL's text tower when the face network's encoder first needs it.
    """

    spec: Mapping[str, Any]
    image_size: int
    state: Mapping[str, Tensor] = field(default_factory=dict)
    load_text: Callable[[], ClipTextTower] | None = None

    @property
    def background(self) -> float:
        """Value of black in maps and sketches."""
        return self.spec.get("background", 0.0)

    @property
    def low_res(self) -> int | None:
        """Height and width of a small picture to enlarge, None for none."""
        return self.spec.get("low_res")

    def fill(self, module: Callable[[Config], Module], config: Config) -> Module:
        """A text encoder that uses the given tensors themselves, not copies of them.

        Raises:
            ValueError: If the tensors differ from those the configuration needs.
        """
        if config.layers > len(self.state):
            raise ValueError(
                f"layers of the text encoder is {config.layers}, and it has no more than {len(self.state)} tensors; "
                "download or export the expert again."
            )
        with without_weights():
            filled = module(config)
        expected = filled.state_dict()
        wrong = sorted(
            {name for name in expected if name not in self.state or self.state[name].shape != expected[name].shape}
            | {name for name in self.state if name not in expected}
        )
        if wrong:
            raise ValueError(
                f"The text encoder's tensors should be those its description asks for, but {len(wrong)} are missing, "
                f"unexpected or of another shape ({', '.join(wrong[:3])}); download or export the expert again."
            )
        filled.load_state_dict(self.state, assign=True)
        computed = {
            name: tensor.dtype for name, tensor in self.state.items() if "ln_" not in name and "norm" not in name
        }
        if len(set(computed.values())) > 1:
            first = next(iter(computed))
            other = next(name for name, dtype in computed.items() if dtype != computed[first])
            raise ValueError(
                f"The text encoder's {other} is in {computed[other]} and {first}, which is computed with it, in "
                f"{computed[first]}; download or export the expert again."
            )
        return filled
