"""One factor of the product: an expert, its numbers, and when it acts."""
