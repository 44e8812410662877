"""BraTS: brains with T1 and T2 on one grid, skull stripped."""
