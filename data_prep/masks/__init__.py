"""Sampling masks: families, and the frozen sets of an experiment."""
