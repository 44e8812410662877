"""What a configuration asks for, as plain data: runs, tables, figures, probes, the page."""
