"""An animation of four faces while the weight of their captions rises; their maps keep theirs."""

import io
import textwrap
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from mcdm_core.checkpoints import load_expert
from mcdm_core.cli.demo import CAPTIONS, WEIGHTS
from mcdm_core.expert.expert import Expert
from mcdm_core.pictures import labelled_grid
from mcdm_core.pictures.grid import INK, MARGIN, PAPER, letters

from ..stacked import stacked
from .faces import caption_term, face_map, map_term
from .runs import Run, at_most, drawn_grid

STEPS = 25
CAPTION_WEIGHTS = tuple(range(9))
TILE = 208
LINE = 24  # letters of a caption in a line, so that it takes three, for which there is room
BANNER = 64  # its height in pixels
GRAY = (176, 176, 176)
SHOWN, PAUSE = 600, 1800  # milliseconds: a frame, and the first and the last one
QUALITY = 92  # at less, squares of earlier frames stay in flat areas


def weight_runs(experts: Mapping[str, Expert], weights: Sequence[float], steps: int, faces: int) -> list[list[Run]]:
    """The faces of each frame: example face i with the seed i, so that a face has the same noise in all frames.

    Args:
        experts: "hair", "skin" and "text".
        weights: The caption's weight in each frame.
        steps: DDIM steps.
        faces: How many, 1…4.
    """
    maps = [[map_term(experts[name], face, WEIGHTS[name]) for name in ("hair", "skin")] for face in range(faces)]
    return [
        [Run([*maps[face], caption_term(experts["text"], face, weight)], face, steps) for face in range(faces)]
        for weight in weights
    ]


def draw_weight(
    most_steps: int = 0, weights: Sequence[float] = CAPTION_WEIGHTS, faces: int = len(CAPTIONS)
) -> list[Image.Image]:
    """One frame for each weight of the caption, in this order.

    Args:
        most_steps: See `at_most`.
        weights: The caption's weight in each frame.
        faces: How many faces, 1…4.
    """
    experts = {name: load_expert(name) for name in WEIGHTS}
    titles = titles_of(CAPTIONS[:faces])
    maps = [face_map(face, name) for face in range(faces) for name in ("hair", "skin")]
    # Two maps are as wide as the face below them.
    asked = labelled_grid(["hair map", "skin map"] * faces, [maps], (TILE - MARGIN) // 2)
    frames = []
    for place, runs in enumerate(weight_runs(experts, weights, at_most(STEPS, most_steps), faces)):
        sampled = drawn_grid(f"caption's weight {weights[place]:g}", titles, [runs], TILE)
        frames.append(stacked([_banner(weights, place, asked.width), asked, sampled]))
    return frames


def animated(frames: Sequence[Image.Image]) -> bytes:
    """The frames as WebP, which begins again without end; the first and the last one stay longer.

    Args:
        frames: Two or more, of one size.
    """
    durations = [PAUSE, *[SHOWN] * (len(frames) - 2), PAUSE]
    content = io.BytesIO()
    first, *others = frames
    first.save(
        content, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, quality=QUALITY, method=6
    )
    return content.getvalue()


def titles_of(captions: Sequence[str]) -> list[str]:
    """Captions in short lines, broken between words alone."""
    return [textwrap.fill(caption, LINE, break_on_hyphens=False) for caption in captions]


def _banner(weights: Sequence[float], place: int, width: int) -> Image.Image:
    """All weights in a row, and that of this frame on a dark disc."""
    banner = Image.new("RGB", (width, BANNER), PAPER)
    draw = ImageDraw.Draw(banner)
    font, middle = letters(min(BANNER // 2, width // 27)), BANNER // 2  # the title takes two fifths of the width
    title = "weight of the caption"
    draw.text((MARGIN, middle), title, fill=INK, font=font, anchor="lm")
    left = 3 * MARGIN + font.getlength(title)
    step = (width - left) / len(weights)
    for number, weight in enumerate(weights):
        centre = left + step * (number + 0.5)
        if number == place:
            radius = (min(BANNER, step) - MARGIN) / 2
            draw.ellipse((centre - radius, middle - radius, centre + radius, middle + radius), fill=INK)
        draw.text((centre, middle), f"{weight:g}", fill=PAPER if number == place else GRAY, font=font, anchor="mm")
    return banner
