"""Prompts of two experts, "hair" and "ground", and their student, in configurations of a distillation."""

PROMPTS = """
[[prompts]]
student = { text = "red hair on a blue background" }
hair = { text = "red hair" }
ground = { text = "a blue background" }
[[prompts]]
student = { text = "blond hair on a green background" }
hair = { text = "blond hair" }
ground = { text = "a green background" }
unseen = true
"""
