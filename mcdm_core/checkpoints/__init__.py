"""Expert files: read safely, recognized, loaded and saved."""
