"""Papers: one folder of data each, found by existing (docs/adding_a_paper.md); contract.py says its form."""
