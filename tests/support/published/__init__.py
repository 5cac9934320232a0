"""The published networks, runs and sampling, written anew as references, and the weights that these have."""
