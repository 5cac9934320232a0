"""Training data from the user's own folder."""
