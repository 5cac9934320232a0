"""Recognition of diffusion files that carry no description."""

from .layout import Shapes, shapes_of
from .overrides import Overrides
from .recognize import difference, recognize

__all__ = ["Overrides", "Shapes", "difference", "recognize", "shapes_of"]
