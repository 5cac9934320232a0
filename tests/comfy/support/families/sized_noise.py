"""A flow that scales noise by the size of the picture, only in `noise_scaling`, like newer cores' SenseNova U1.5."""

import comfy.model_sampling


class SizedFlow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    """(1 − σ)·x0 + k·σ·n with k = √(H·W)/4; the attribute `noise_scale` stays 1."""

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        sigma = comfy.model_sampling.reshape_sigma(sigma, noise.ndim)
        scale = (latent_image.shape[-2] * latent_image.shape[-1]) ** 0.5 / 4
        return sigma * (scale * noise) + (1.0 - sigma) * latent_image
