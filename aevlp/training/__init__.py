"""Training: the loop, its schedules, checkpoints and signals."""
