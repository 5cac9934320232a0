"""What users can choose beyond the paper, the methods that this switches on, and the stages of methods."""

from . import passes as passes
