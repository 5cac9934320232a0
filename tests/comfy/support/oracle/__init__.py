"""Eq. 10 by brute force in real ComfyUI, as the reference for the product.

All but `combinations` import ComfyUI: import them after the `pack` fixture has made it importable.
"""
