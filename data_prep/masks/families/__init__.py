"""One file per family of masks, found by existing; docs/adding_a_mask.md."""
