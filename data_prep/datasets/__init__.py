"""Raw scans to one aligned subject: a folder per dataset, found by existing; docs/adding_a_dataset.md."""
