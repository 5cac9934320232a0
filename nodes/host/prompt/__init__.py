"""What is refused when a prompt is queued."""
