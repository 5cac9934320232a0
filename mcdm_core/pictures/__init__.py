"""Picture files to tensors and back, grids and plots."""
