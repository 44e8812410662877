"""Raw scans to prepared slices and measurements: datasets, registration, splits, masks, noise, Fourier."""
