"""fastMRI: knees, PD with fat suppression guided by PD, as measured k-space."""
