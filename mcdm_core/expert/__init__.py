"""What is combined: a network that predicts x0, and the condition it is asked under."""
