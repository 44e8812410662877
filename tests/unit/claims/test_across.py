"""Several papers in one experiment: a page for each, and where they print different values of one cell."""

import pandas as pd
import pytest
from made_up_results import (
    LABELS,
    definition,
    metric_rows,
    read_definition,
    sha256,
    write_mask_json,
    write_records,
    write_statistics,
)

from workflow.claims.__main__ import write_claims
from workflow.claims.across import across_papers
from workflow.page.grids import across_grid
from workflow.papers.contract import read_paper
from workflow.tables.__main__ import write_table

RAMZI = read_paper("ramzi")
MASKS = ("random_4x", "equispaced_4x")
PAPERS = ("manet", "ramzi")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Table II and the table of another paper, of the same runs."""
    root = tmp_path_factory.mktemp("results")
    rows = RAMZI.tables[1].rows
    other = {"numeral": RAMZI.numeral(RAMZI.tables[1]), "paper": "ramzi"}
    shown = [
        read_definition(definition(2, "fastmri", MASKS, LABELS["fastmri"], numeral="II")),
        read_definition(definition("ramzi_1", "fastmri", MASKS[:1], rows, **other)),
    ]
    metrics = metric_rows("fastmri", MASKS, list({**LABELS["fastmri"], **rows}), volumes=6, slices=0)
    metrics.to_parquet(root / "metrics.parquet")
    for wanted in shown:
        write_mask_json(root, "fastmri", wanted.masks)
        write_records(root, wanted)
        write_statistics(root, wanted, metrics)
        write_table(wanted, root, sha256("configuration"), root / "tables")
    write_claims(shown, root, root / "claims", papers=PAPERS)
    return root


def test_each_paper_has_a_page_of_its_own_and_the_first_is_as_if_alone(results, tmp_path):
    both = {path.relative_to(results / "claims").as_posix() for path in (results / "claims").rglob("*.*")}
    own = {"cells.csv", "claims.csv", "claims.html", "claims.md"}
    assert both == own | {f"ramzi/{name}" for name in own} | {"papers.csv", "papers.md"}
    text = (results / "claims" / "ramzi" / "claims.md").read_text(encoding="utf-8")
    assert "Ramzi et al. 2020 against ours" in text
    assert "Table fastMRI-PDFS" in text
    shown = [
        read_definition(definition(2, "fastmri", MASKS, LABELS["fastmri"], numeral="II")),
    ]
    write_claims(shown, results, tmp_path, papers=("manet",))
    for name in own:
        assert (tmp_path / name).read_bytes() == (results / "claims" / name).read_bytes()


def test_a_table_of_two_metrics_prints_these_in_their_order_with_the_published_value_beside_ours(results):
    table = pd.read_csv(results / "tables" / "table_ramzi_1.csv").set_index("method")
    assert (table.loc["unet", "psnr_paper_mean"], table.loc["unet", "ssim_paper_mean"]) == (29.89, 0.6334)
    assert table.loc["unet", "psnr_difference"] == pytest.approx(table.loc["unet", "psnr_mean"] - 29.89)
    assert {"nmse_mean", "nmse_rank"} <= set(table.columns)
    text = (results / "tables" / "table_ramzi_1.md").read_text(encoding="utf-8")
    assert "NMSE ↓" not in text
    assert text.index("PSNR ↑") < text.index("SSIM ↑")
    assert "Table fastMRI-PDFS of Ramzi et al. 2020" in text
    assert "random lines are inferred" in text
    assert "VarNet stands for the paper's networks that iterate" in text
    assert "ramzi_1" in (results / "tables" / "table_ramzi_1.tex").read_text(encoding="utf-8")


def test_where_two_papers_print_different_values_both_stand_beside_ours(results):
    table = pd.read_csv(results / "claims" / "papers.csv", dtype=str, keep_default_na=False)
    cell = ["dataset", "mask", "metric", "method"]
    assert set(map(tuple, table[cell].to_numpy())) == {
        ("fastmri", "random_4x", metric, "unet") for metric in ("psnr", "ssim")
    }
    printed = {(row["metric"], row["paper"]): row["mean"] for row in table.to_dict("records")}
    assert printed == {
        ("psnr", "MANet"): "29.2",
        ("psnr", "Ramzi et al. 2020"): "29.89",
        ("ssim", "MANet"): "0.630",
        ("ssim", "Ramzi et al. 2020"): "0.6334",
    }
    ours = pd.read_csv(results / "tables" / "table_2.csv").query("mask == 'random_4x' and method == 'unet'")
    assert set(table.query("metric == 'psnr'")["ours"].astype(float)) == {ours["psnr_mean"].iloc[0]}
    grid = across_grid(results / "claims" / "papers.csv")
    assert len(grid.rows) == 4
    assert {cell.text for row in grid.rows for cell in row} >= {"29.89", "0.630 ± 0.04", "MANet", "UNet-PDFS"}
    text = (results / "claims" / "papers.md").read_text(encoding="utf-8")
    assert "29.2 ± 1.55" in text
    assert "without an auxiliary" in text


def test_claims_that_the_papers_own_values_cannot_decide_are_judged_here(results):
    claims = pd.read_csv(results / "claims" / "ramzi" / "claims.csv").set_index("claim")
    assert claims.loc["iterations_help", "paper"] == "not judged"
    assert claims.loc["iterations_help", "here_comparisons"] == 2
    assert claims.loc["network_helps", "here"] == "holds"


@pytest.mark.parametrize(("printed", "rows"), [("29.2", 0), ("29.24", 0), ("29.26", 2), ("29.3", 2)])
def test_values_differ_only_by_decimals_that_all_of_them_have(results, monkeypatch, printed, rows):
    table, cell = RAMZI.tables[1].numeral, ("random_4x", "unet")
    changed = {table: {cell: dict(RAMZI.values[table][cell]) | {"psnr_mean": printed, "ssim_mean": "0.63"}}}
    monkeypatch.setitem(vars(RAMZI), "values", changed)
    found = across_papers([read_paper("manet"), RAMZI], results, [])
    assert len(found) == rows
