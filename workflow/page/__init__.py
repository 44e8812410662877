"""index.html: the whole experiment on one page."""
