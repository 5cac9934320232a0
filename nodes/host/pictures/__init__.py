"""Runs whose pictures are shown side by side: recordings, sweeps, choices."""
