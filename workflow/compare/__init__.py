"""Two results folders against each other."""
