"""The experts of a product as the user wired them, and what nodes put around their MODELs."""
