"""Experts of several latent spaces: which they are, a run's state in each, and the sampler that steps them as one."""
