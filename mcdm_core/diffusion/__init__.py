"""The diffusion process: noise schedules, their respacing, and prediction types."""
