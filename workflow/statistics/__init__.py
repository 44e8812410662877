"""All scores in one table, the cells that tables print, and tests between methods."""
