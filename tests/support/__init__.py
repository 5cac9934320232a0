"""Shared by tests of core, studies and nodes: small networks, runs and references."""
