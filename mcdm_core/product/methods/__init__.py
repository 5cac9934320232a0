"""The methods beyond the paper, the stages by which they take part in a product, and their registry."""

from . import passes as passes
