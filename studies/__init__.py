"""Research with mcdm_core: drawn data, baselines, metrics, evaluation, and what they found."""
