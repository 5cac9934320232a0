"""Trains an expert, or a LoRA of one."""
