"""Rules by which predictions are combined: Eq. 10 of the paper and composable diffusion, with their coefficients."""
