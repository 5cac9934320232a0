"""The product of experts: Eq. 10 of the paper, and what it takes to evaluate it."""
