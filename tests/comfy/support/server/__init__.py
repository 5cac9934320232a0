"""ComfyUI servers and workers in processes of their own, and what a page sends to them."""
