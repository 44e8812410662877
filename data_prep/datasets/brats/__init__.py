"""BraTS: brains, T2 guided by T1, on one grid and skull-stripped."""
