"""Reconstruction methods, one folder each, found by their ``method.yaml``; docs/adding_a_method.md."""
