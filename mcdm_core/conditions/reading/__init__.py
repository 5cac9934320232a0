"""Pictures, maps and sketches as people give them, to tensors."""
