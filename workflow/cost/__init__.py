"""What methods cost: estimated, measured and counted."""
