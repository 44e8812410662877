"""How far an image is from the truth: the contract of metrics, on the CPU and on a GPU."""
