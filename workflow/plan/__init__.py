"""What a configuration asks for, as plain data."""
