"""How far an image is from the truth: one entry per metric, on the CPU and on a GPU."""
