"""Finding entries by existing, and checks that report each promise and go on."""
