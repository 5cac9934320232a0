"""Eq. 10 by brute force in real ComfyUI, as the reference for the product."""
