"""Files that may be damaged: whole, or refused by name."""
