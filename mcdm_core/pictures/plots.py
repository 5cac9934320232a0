"""Line plots drawn with Pillow: panels above one another over common steps."""

import colorsys
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from .grid import INK, PAPER, letters

Position = tuple[float, float]
Color = tuple[int, int, int]

WIDTH, PLOT_HEIGHT = 960, 240
LEFT, RIGHT, ABOVE, BELOW = 70, 250, 48, 36
LINE_HEIGHT, FONT_SIZE = 22, 16
DASH = 8
SMOOTHING = 2  # Pillow's lines have hard edges: draw larger, then reduce
GRID: Color = (224, 224, 224)
# Okabe & Ito's colours, which colour-blind people can tell apart too, without yellow and black.
COLORS: tuple[Color, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)


@dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
        title: Text above the plot.
        lines: Label → one value per step for each line; NaN leaves a gap.
        limits: Lowest and highest value of the axis; None is from 0 to the highest value of the lines.
        placeholder: Text in the middle if no line has a value.
        shared: For lines about several others: the labels of these, in whose colours the line is dashed.
    """

    title: str
    lines: Mapping[str, Sequence[float]]
    limits: tuple[float, float] | None = None
    placeholder: str = ""
    shared: Mapping[str, Sequence[str]] = field(default_factory=dict)


def plot_lines(panels: Sequence[Panel], steps: Sequence[int], axis_title: str = "step") -> Image.Image:
    """Draw panels below one another. A colour is that of one label in all of them.

    Args:
        panels: What to draw; each line has a value for every step.
        steps: Ascending numbers of the steps, at least one.
        axis_title: Title of the axis of steps.
    """
    heights = [ABOVE + max(PLOT_HEIGHT, LINE_HEIGHT * len(panel.lines)) + BELOW for panel in panels]
    image = Image.new("RGB", (SMOOTHING * WIDTH, SMOOTHING * sum(heights)), PAPER)
    colors = _colors_of(panels)
    top = 0
    for panel, height in zip(panels, heights, strict=True):
        _PanelDrawing(ImageDraw.Draw(image), panel, colors, steps, top, height).draw(axis_title)
        top += height
    return image.resize((WIDTH, sum(heights)), Image.Resampling.LANCZOS)


def tick_values(low: float, high: float, at_most: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`, `at_most` + 1 of them or fewer."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / at_most))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * at_most >= span * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def line_colors(count: int) -> list[Color]:
    """Distinct colours: `COLORS` for up to six lines, evenly spaced hues for more."""
    if count <= len(COLORS):
        return list(COLORS[:count])
    hues = [colorsys.hls_to_rgb(index / count, 0.42, 0.7) for index in range(count)]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in hues]


def _colors_of(panels: Sequence[Panel]) -> dict[str, list[Color]]:
    """The colours of each line, by its label: one of its own, or those of the lines that it is about."""
    shared = {label: others for panel in panels for label, others in panel.shared.items()}
    own = [*dict.fromkeys(label for panel in panels for label in panel.lines if label not in shared)]
    colors = dict(zip(own, line_colors(len(own)), strict=True))
    return {label: [colors[other] for other in shared.get(label, [label])] for label in (*own, *shared)}


class _PanelDrawing:
    """One panel at its place in the picture; coordinates are in pixels of the finished picture."""

    def __init__(
        self,
        draw: ImageDraw.ImageDraw,
        panel: Panel,
        colors: Mapping[str, Sequence[Color]],
        steps: Sequence[int],
        top: int,
        height: int,
    ):
        self._draw = draw
        self._colors = colors
        self._font = letters(SMOOTHING * FONT_SIZE)
        self._panel = panel
        self._steps = steps
        self._left, self._right = LEFT, WIDTH - RIGHT
        self._top, self._bottom = top + ABOVE, top + height - BELOW
        self._values = [value for line in panel.lines.values() for value in line if math.isfinite(value)]
        self._low, self._high = panel.limits or (0.0, max(self._values, default=0.0) or 1.0)

    def draw(self, axis_title: str) -> None:
        """Draw everything."""
        self._text((self._left, self._top - ABOVE / 2), self._panel.title, "lm")
        self._draw_axes(axis_title)
        if not self._values:
            between_grid_lines = self._bottom - 0.375 * (self._bottom - self._top)
            self._text(((self._left + self._right) / 2, between_grid_lines), self._panel.placeholder, "mm")
        for row, (label, values) in enumerate(self._panel.lines.items()):
            colors = self._colors[label]
            self._draw_line(values, colors)
            y = self._top + LINE_HEIGHT * (row + 0.5)
            self._dashed((self._right + 16, y), (self._right + 36, y), colors, 3)
            self._text((self._right + 44, y), self._shortened(label, WIDTH - self._right - 48), "lm")

    def _draw_axes(self, axis_title: str) -> None:
        for value in tick_values(self._low, self._high, 4):
            y = self._y(value)
            self._stroke([(self._left, y), (self._right, y)], GRID, 1)
            self._text((self._left - 8, y), f"{value:.6g}", "rm")
        numbers = tick_values(self._steps[0], self._steps[-1], 10)
        for step in {self._steps[0], *(round(number) for number in numbers if float(number).is_integer())}:
            if step == self._steps[0] or self._x(step) - self._x(self._steps[0]) >= 2 * FONT_SIZE:
                self._text((self._x(step), self._bottom + 8), str(step), "ma")
        self._text((self._right + 16, self._bottom + 8), axis_title, "la")
        self._stroke([(self._left, self._top), (self._left, self._bottom), (self._right, self._bottom)], INK, 1)

    def _draw_line(self, values: Sequence[float], colors: Sequence[Color]) -> None:
        before: Position | None = None
        drawn = 0.0
        for step, value in zip(self._steps, values, strict=True):
            point = (self._x(step), self._y(value)) if math.isfinite(value) else None
            if before is not None and point is not None:
                self._dashed(before, point, colors, 2, drawn)
                drawn += math.dist(before, point)
            if point is not None:
                self._dot(point, colors)
            before = point

    def _dashed(self, start: Position, end: Position, colors: Sequence[Color], width: int, drawn: float = 0.0) -> None:
        """A straight line in dashes of the colours in turn; of one colour, a whole line.

        Args:
            start: Its first point.
            end: Its last point.
            colors: The colours.
            width: Its width.
            drawn: Length of the line before it, which the dashes go on from.
        """
        length = math.dist(start, end)
        edges = [0.0, length]
        if len(colors) > 1:
            first, last = math.floor(drawn / DASH) + 1, math.ceil((drawn + length) / DASH)
            edges[1:1] = [DASH * number - drawn for number in range(first, last)]
        for begin, stop in itertools.pairwise(edges):
            color = colors[int((drawn + (begin + stop) / 2) / DASH) % len(colors)]
            ends = [self._between(start, end, at / length if length else 0.0) for at in (begin, stop)]
            self._stroke(ends, color, width)

    @staticmethod
    def _between(start: Position, end: Position, share: float) -> Position:
        return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])

    def _shortened(self, label: str, width: float) -> str:
        shortened = label
        while self._font.getlength(shortened) > SMOOTHING * width:
            label = label[:-1]
            shortened = label + "…"
        return shortened

    def _x(self, step: int) -> float:
        span = self._steps[-1] - self._steps[0]
        share = (step - self._steps[0]) / span if span else 0.5
        return self._left + 12 + share * (self._right - self._left - 24)

    def _y(self, value: float) -> float:
        return self._bottom - (value - self._low) / (self._high - self._low) * (self._bottom - self._top)

    def _stroke(self, points: Sequence[Position], color: Color, width: int) -> None:
        self._draw.line([(SMOOTHING * x, SMOOTHING * y) for x, y in points], fill=color, width=SMOOTHING * width)

    def _dot(self, point: Position, colors: Sequence[Color]) -> None:
        x, y, radius = SMOOTHING * point[0], SMOOTHING * point[1], 3 * SMOOTHING
        box = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse(box, fill=colors[0])
        for sector, color in enumerate(colors[1:], start=1):
            self._draw.pieslice(box, 360 * sector / len(colors), 360 * (sector + 1) / len(colors), fill=color)

    def _text(self, point: Position, text: str, anchor: str) -> None:
        scaled = (SMOOTHING * point[0], SMOOTHING * point[1])
        self._draw.text(scaled, text, fill=INK, font=self._font, anchor=anchor)
