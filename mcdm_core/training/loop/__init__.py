"""The training loop: steps and their average, states, logs, and the folder of a run."""
