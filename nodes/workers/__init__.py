"""Experts on workers, which are ComfyUIs on other machines: both sides of the protocol, and its transport by Ray."""
