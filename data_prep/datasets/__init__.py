"""Raw scans to one aligned subject: one folder per dataset, found by existing (docs/adding_a_dataset.md)."""
