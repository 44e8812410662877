"""Reconstruction methods, one folder each, discovered by their ``method.yaml``."""
