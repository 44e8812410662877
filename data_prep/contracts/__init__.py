"""Finding entries by existing, and checks that report and go on."""
