"""The product as one model: a LoRA that learns what the experts answer together."""
