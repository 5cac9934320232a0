"""The terms as one denoiser, in one latent space or in several, and the evaluation through all stages."""
