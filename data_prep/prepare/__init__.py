"""Aligned subjects to train, val and test, split by person."""
