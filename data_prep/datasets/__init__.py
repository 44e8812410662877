"""One file per further dataset, found by existing; docs/adding_a_dataset.md."""
