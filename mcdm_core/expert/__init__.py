"""An expert, and the condition of one of its passes."""

from .condition import Condition
from .expert import Expert

__all__ = ["Condition", "Expert"]
