"""Writes an evaluation's results: figures and raw values as CSV, a table, a plot, and pictures side by side."""

import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Plot
from PIL import Image

from mcdm_core.pictures import labelled_grid
from mcdm_core.pictures.files import encoded
from mcdm_core.system.writer import make_folder

from ..files import csv_bytes, write_files
from .comparison import differences_table
from .config import NOTHING, EvaluationConfig
from .held_out import SIZE, HeldOut, Tile
from .row import DECODED, Row, of_fewer
from .rows import PER_PICTURE

log = logging.getLogger(__name__)

PLOTTED = 4  # measures of a plot by default
DPI = 110
TILE = 128  # smallest side of a picture in the grid, in pixels


class Report:
    """Writes an evaluation.

    Args:
        config: The evaluation.
        held_out: Its pictures.
        rows: Rows of the table: of the pictures themselves, then of each setting.
    """

    def __init__(self, config: EvaluationConfig, held_out: HeldOut, rows: Sequence[Row]):
        self.config, self.held_out, self.rows = config, held_out, rows
        self.measures = list(dict.fromkeys(name for row in rows for name in row.figures))
        across = [config.across] if config.across else []
        if unknown := [name for name in (*config.tabled, *config.plotted, *across) if name not in self.measures]:
            log.warning("There is no figure %s to show; there are %s.", unknown, ", ".join(self.measures))

    def write(self, out: Path) -> Path:
        """Write everything into a folder; returns the table's file."""
        files = {
            "figures.csv": csv_bytes(self._figures()),
            "pictures.csv": csv_bytes(self._values()),
            "table.md": self.table().encode(),
        }
        if self.config.against:
            named = self.config.tabled or self.measures
            files["differences.md"] = differences_table(
                self.config.title, self.rows, self.config.against, named
            ).encode()
        if self.measures:  # none where only a Fréchet distance is configured and the set is too small for it
            plot = io.BytesIO()
            self._plot().savefig(plot, format="png", dpi=DPI)
            files["plot.png"] = plot.getvalue()
        if self.config.shown:
            files["samples.png"] = encoded(self._pictures())
        make_folder(out)
        write_files({out / name: content for name, content in files.items()})
        return out / "table.md"

    def table(self) -> str:
        """The figures as Markdown, a row per setting."""
        tabled = [name for name in self.config.tabled if name in self.measures] or self.measures
        lines = [f"## {self.config.title}", "", self._circumstances(), ""]
        lines.append(f"| | n | {' | '.join(tabled)} |")
        lines.append("|---" * (len(tabled) + 2) + "|")
        for row in self.rows:
            count = len(row.images)
            found = [row.figures.get(name) for name in tabled]
            cells = [f"{figure}{of_fewer(figure, count)}" if figure else "" for figure in found]
            label = row.label.replace("|", r"\|")
            lines.append(f"| {label} | {count} | {' | '.join(cells)} |")
        return "\n".join([*lines, *(["", self.config.note] if self.config.note else [])]) + "\n"

    def _circumstances(self) -> str:
        data = self.config.data
        what = "pictures of a folder"
        if data.kind != "folder":
            what = f"{data.kind} of the seeds {data.seed} to {data.seed + data.count - 1}"
            what += f", leading {data.leading}" if data.leading else ""
            what += f", asked {[*map(list, data.asked)]}" if data.asked else ""
            what += f", spread {data.spread:g}" if data.spread != 1 else ""
            what += f", of {data.image_size} pixels" if data.image_size != SIZE else ""
        rows = self.config.rows
        steps, etas = sorted({row.steps for row in rows}), sorted({row.eta for row in rows})
        precisions = {row.autocast: None for row in rows if row.rule != "gan"}
        numbers = " and ".join("bfloat16" if autocast else "float32" for autocast in precisions)
        over = (
            f" Distances are over {self.held_out.network}." if any("distance" in name for name in self.measures) else ""
        )
        batches = ", of rows over batches" if PER_PICTURE in self.measures else ""
        return (
            f"{len(self.held_out)} {what}; DDIM, {_listed(steps)} steps, η = {_listed(etas)}, {numbers}; picture i "
            f"starts from the noise of seed i.{over} In brackets 95 % bootstrap intervals over pictures{batches}."
        )

    def _figures(self) -> Iterable[Sequence[object]]:
        yield "setting", "varied", "value", "n", "measure", "figure", "low", "high"
        for row in self.rows:
            varied, value = (row.setting.vary, row.setting.value) if row.setting else ("", None)
            for name, figure in row.figures.items():
                bounds = [f"{number:.5g}" for number in (figure.value, figure.low, figure.high)]
                yield row.label, varied, "" if value is None else f"{value:g}", figure.count, name, *bounds

    def _values(self) -> Iterable[Sequence[object]]:
        names = list(dict.fromkeys(name for row in self.rows for name in row.values))
        yield "setting", "picture", *names
        for row in self.rows:
            for i in range(len(row.images)):
                yield row.label, i, *(f"{row.values[name][i]:.4g}" if name in row.values else "" for name in names)

    def _plot(self) -> Plot:
        # Small sets have no Fréchet distance.
        plotted = [name for name in self.config.plotted if name in self.measures]
        measures = plotted or self.measures[:PLOTTED]
        varied = any(row.setting and row.setting.vary for row in self.rows)
        lined = varied or self.config.across in self.measures
        plot = Plot(figsize=(4.2 * len(measures), 3.6 if lined else 1.2 + 0.32 * len(self.rows)), layout="constrained")
        plot.suptitle(self.config.title)
        panels = plot.subplots(1, len(measures), squeeze=False, sharey=not lined)[0]
        for axes, measure in zip(panels, measures, strict=True):
            axes.set_title(measure, fontsize=10)
            if self.config.across in self.measures:
                self._draw_points(axes, measure)
            else:
                (self._draw_lines if varied else self._draw_rows)(axes, measure)
        if self.config.across in self.measures:
            plot.legend(
                *panels[0].get_legend_handles_labels(), loc="outside lower center", fontsize=7, ncols=len(measures)
            )
        return plot

    def _draw_points(self, axes: Axes, measure: str) -> None:
        """A point for each setting over the measure `across`; a horizontal line for the VAE's reconstructions."""
        for i, row in enumerate(self.rows):  # a row has one colour in all panels
            if measure in row.figures and self.config.across in row.figures:
                over = row.figures[self.config.across].value
                axes.errorbar([over], *_bars([row], measure), fmt="o", capsize=3, label=row.label, color=f"C{i % 10}")
            elif measure in row.figures and row.label == DECODED:
                axes.axhline(row.figures[measure].value, linestyle=":", color="gray", label=row.label)
        axes.set_xlabel(self.config.across)

    def _draw_lines(self, axes: Axes, measure: str) -> None:
        """A line for each varied setting; horizontal lines for the others."""
        lines: dict[str, list[Row]] = {}
        for row in self.rows:
            if measure in row.figures:
                lines.setdefault(row.setting.name if row.setting else row.label, []).append(row)
        for name, rows in lines.items():
            if rows[0].setting is None or not rows[0].setting.vary:
                axes.axhline(rows[0].figures[measure].value, linestyle=":", color="gray", label=name)
                continue
            values = [row.setting.value or 0.0 for row in rows if row.setting]
            axes.errorbar(values, *_bars(rows, measure), marker="o", capsize=3, label=name)
            axes.set_xlabel(rows[0].setting.vary)
        axes.legend(fontsize=7)

    def _draw_rows(self, axes: Axes, measure: str) -> None:
        """A point for each setting, from top to bottom."""
        rows = {-i: row for i, row in enumerate(self.rows) if measure in row.figures}
        values, errors = _bars(list(rows.values()), measure)
        axes.errorbar(values, list(rows), xerr=errors, fmt="o", capsize=3)
        axes.set_yticks([-i for i in range(len(self.rows))], [row.label for row in self.rows], fontsize=8)

    def _pictures(self) -> Image.Image:
        """The requested conditions, then the samples of each setting, a row per picture."""
        terms = [term for setting in self.config.settings for term in setting.terms]
        asked = list(dict.fromkeys((name, term.shift) for term in terms for name in term.condition if name != NOTHING))
        rows = [row for row in self.rows if row.setting]
        count = min(self.config.shown, *(len(row.images) for row in rows))
        columns = [f"{name} of\nanother picture" if shift else name for name, shift in asked]
        columns += [_title(row.label) for row in rows]
        lines: list[list[Tile]] = []
        for i in range(count):
            tiles = [self.held_out.tile(name, self.held_out.sources(shift, [i])[0]) for name, shift in asked]
            lines.append([*tiles, *(Image.fromarray(row.images[i]) for row in rows)])
        return labelled_grid(columns, lines, tile=max(TILE, max(row.images.shape[1] for row in rows)))


def _bars(rows: Sequence[Row], measure: str) -> tuple[list[float], list[list[float]]]:
    figures = [row.figures[measure] for row in rows]
    below, above = [f.value - f.low for f in figures], [f.high - f.value for f in figures]
    return [f.value for f in figures], [[max(0.0, b) for b in below], [max(0.0, a) for a in above]]


def _title(label: str, width: int = 22) -> str:
    """A label broken into lines of about `width` letters, but never within an equation."""
    lines = [""]
    for word in label.replace(" = ", "=").split():
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines).replace("=", " = ")


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
