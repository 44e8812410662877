"""IXI: brains, T2 guided by T1, to be registered, with simulated noise."""
