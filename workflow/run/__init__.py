"""One run: its specification, identity, model, checkpoint and device."""
