"""An expert, and the condition that a pass of it is told."""

from .condition import Condition
from .expert import Expert

__all__ = ["Condition", "Expert"]
