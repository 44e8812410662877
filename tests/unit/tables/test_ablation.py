"""Where variants of a method beat it, that is said, with counts and with the reason if it is known."""

import json

import pandas as pd
import pytest
from made_up_results import (
    ABLATION,
    definition,
    metric_rows,
    read_definition,
    write_records,
    write_statistics,
)

from data_prep.io.json_files import read_json
from workflow.plan.definitions import PHASED
from workflow.tables.__main__ import write_table
from workflow.tables.ablation import beaten

MASKS = ("1d_uniform_6x", "2d_radial_9x")


def table(scores, status="ok"):
    """A tidy table of (mask, method) -> SSIM and PSNR; NMSE says the contrary, and the paper prints none."""
    return pd.DataFrame.from_records(
        [
            {
                **{"mask": mask, "method": method, "label": ABLATION.get(method, method), "status": status},
                **{"ssim_mean": ssim, "ssim_paper_mean": "", "psnr_mean": psnr, "psnr_paper_mean": ""},
                "nmse_mean": psnr,
            }
            for (mask, method), (ssim, psnr) in scores.items()
        ]
    )


WEAK = {
    ("1d_uniform_6x", "manet-no_kspace"): (0.9, 29.0),
    ("2d_radial_9x", "manet-no_kspace"): (0.9, 29.0),
    ("1d_uniform_6x", "manet-no_attention"): (0.7, 26.5),
    ("2d_radial_9x", "manet-no_attention"): (0.7, 20.0),
    ("1d_uniform_6x", "manet"): (0.8, 26.0),
    ("2d_radial_9x", "manet"): (0.8, 26.0),
}


def test_each_variant_is_counted_and_the_reason_given():
    said, reason = beaten(table(WEAK), {(mask, "manet") for mask in MASKS})
    assert said == (
        "MANet is beaten by its own variants: w/o k-space in 4 of 4, w/o T1-GA in 1 of 4 comparisons "
        "(SSIM and PSNR under each mask)."
    )
    assert reason == (
        "A reason is known: by the test of convergence, MANet was not trained to its end under any of these "
        "masks."
    )
    _, reason = beaten(table(WEAK), {("2d_radial_9x", "manet"), ("1d_uniform_6x", "manet-no_kspace")})
    assert reason.endswith("MANet was not trained to its end under 2D-Radial-9×.")


def test_a_method_is_called_by_its_name_where_a_table_calls_it_by_a_part():
    of_losses = table(WEAK).replace({"label": {"MANet": "CS"}})
    said, reason = beaten(of_losses, {(mask, "manet") for mask in MASKS})
    assert said.startswith("MANet (CS) is beaten by its own variants: w/o k-space in 4 of 4")
    assert "MANet (CS) was not trained to its end" in reason


def test_a_reason_that_is_not_known_is_not_given():
    assert len(beaten(table(WEAK), {("1d_uniform_6x", "manet-no_kspace")})) == 1


def test_a_method_that_no_variant_beats_is_not_spoken_of():
    strong = {key: (0.1, 1.0) if "-" in key[1] else value for key, value in WEAK.items()}
    assert beaten(table(strong), set()) == ()
    assert beaten(table(strong, "diverged"), set()) == ()


def test_only_a_methods_own_variants_are_compared_with_it():
    others = {(mask, method.replace("manet-", "unet-")): value for (mask, method), value in WEAK.items()}
    assert beaten(table(others), set()) == ()
    # With a phase, a method is no variant of the one without.
    phased = {(mask, f"{method}{PHASED}"): value for (mask, method), value in WEAK.items()}
    assert "in 4 of 4" in beaten(table(phased), set())[0]
    alone = {key: value for key, value in WEAK.items() if key[1] == "manet"}
    both = alone | {(mask, f"{method}{PHASED}"): (1.0, 99.0) for mask, method in alone}
    assert beaten(table(both), set()) == ()


@pytest.mark.parametrize("phased", ["", PHASED])
def test_a_variant_that_is_compared_as_a_method_beats_as_any_other_does(phased):
    rows = {(mask, f"cs{phased}"): (0.1, 1.0) for mask in MASKS}
    rows |= {(mask, f"cs-wavelet{phased}"): (0.9, 30.0) for mask in MASKS}
    assert beaten(table(rows), set()) == ()


@pytest.mark.parametrize("form", ["md", "tex", "html"])
def test_the_printed_table_says_so_first(tmp_path, form):
    wanted = read_definition(definition(3, "ixi", MASKS, ABLATION, numeral="III"))
    metrics = metric_rows("ixi", MASKS, list(ABLATION), volumes=3, slices=1)
    better = metrics["method"] == "manet-no_kspace"
    metrics.loc[better, ["ssim", "psnr", "nmse"]] = (0.99, 60.0, 0.001)
    metrics.to_parquet(tmp_path / "metrics.parquet")
    write_records(tmp_path, wanted)
    for mask in MASKS:
        path = tmp_path / "runs" / "ixi" / mask / "manet" / "seed0" / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"converged": False}))
    write_statistics(tmp_path, wanted, metrics)
    write_table(wanted, tmp_path, "0" * 64, tmp_path / "tables")
    words = (tmp_path / "tables" / f"table_3.{form}").read_text(encoding="utf-8")
    said = "MANet is beaten by its own variants: w/o k-space in 4 of 4"
    assert said in words
    assert words.index(said) < words.index("embedded semi-synthetic scans")
    found = read_json(tmp_path / "tables" / "table_3.json", "none", "none")["findings"]
    assert found[0].startswith(said)
    assert "not trained to its end" in found[1]
