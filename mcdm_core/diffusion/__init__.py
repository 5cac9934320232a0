"""What a diffusion process is: noise schedules, their respacing, and what networks predict."""
