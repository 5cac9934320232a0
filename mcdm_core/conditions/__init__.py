"""Conditions: from maps, sketches and captions to what a network reads."""
