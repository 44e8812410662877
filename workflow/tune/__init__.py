"""Equal tuning: the same settings and budget for every trained method, on validation data."""
