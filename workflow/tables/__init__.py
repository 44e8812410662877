"""The paper's tables, and others of their shape."""
