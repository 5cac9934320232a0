"""Faces whose colours are requested one by one, from experts each trained on faces with a leading colour of another's.

The leading colours are never requested, so a leading colour in a sample has bled into it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..data.captions import caption
from ..data.combinations import combinations
from ..data.face_parser import read_colors
from ..data.faces import MAPS, Frequencies, draw_face, render_face
from ..metrics import right_answers
from .config import DataConfig, Setting
from .faces import Faces, HeldOutFace

COLORS = ("hair_color", "skin_color", "background")


class ColorPairs(Faces):
    """Faces whose colours may bleed; `leading` of the configuration are these colours: attribute → value.

    Consecutive pictures cycle through the combinations of the other values, or through those that are `asked`, so each
    is requested equally often.

    The Fréchet distance is to faces of all colours, also of those that are never requested: its floor is that of the
    pictures themselves, 21.7 in `product_lora` and 219.6 in `new_colors` of studies/results/.
    """

    measures: tuple[str, ...] = ("bleeding", *Faces.measures)
    read: tuple[str, ...] = ("bleeding", *Faces.read)

    def __init__(self, config: DataConfig):
        if strangers := sorted(config.leading.keys() - set(COLORS)) or (["nothing"] if not config.leading else []):
            raise ValueError(
                f"Expected colours that bleed as leading of [data], of {', '.join(COLORS)}, and got {strangers[0]}; "
                'name them, as in leading = { background = "green" }.'
            )
        super().__init__(config)
        self._frequencies = Frequencies()
        self._named = config.leading.keys()
        self._combinations = combinations(config.leading, config.asked)

    def __getitem__(self, index: int) -> HeldOutFace:
        if index not in self._drawn:
            rng = np.random.default_rng(self._config.seed + index)
            face = draw_face(rng, self._frequencies, self._config.spread)
            colors = self._combinations[index % len(self._combinations)]
            face = replace(face, attributes=face.attributes | colors)
            drawing = render_face(face, MAPS, self._size)
            captions = {name: caption(face.attributes, rng, (name,)) for name in colors}
            text = caption(face.attributes, rng, tuple(colors))
            self._drawn[index] = HeldOutFace(face, drawing.image, drawing.maps, text, captions)
        return self._drawn[index]

    def measure(self, group: str, images: np.ndarray, setting: Setting | None) -> dict[str, np.ndarray]:
        """One group of measures: "bleeding", or one of faces."""
        if group != "bleeding":
            return super().measure(group, images, setting)
        read = [read_colors(image) for image in images]
        wanted = [self[i].face.attributes for i in range(len(images))]
        return measure_bleeding(read, wanted, self._config.leading)


def measure_bleeding(
    read: Sequence[dict[str, str]], wanted: Sequence[dict[str, str]], leading: dict[str, str]
) -> dict[str, np.ndarray]:
    """Which colours are the requested ones, and which are leading ones that nobody asked for, and bled; 0 or 1.

    Args:
        read: For each picture, attribute → colour, as read.
        wanted: For each picture, attribute → requested colour.
        leading: Attribute → the leading colour, for the requested attributes.

    Returns:
        "all right", and each attribute by its name, whether it is right; "bleeding", whether any colour has bled, and
        "bled into hair color", and so on, for each attribute.
    """
    right = {name: right_answers([r[name] for r in read], [w[name] for w in wanted]) for name in leading}
    bled = {
        name: right_answers([r[name] for r in read], ["" if w[name] == lead else lead for w in wanted])
        for name, lead in leading.items()
    }
    return {
        "all right": np.min([*right.values()], axis=0),
        **{_spoken(name): values for name, values in right.items()},
        "bleeding": np.max([*bled.values()], axis=0),
        **{f"bled into {_spoken(name)}": values for name, values in bled.items()},
    }


def _spoken(name: str) -> str:
    return name.replace("_", " ")
