"""Families of sampling masks to the frozen mask sets of an experiment."""
