"""IXI: brains with T1 and T2."""
