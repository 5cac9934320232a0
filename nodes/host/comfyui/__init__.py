"""What ComfyUI's versions, devices, latents and callbacks are to the rest of the host."""
