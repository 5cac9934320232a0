"""Trains a VAE."""
