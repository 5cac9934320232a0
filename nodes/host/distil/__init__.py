"""A product as a LoRA: its teacher and its student, as the core's loop asks them."""
