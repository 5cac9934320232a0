"""How long a product takes beside the network passes it needs, in a real ComfyUI; run `python -m benchmarks`."""
