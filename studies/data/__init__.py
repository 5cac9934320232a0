"""Drawn training data with exact conditions. Needs `requirements-train.txt`."""
