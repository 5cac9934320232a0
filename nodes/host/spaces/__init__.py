"""Experts of several latent spaces: which they are, the samples of each, and the sampler that steps them as one."""
