"""Prepared slices to measurements, on the device of the training."""
