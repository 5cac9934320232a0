"""Reads pictures, maps and sketches of users as tensors."""
