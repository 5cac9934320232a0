"""Shared by the node tests. Most of it imports ComfyUI, which `tests/comfy/conftest.py` makes importable."""
