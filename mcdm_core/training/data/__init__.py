"""What is trained on: batches of pictures with conditions, latents of pictures, and the interface of kinds of data."""
