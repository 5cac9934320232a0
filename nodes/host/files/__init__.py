"""Experts and conditions of this pack as ComfyUI's MODEL, VAE and CONDITIONING."""
