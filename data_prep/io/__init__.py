"""Files that may be damaged: read and written whole, or refused by name."""
