"""Rigid registration in space and in the slice plane, and its score."""
