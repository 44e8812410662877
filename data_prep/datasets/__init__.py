"""Raw scans to aligned subjects: the contract of datasets, and a folder for each."""
