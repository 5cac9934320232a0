"""Shared by the node tests. Most of it imports ComfyUI: import it after the `pack` fixture has made it importable."""
