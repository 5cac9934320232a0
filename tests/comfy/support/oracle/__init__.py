"""Eq. 10 by brute force in real ComfyUI, to hold the product against.

All but `combinations` import ComfyUI: import them after the `pack` fixture has made it importable.
"""
