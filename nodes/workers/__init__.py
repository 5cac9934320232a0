"""Experts on workers, which are other machines' ComfyUIs: what is told, to whom, and what becomes of answers."""
