"""A product's run: the guider, what is refused before it, and what lives as long as it does."""
