"""Commands of `python -m mcdm_core`."""
