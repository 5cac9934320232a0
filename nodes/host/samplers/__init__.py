"""The core's samplers as ComfyUI's."""
