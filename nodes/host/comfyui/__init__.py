"""ComfyUI's versions, devices, latents and callbacks, behind functions for the rest of the host."""
