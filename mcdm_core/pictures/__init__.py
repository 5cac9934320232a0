"""Reading and writing picture files, grids and plots."""

from .files import as_bytes, example_picture, load_picture, map_to_picture, to_picture
from .grid import labelled_grid
from .plots import Panel, plot_lines

__all__ = [
    "Panel",
    "as_bytes",
    "example_picture",
    "labelled_grid",
    "load_picture",
    "map_to_picture",
    "plot_lines",
    "to_picture",
]
