"""fastMRI: knees with PD and PD with fat suppression, as k-space."""
