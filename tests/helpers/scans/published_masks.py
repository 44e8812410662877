"""The masks of the paper's tables, whatever other families there are."""

MASKS = {
    "ixi": (
        "1d_uniform_6x",
        "1d_uniform_9x",
        "1d_random_3x",
        "1d_random_6x",
        "2d_radial_6x",
        "2d_radial_9x",
        "2d_spiral_6x",
        "2d_spiral_9x",
    ),
    "fastmri": ("random_4x", "random_8x", "equispaced_4x", "equispaced_8x"),
}
