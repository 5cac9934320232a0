"""A product at one noise level: what is asked of whom, and what CFG hooks see of it."""
