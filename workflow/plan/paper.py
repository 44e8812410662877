"""What the paper's tables and figures show, and what it printed."""

import csv
from pathlib import Path

PAPER_CHOICE = (0.4, 0.6)  # alpha, beta of the paper

# Table I compares all methods on IXI, II on fastMRI; III and IV are ablations of MANet on IXI.
# Rows (method, label) as the paper prints them; None: every compared method with its own label.
# Table IV's mask is inferred: its CS row equals Table I's MANet at 1D uniform 6x.
ABLATION_ROWS = (("manet-no_kspace", "w/o k-space"), ("manet-no_attention", "w/o T1-GA"), ("manet", "MANet"))
ATTENTION_ROWS = (("manet-sc", "SC"), ("manet", "CS"), ("manet-sc_cs", "SC-CS"))
# Masks: None stands for all of the dataset.
TABLES: dict[int, tuple[str, str, tuple[str, ...] | None, tuple[tuple[str, str], ...] | None]] = {
    1: ("I", "ixi", None, None),
    2: ("II", "fastmri", None, None),
    3: ("III", "ixi", None, ABLATION_ROWS),
    4: ("IV", "ixi", ("1d_uniform_6x",), ATTENTION_ROWS),
}
FIGURES: dict[int, tuple[str, tuple[str, ...], tuple[tuple[str, str], ...] | None]] = {
    1: ("ixi", ("1d_random_3x",), (("zf", "ZF"),)),
    5: ("ixi", ("1d_uniform_6x", "1d_random_3x"), None),
    6: ("ixi", ("2d_radial_9x", "2d_spiral_9x"), None),
    7: ("fastmri", ("equispaced_4x",), None),
    8: ("ixi", ("1d_uniform_6x", "1d_random_3x", "2d_radial_6x", "2d_spiral_6x"), ABLATION_ROWS),
    9: ("fastmri", ("equispaced_4x",), ()),
}

SWEEP_FIGURE, SWEEP_METHOD, SWEEP_NAME = 9, "manet", "alpha_beta"

RESOURCES = Path(__file__).parents[1] / "resources"
PUBLISHED = RESOURCES / "published_tables.csv"
# The paper's row names -> run ids; the CS row of Table IV is MANet itself.
PUBLISHED_METHODS = {
    "ZF": "zf",
    "UNet-T2": "unet",
    "UNet-PDFS": "unet",
    "Xiang et al.": "xiang",
    "DuDoRNet": "dudornet",
    "MANet": "manet",
    "w/o k-space": "manet-no_kspace",
    "w/o T1-GA": "manet-no_attention",
    "SC": "manet-sc",
    "CS": "manet",
    "SC-CS": "manet-sc_cs",
}
SUBJECTS = {
    "I": "Comparison of methods",
    "II": "Comparison of methods",
    "III": "Ablation of MANet",
    "IV": "Order of channel (C) and spatial (S) attention in MANet",
}

IN_PAPER = ("ssim", "psnr")


def published_values(numeral: str) -> dict[tuple[str, str], dict[str, str]]:
    """Return (mask, method id) -> the paper's printed values, as text so that digits stay as printed."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == numeral]
    return {
        (f"{row['mask']}_{row['acceleration']}x", PUBLISHED_METHODS[row["method"]]): {
            key: row[key] for key in ("ssim_mean", "ssim_std", "psnr_mean", "psnr_std")
        }
        for row in rows
    }
