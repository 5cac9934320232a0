"""The published experts in the nodes, on small random files of their layouts."""
