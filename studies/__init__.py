"""Research with mcdm_core: drawn data, baselines, metrics, evaluation, and their results."""
