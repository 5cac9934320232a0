"""Training of experts. Needs `requirements-train.txt`."""
