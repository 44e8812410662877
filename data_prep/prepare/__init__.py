"""Aligned subjects to train, val and test."""
