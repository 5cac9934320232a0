"""Training on drawn pictures."""
