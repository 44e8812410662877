"""The paper's figures, training curves, and what all figures share."""
