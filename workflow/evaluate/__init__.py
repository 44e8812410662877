"""Scores and examples of one run."""
