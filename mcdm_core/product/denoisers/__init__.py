"""The terms as one denoiser, in one latent space or in several."""
