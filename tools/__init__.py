"""Developer commands on the standard library alone; each builds the virtual environment it needs."""
