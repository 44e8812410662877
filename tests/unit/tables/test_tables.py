"""Tables I to IV: the numbers, the marks, the paper's values, and what every format says."""

import itertools
import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_results import (
    ABLATION,
    ATTENTION,
    LABELS,
    definition,
    metric_rows,
    read_definition,
    sha256,
    write_mask_json,
    write_record,
    write_records,
    write_statistics,
)
from markdown import markdown as python_markdown
from published_masks import MASKS

from data_prep.errors import BadInput
from data_prep.io.json_files import from_json
from data_prep.masks.registry import label
from workflow.papers.contract import read_paper
from workflow.statistics.scores import cells_of, ranks, read_metrics
from workflow.tables import __main__ as tables
from workflow.tables.ablation import unconverged
from workflow.tables.comparison import tidy_table
from workflow.tables.formats import printed, tex_escape
from workflow.tables.page import Page
from workflow.tables.words import convergence_notes, spread_notes

METRICS = ["ssim", "psnr", "nmse"]
CONFIGURATION = sha256("configuration")
MANET = read_paper("manet")
TWO = ["1d_uniform_6x", "1d_uniform_9x"]
FIVE = LABELS["ixi"]


def write(tmp_path, metrics, text):
    """Write a table as the command does and return its texts by suffix, and the CSV as a frame."""
    tmp_path.mkdir(exist_ok=True)
    wanted = read_definition(text)
    metrics.to_parquet(tmp_path / "metrics.parquet")
    write_mask_json(tmp_path, wanted.dataset, wanted.masks)
    write_records(tmp_path, wanted)
    write_statistics(tmp_path, wanted, metrics)
    tables.write_table(wanted, tmp_path, CONFIGURATION, tmp_path / "tables")
    texts = {
        suffix: (tmp_path / "tables" / f"table_{wanted.number}.{suffix}").read_text(encoding="utf-8")
        for suffix in ("csv", "md", "tex", "html")
    }
    return texts, pd.read_csv(StringIO(texts["csv"]))


def cell(table, mask, method):
    (row,) = table[(table["mask"] == mask) & (table["method"] == method)].to_dict("records")
    return row


class Cells(HTMLParser):
    """Text of every data cell, and every tag."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.tags, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "col"):
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open:
            self.cells[-1] += data


# ---- numbers --------------------------------------------------------------------------------------


def test_cells_are_mean_and_population_spread_over_volumes(tmp_path):
    metrics = metric_rows("ixi", TWO, FIVE, volumes=5)
    _, table = write(tmp_path, metrics, definition(1, "ixi", TWO, FIVE, numeral="I"))
    for mask in TWO:
        for method in FIVE:
            values = [
                row
                for row in metrics.to_dict("records")
                if (row["mask"], row["method"], row["level"]) == (mask, method, "volume")
            ]
            assert len(values) == 5
            for metric in METRICS:
                numbers = [row[metric] for row in values]
                mean = sum(numbers) / 5
                std = (sum((number - mean) ** 2 for number in numbers) / 5) ** 0.5
                found = cell(table, mask, method)
                assert found[f"{metric}_mean"] == pytest.approx(mean, rel=1e-8)
                assert found[f"{metric}_std"] == pytest.approx(std, rel=1e-7)
            assert found["volumes"] == 5


def test_seeds_are_averaged_per_volume_before_the_spread():
    metrics = metric_rows("ixi", TWO[:1], ["manet"], seeds=(0, 1), volumes=2)
    of_volume = metrics["level"] == "volume"
    # Two volumes of equal mean over seeds: no spread between volumes, whatever the seeds do.
    metrics.loc[of_volume, "psnr"] = [30.0, 34.0, 34.0, 30.0]
    wanted = read_definition(definition(1, "ixi", TWO[:1], {"manet": "MANet"}, seeds=[0, 1]))
    found = cells_of(metrics, wanted)[TWO[0], "manet"]
    assert found.mean["psnr"] == pytest.approx(32)
    assert found.std["psnr"] == pytest.approx(0, abs=1e-9)
    assert (len(found.scores), found.volumes) == (2, 2)


def test_how_far_trainings_are_apart_is_told_of_their_means_where_there_are_several():
    rows, seeds = {"zf": "ZF", "manet": "MANet"}, (0, 1, 2)
    metrics = metric_rows("ixi", TWO, [*rows], seeds=seeds, volumes=2)
    # Means over volumes of 32, 33 and 35, of which the sample standard deviation is sqrt(7 / 3).
    for (method, seed), first in {("manet", 0): 30.0, ("manet", 1): 31.0, ("manet", 2): 33.0}.items():
        own = (metrics["mask"] == TWO[0]) & (metrics["method"] == method) & (metrics["seed"] == seed)
        metrics.loc[own & (metrics["level"] == "volume"), "psnr"] = [first, first + 4.0]
    volumes, zf = metrics["level"] == "volume", metrics["method"] == "zf"
    metrics.loc[volumes & zf, METRICS] = [0.7, 20.1, 0.04]
    metrics = metrics[zf | (metrics["mask"] == TWO[0]) | (metrics["seed"] < 2)]
    apart = dict.fromkeys(TWO, (6.05, 3.0))
    wanted = read_definition(definition(1, "ixi", TWO, rows, numeral="I", seeds=seeds))
    table = tidy_table(wanted, metrics, apart, {})
    assert cell(table, TWO[0], "manet")["psnr_seed_std"] == pytest.approx((7 / 3) ** 0.5)
    assert cell(table, TWO[0], "zf")["psnr_seed_std"] == 0
    assert np.isnan(cell(table, TWO[1], "manet")["psnr_seed_std"])
    (note,) = spread_notes(wanted, table)
    assert note.startswith("Between trainings: standard deviation over 3 seeds (division by n - 1) of the")
    assert ". PSNR (dB): MANet 1.53. NMSE: " in note
    assert "ZF" not in note
    alone = read_definition(definition(1, "ixi", TWO, rows, numeral="I"))
    table = tidy_table(alone, metrics, apart, {})
    assert not [column for column in table.columns if "seed_std" in column]
    assert spread_notes(alone, table) == ()


def test_other_seeds_datasets_and_masks_do_not_leak_in():
    metrics = metric_rows("ixi", TWO, ["manet", "unet"], seeds=(0, 1, 2))
    wanted = read_definition(definition(1, "ixi", TWO[:1], {"manet": "MANet"}, seeds=[1]))
    found = cells_of(metrics, wanted)[TWO[0], "manet"]
    own = metrics.query("mask == @TWO[0] and method == 'manet' and seed == 1 and level == 'volume'")
    assert found.mean["nmse"] == pytest.approx(own["nmse"].mean(), rel=1e-12)
    foreign = metric_rows("fastmri", ["random_4x"], ["manet"]).assign(mask=TWO[0], psnr=0.0)
    both = pd.concat([metrics, foreign])
    pd.testing.assert_frame_equal(cells_of(both, wanted)[TWO[0], "manet"].scores, found.scores)


def test_slice_convention_takes_slice_rows(tmp_path):
    metrics = metric_rows("ixi", TWO, FIVE, volumes=3, slices=4)
    texts, table = write(tmp_path, metrics, definition(1, "ixi", TWO, FIVE, numeral="I", convention="slice"))
    own = metrics.query("mask == @TWO[1] and method == 'unet' and level == 'slice'")
    found = cell(table, TWO[1], "unet")
    assert found["ssim_mean"] == pytest.approx(own["ssim"].mean(), rel=1e-8)
    assert found["ssim_std"] == pytest.approx(np.std(own["ssim"]), rel=1e-7)
    assert (found["units"], found["volumes"]) == (12, 3)
    assert "12 slices of 3 test volumes" in texts["md"]
    assert "Slice convention" in texts["html"]


def test_string_columns_of_the_gathered_table_are_understood(tmp_path):
    metrics = metric_rows("ixi", TWO, FIVE)
    strings = metrics.astype(dict.fromkeys(("dataset", "mask", "method", "subject", "level"), "string"))
    text = definition(1, "ixi", TWO, FIVE, numeral="I")
    assert write(tmp_path / "a", metrics, text)[0] == write(tmp_path / "b", strings, text)[0]


def test_methods_scored_on_different_volumes_are_refused(tmp_path):
    metrics = metric_rows("ixi", TWO, FIVE)
    own = (metrics["method"] == "manet") & (metrics["subject"] == "IXI901")
    # One too few, and as many of which one is another.
    for found in (metrics[~own], metrics.assign(subject=metrics["subject"].mask(own, "IXI999"))):
        with pytest.raises(BadInput, match=r"manet under 1d_uniform_6x.*other test volumes"):
            write(tmp_path, found, definition(1, "ixi", TWO, FIVE, numeral="I"))


# ---- holes ----------------------------------------------------------------------------------------


def test_a_diverged_seed_is_shown_and_never_averaged(tmp_path):
    metrics = metric_rows("ixi", TWO, FIVE, seeds=(0, 1))
    lost = (metrics["mask"] == TWO[0]) & (metrics["method"] == "manet") & (metrics["seed"] == 1)
    metrics.loc[lost, METRICS] = np.nan
    texts, table = write(tmp_path, metrics, definition(1, "ixi", TWO, FIVE, numeral="I", seeds=[0, 1]))
    found = cell(table, TWO[0], "manet")
    assert found["status"] == "diverged"
    for metric in METRICS:
        assert np.isnan([found[f"{metric}_mean"], found[f"{metric}_std"], found[f"{metric}_rank"]]).all()
    assert np.isnan(found["psnr_difference"])
    assert cell(table, TWO[1], "manet")["status"] == "ok"
    # The others are ranked among themselves.
    others = table[(table["mask"] == TWO[0]) & (table["method"] != "manet")]
    assert sorted(others["psnr_rank"]) == [1, 2, 3, 4]
    assert Cells(texts["html"]).cells.count("diverged") == 3
    for suffix in ("md", "tex"):
        assert texts[suffix].count(" diverged ") >= 3
        assert "seed 1 of 2" in texts[suffix]
    # The paper's value stays: the hole is ours.
    assert found["psnr_paper_mean"] == 32.9


def test_a_mask_that_a_method_declines_is_a_dash_with_the_methods_reason(tmp_path):
    metrics = metric_rows("ixi", TWO, FIVE)
    metrics = metrics[~((metrics["mask"] == TWO[1]) & (metrics["method"] == "xiang"))]
    content = json.loads(definition(1, "ixi", TWO, FIVE, numeral="I"))
    content["rows"][2]["declines"] = {TWO[1]: "needs points"}
    texts, table = write(tmp_path, metrics, json.dumps(content))
    assert cell(table, TWO[1], "xiang")["status"] == "missing"
    assert "Xiang et al. under 1D-Uniform-9×: the method declines this mask (needs points)." in texts["md"]
    assert "no run" not in texts["md"]


def test_a_missing_run_is_a_dash_with_a_note(tmp_path):
    metrics = metric_rows("ixi", TWO, FIVE, seeds=(0, 1))
    gone = (metrics["mask"] == TWO[1]) & (metrics["method"] == "xiang") & (metrics["seed"] == 0)
    texts, table = write(tmp_path, metrics[~gone], definition(1, "ixi", TWO, FIVE, numeral="I", seeds=[0, 1]))
    found = cell(table, TWO[1], "xiang")
    assert found["status"] == "missing"
    assert np.isnan(found["ssim_mean"])
    assert Cells(texts["html"]).cells.count("—") == 3
    assert "Xiang et al. under 1D-Uniform-9×: no run (seed 0)" in texts["md"]


def test_blank_slices_are_no_divergence():
    metrics = metric_rows("ixi", TWO[:1], ["zf", "manet"], slices=4)
    blank = (metrics["slice"] == 2) & (metrics["subject"] == "IXI900")
    metrics.loc[blank, METRICS] = np.nan
    metrics.loc[blank, "blank"] = 1
    wanted = read_definition(definition(1, "ixi", TWO[:1], FIVE, convention="slice"))
    found = cells_of(metrics, wanted)
    assert {found[TWO[0], name].status for name in ("zf", "manet")} == {"ok"}
    assert len(found[TWO[0], "zf"].scores) == 4 * 4 - 1


def test_a_volume_on_which_a_method_fails_is_not_one_without_signal(tmp_path):
    """Whether it stands alone, or all methods fail there: the truth tells what is blank, not the scores."""
    metrics = metric_rows("ixi", TWO[:1], FIVE)
    failing = (metrics["method"] == "manet") & (metrics["subject"] == "IXI901")
    metrics.loc[failing, METRICS] = np.nan
    alone = metrics[metrics["method"] == "manet"]
    texts, table = write(
        tmp_path / "a", alone, definition(1, "ixi", TWO[:1], {"manet": "MANet"}, numeral="I")
    )
    found = cell(table, TWO[0], "manet")
    assert found["status"] == "1 of 4 failed"
    assert np.isnan([found[f"{metric}_{of}"] for metric in METRICS for of in ("mean", "std", "rank")]).all()
    assert Cells(texts["html"]).cells.count("1 of 4 failed") == 3
    assert "**1 of" not in texts["md"]
    note = "MANet under 1D-Uniform-6×: 1 of 4 volumes failed: no number in the reconstruction (seed 0 of 1); "
    assert note in texts["md"]
    # Beside others: they are compared with each other, on all volumes.
    _, table = write(tmp_path / "b", metrics, definition(1, "ixi", TWO[:1], FIVE, numeral="I"))
    assert cell(table, TWO[0], "manet")["status"] == "1 of 4 failed"
    assert sorted(table["psnr_rank"].dropna()) == [1, 2, 3, 4]
    assert set(table.loc[table["status"] == "ok", "volumes"]) == {4}
    metrics.loc[metrics["subject"] == "IXI901", METRICS] = np.nan
    for convention in ("volume", "slice"):
        wanted = read_definition(definition(1, "ixi", TWO[:1], FIVE, convention=convention))
        assert {found.status for found in cells_of(metrics, wanted).values()} == {"1 of 4 failed"}
    blank = metrics.assign(blank=1)
    with pytest.raises(BadInput, match="no test slice of ixi has signal"):
        cells_of(blank, wanted)


def test_a_lone_diverged_run_stays_diverged():
    metrics = metric_rows("ixi", TWO[:1], ["manet"])
    metrics[METRICS] = np.nan
    wanted = read_definition(definition(1, "ixi", TWO[:1], {"manet": "MANet"}))
    assert cells_of(metrics, wanted)[TWO[0], "manet"].status == "diverged"


# ---- ranks and marks ------------------------------------------------------------------------------


def test_equal_printed_values_share_a_rank_and_second_is_the_next_value():
    assert ranks([0.9441, 0.9436, 0.93, 0.9444], 3, True) == [1, 1, 2, 1]
    assert ranks([0.9441, 0.9449, 0.93], 3, True) == [2, 1, 3]
    assert ranks([0.010, None, 0.002, float("nan")], 4, False) == [2, None, 1, None]
    assert ranks([None, None], 3, True) == [None, None]


@given(st.lists(st.floats(0, 50), min_size=1, max_size=8), st.booleans())
def test_rank_one_is_exactly_what_prints_as_the_best(values, higher):
    printed = [f"{value:.2f}" for value in values]
    best = (max if higher else min)(printed, key=float)
    second = sorted({float(text) for text in printed} - {float(best)}, reverse=higher)[:1]
    for text, rank in zip(printed, ranks(values, 2, higher), strict=True):
        assert (rank == 1) == (float(text) == float(best))
        assert (rank == 2) == ([float(text)] == second)


def test_marks_stand_on_the_best_and_second_best_of_every_column(tmp_path):
    metrics = metric_rows("ixi", TWO, FIVE)
    of_volume = (metrics["level"] == "volume") & (metrics["mask"] == TWO[0])
    for method, value in zip(FIVE, (25, 31, 32, 33.001, 33.004), strict=True):
        metrics.loc[of_volume & (metrics["method"] == method), "psnr"] = value
    texts, table = write(tmp_path, metrics, definition(1, "ixi", TWO, FIVE, numeral="I"))
    assert list(table[table["mask"] == TWO[0]]["psnr_rank"]) == [4, 3, 2, 1, 1]
    assert texts["md"].count("**33.00 ± 0.00**") == 2
    assert texts["md"].count("*32.00 ± 0.00*") == 1
    assert texts["tex"].count(r"\textbf{33.00${\pm}$0.00}") == 2
    assert texts["tex"].count(r"\underline{32.00${\pm}$0.00}") == 1
    cells = Cells(texts["html"]).cells
    assert cells.count("33.00 ± 0.00 (best)") == 2
    assert cells.count("32.00 ± 0.00 (second best)") == 1
    # Two masks, three metrics: one mark each in NMSE and SSIM, for the smallest error and largest similarity.
    for mask in TWO:
        rows = table[table["mask"] == mask]
        assert rows.loc[rows["nmse_mean"].idxmin(), "nmse_rank"] == 1
        assert rows.loc[rows["ssim_mean"].idxmax(), "ssim_rank"] == 1


# ---- the paper ------------------------------------------------------------------------------------


def test_every_published_row_belongs_to_a_run():
    published = pd.read_csv(MANET.folder / "published.csv", comment="#")
    assert set(published["method"]) == set(MANET.methods)
    for numeral, count in (("I", 40), ("II", 16), ("III", 24), ("IV", 3)):
        assert len(MANET.published(numeral)) == count
    names = {mask for masks in MASKS.values() for mask in masks}
    assert {mask for n in ("I", "II", "III", "IV") for mask, _ in MANET.published(n)} <= names


@pytest.mark.parametrize(
    ("number", "numeral", "dataset", "masks", "rows"),
    [
        (1, "I", "ixi", MASKS["ixi"], LABELS["ixi"]),
        (2, "II", "fastmri", MASKS["fastmri"], LABELS["fastmri"]),
        (3, "III", "ixi", MASKS["ixi"], ABLATION),
        (4, "IV", "ixi", TWO[:1], ATTENTION),
    ],
)
def test_the_papers_values_and_differences_stand_beside_ours(tmp_path, number, numeral, dataset, masks, rows):
    texts, table = write(
        tmp_path, metric_rows(dataset, masks, rows), definition(number, dataset, masks, rows, numeral=numeral)
    )
    published = pd.read_csv(MANET.folder / "published.csv", comment="#").query("table == @numeral")
    names = {method: name for name, method in MANET.methods.items() if name in set(published["method"])}
    assert len(table) == len(masks) * len(rows)
    compared = 0
    for row in table.to_dict("records"):
        pattern, acceleration = row["mask"].rsplit("_", 1)
        own = published[
            (published["mask"] == pattern)
            & (published["acceleration"] == int(acceleration.removesuffix("x")))
            & (published["method"] == names.get(row["method"]))
        ]
        if own.empty:
            assert row["method"] == "zf"
            assert np.isnan(row["psnr_paper_mean"])
            assert np.isnan(row["psnr_difference"])
            continue
        compared += 1
        for metric in ("ssim", "psnr"):
            paper = own.iloc[0][f"{metric}_mean"]
            assert row[f"{metric}_paper_mean"] == paper
            assert row[f"{metric}_difference"] == pytest.approx(row[f"{metric}_mean"] - paper, abs=1e-6)
    assert compared == len(published)
    # Digits as the paper prints them.
    if numeral == "I":
        assert "0.747 ± 0.10" in texts["html"]
        assert r"0.747${\pm}$0.10" in texts["tex"]
    if numeral == "IV":
        assert "32.535" in texts["tex"]
        assert r"\multicolumn{3}{c}{SC-CS}" in texts["tex"]


def test_variants_of_which_no_paper_prints_a_value_have_a_row_of_ours_alone(tmp_path, monkeypatch):
    text = definition(4, "ixi", TWO[:1], ATTENTION, numeral="IV")
    metrics = metric_rows("ixi", TWO[:1], ATTENTION)
    rows = ("\n    Paper &", "\n    $\\Delta$ &")
    assert all(row in write(tmp_path / "printed", metrics, text)[0]["tex"] for row in rows)
    monkeypatch.setattr("workflow.tables.comparison.in_print", lambda _: ())
    texts, _ = write(tmp_path / "silent", metrics, text)
    assert not any(row in texts["tex"] for row in rows)
    assert "This run &" in texts["tex"]


def test_a_difference_has_no_more_digits_than_the_paper(tmp_path):
    metrics = metric_rows("ixi", TWO[:1], ["manet"])
    metrics["psnr"], metrics["ssim"] = 32.86, 0.9432
    texts, _ = write(tmp_path, metrics, definition(1, "ixi", TWO[:1], {"manet": "MANet"}, numeral="I"))
    cells = Cells(texts["html"]).cells
    assert cells[2] == "−0.001"  # 0.9432 - 0.944
    assert cells[5] == "0.0"  # 32.86 - 32.9: not "−0.0"


def test_a_mean_below_zero_has_a_minus_sign(tmp_path):
    metrics = metric_rows("ixi", TWO[:1], ["manet"])
    metrics["psnr"] = -1.254
    texts, _ = write(tmp_path, metrics, definition(1, "ixi", TWO[:1], {"manet": "MANet"}, numeral="I"))
    assert "−1.25 ± 0.00 (best)" in Cells(texts["html"]).cells


def test_a_dropped_in_method_has_an_empty_paper_column(tmp_path):
    rows = {**FIVE, "my_net": "My net"}
    texts, table = write(
        tmp_path, metric_rows("ixi", TWO, rows), definition(1, "ixi", TWO, rows, numeral="I")
    )
    found = cell(table, TWO[0], "my_net")
    assert found["status"] == "ok"
    assert np.isnan(found["ssim_paper_mean"])
    line = next(line for line in texts["md"].splitlines() if "My net" in line)
    columns = [part.strip() for part in line.split("|")[1:-1]]
    assert [bool(column) for column in columns] == [True, True, False, False, True, False, False, True]


# ---- formats --------------------------------------------------------------------------------------


def test_two_masks_share_a_sub_table_as_in_the_paper(tmp_path):
    texts, _ = write(
        tmp_path,
        metric_rows("ixi", MASKS["ixi"], FIVE),
        definition(1, "ixi", MASKS["ixi"], FIVE, numeral="I"),
    )
    headers = [line for line in texts["tex"].splitlines() if line.strip().startswith("Method")]
    assert len(headers) == 4
    assert all(header.count("multicolumn") == 2 for header in headers)
    assert "1D-Uniform-6$\\times$" in headers[0]
    assert "1D-Uniform-9$\\times$" in headers[0]
    assert texts["tex"].count(r"\begin{tabular}") == texts["tex"].count(r"\end{tabular}") == 4


@pytest.mark.parametrize("source", ["embedded", "published"])
def test_every_format_names_source_convention_volumes_seeds_and_accelerations(tmp_path, source):
    text = definition(2, "fastmri", ["random_4x"], LABELS["fastmri"], numeral="II", source=source, seeds=[3])
    texts, table = write(tmp_path, metric_rows("fastmri", ["random_4x"], LABELS["fastmri"], seeds=(3,)), text)
    for suffix in ("md", "html", "tex"):
        assert ("not fastMRI" in texts[suffix]) == (source == "embedded")
        assert ("all knees descend from one knee" in texts[suffix]) == (source == "embedded")
        assert "Volume convention: the data range is the maximum" in texts[suffix]
        assert "population standard deviation over 4 test volumes; seed 3" in texts[suffix]
        assert "Random-4" in texts[suffix]
        assert "4.05" in texts[suffix]
    assert set(table["source"]) == {source}
    assert set(table["realised_acceleration"]) == {4.05}


@pytest.mark.parametrize(
    ("dataset", "phase", "said", "worth"),
    [
        ("ixi", "none", "gives for free: 1D-Uniform-6", [3.025, 6.05]),
        ("ixi", "smooth", "given a smooth phase: no sample gives its mirror image", [6.05, 6.05]),
        ("fastmri", "none", None, [4.05, 4.05]),
    ],
)
def test_captions_say_what_masks_are_worth_where_targets_are_magnitudes(
    tmp_path, dataset, phase, said, worth
):
    masks = ["1d_uniform_6x", "2d_radial_6x"] if dataset == "ixi" else ["random_4x", "equispaced_4x"]
    text = definition(5, dataset, masks, FIVE, numeral="5", phase=phase)
    texts, table = write(tmp_path, metric_rows(dataset, masks, FIVE), text)
    assert table.groupby("mask", sort=False)["effective_acceleration"].first().tolist() == pytest.approx(
        worth
    )
    # What is sampled stays what it is.
    realised = 6.05 if dataset == "ixi" else 4.05
    assert set(table["realised_acceleration"]) == {realised}
    for suffix in ("md", "html", "tex"):
        assert f"realised {realised}" in texts[suffix]
        assert ("mirror image" in texts[suffix]) == (said is not None)
        assert said is None or said in texts[suffix].replace("\n", " ")
        assert ("with a smooth phase)" in texts[suffix]) == (phase == "smooth")


AWKWARD = r"A_b & 50% $x$ #1 {~^} <i>|\ α×"


def test_labels_are_escaped_in_every_format(tmp_path):
    rows = {"manet": AWKWARD, "zf": "ZF"}
    texts, table = write(
        tmp_path, metric_rows("ixi", TWO, rows), definition(1, "ixi", TWO, rows, numeral="I")
    )
    assert set(table["label"]) == {AWKWARD, "ZF"}
    escaped = (
        r"A\_b \& 50\% \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\} "
        r"\textless{}i\textgreater{}\textbar{}\textbackslash{} $\alpha$$\times$"
    )
    assert tex_escape(AWKWARD) == escaped
    assert escaped in texts["tex"]
    assert "<i>" not in texts["html"]
    assert "A_b &amp; 50% $x$ #1 {~^} &lt;i&gt;" in texts["html"]
    line = next(line for line in texts["md"].splitlines() if "50%" in line)
    assert line.replace(r"\|", "").count("|") == 9


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://a.example/p.png)",
    "`<b>`|x",
    "&lt;script&gt;",
    r"**bold** _it_ ~~gone~~ \\",
    "<http://a.example>",
    AWKWARD,
)


@pytest.mark.parametrize("extensions", [["tables"], ["extra", "md_in_html"]])
@pytest.mark.parametrize("word", HOSTILE)
def test_a_label_is_text_in_the_documentation_that_is_made_of_a_table(tmp_path, word, extensions):
    rows = {"manet": word, "zf": "ZF"}
    texts, _ = write(tmp_path, metric_rows("ixi", TWO, rows), definition(1, "ixi", TWO, rows, numeral="I"))
    page = Cells(python_markdown(texts["md"], extensions=extensions))
    assert page.cells.count(word) == 2
    assert not {"img", "a", "script", "b", "i", "code", "del"} & {tag for tag, _ in page.tags}


def test_a_row_that_begins_like_an_option_of_the_line_break_does_not_end_it():
    assert [tex_escape(word) for word in ("[2cm]", "*x", "a[1]*")] == ["{[}2cm]", "{*}x", "a[1]*"]
    assert "\n" not in tex_escape("two\n\nparagraphs")


def test_html_is_self_contained_and_accessible(tmp_path):
    texts, _ = write(tmp_path, metric_rows("ixi", TWO, FIVE), definition(1, "ixi", TWO, FIVE, numeral="I"))
    page = Cells(texts["html"])
    assert page.open == []
    names = [tag for tag, _ in page.tags]
    assert names.count("table") == names.count("caption") == 2
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")
    assert not {"script", "img", "link", "iframe"} & set(names)
    assert "http" not in texts["html"]
    assert ("html", {"lang": "en"}) in page.tags


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_in_a_plain_article(tmp_path):
    masks = MASKS["ixi"]
    rows = {**FIVE, "my_net": AWKWARD}
    write(tmp_path, metric_rows("ixi", masks, rows), definition(1, "ixi", masks, rows, numeral="I"))
    metrics = metric_rows("ixi", TWO[:1], ATTENTION)
    metrics.loc[metrics["method"] == "manet-sc", METRICS] = np.nan
    write(tmp_path, metrics, definition(4, "ixi", TWO[:1], ATTENTION, numeral="IV"))
    (tmp_path / "article.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage{graphicx}\n"
        "\\begin{document}\\input{tables/table_1.tex}\\input{tables/table_4.tex}\\end{document}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


# ---- command --------------------------------------------------------------------------------------


def test_the_command_writes_the_same_bytes_twice(tmp_path):
    text = definition(1, "ixi", TWO, FIVE, numeral="I")
    write(tmp_path, metric_rows("ixi", TWO, FIVE), text)
    found = []
    for name in ("a", "b"):
        subprocess.run(
            [
                *(sys.executable, "-m", "workflow.tables"),
                *("--definition", text, "--results", str(tmp_path), "--configuration", CONFIGURATION),
                *("--output", str(tmp_path / name)),
            ],
            cwd=Path(__file__).parents[3],
            check=True,
        )
        found.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert found[0] == found[1]
    assert sorted(found[0]) == [f"table_1.{kind}" for kind in ("csv", "html", "json", "md", "tex")]


def test_json_holds_all_that_is_printed(tmp_path):
    texts, _ = write(tmp_path, metric_rows("ixi", TWO, FIVE), definition(1, "ixi", TWO, FIVE, numeral="I"))
    text = (tmp_path / "tables" / "table_1.json").read_text(encoding="utf-8")
    page = from_json(Page, text, "table_1.json", "")
    assert (printed("html", page), printed("md", page)) == (texts["html"], texts["md"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "oasis"}, "dataset 'oasis'"),
        ({"convention": "pixel"}, "convention is 'pixel', not volume or slice"),
        ({"source": "found"}, "source is 'found', not embedded or published"),
        ({"rows": [{"method": "zf"}]}, "label"),
    ],
)
def test_a_wrong_definition_is_named(change, message):
    content = {**json.loads(definition(1, "ixi", TWO, FIVE)), **change}
    with pytest.raises(BadInput, match=message):
        read_definition(json.dumps(content))
    with pytest.raises(BadInput, match="not JSON"):
        read_definition("{")


def test_damaged_metrics_are_named(tmp_path):
    path = tmp_path / "metrics.parquet"
    metric_rows("ixi", TWO, FIVE).to_parquet(path)
    for content in (path.read_bytes()[:-20], b"", b"no table"):
        path.write_bytes(content)
        with pytest.raises(
            BadInput, match=r"metrics\.parquet: not a Parquet file .*run workflow\.statistics\.gather again"
        ):
            read_metrics(path, ())


def test_missing_inputs_are_named(tmp_path):
    wanted = read_definition(definition(1, "ixi", TWO, FIVE, numeral="I"))
    metrics = metric_rows("ixi", TWO, FIVE)
    masks = write_mask_json(tmp_path, "ixi", TWO)

    def refused(message):
        with pytest.raises(BadInput, match=message):
            tables.write_table(wanted, tmp_path, CONFIGURATION, tmp_path / "tables")

    refused(r"statistics/table_1\.csv: no such file; run workflow\.statistics\.significance")
    write_statistics(tmp_path, wanted, metrics)
    refused(r"metrics\.parquet: no such file")
    metrics.drop(columns="nmse").to_parquet(tmp_path / "metrics.parquet")
    refused("column nmse")
    (masks / f"{TWO[0]}.json").unlink()
    refused(rf"{TWO[0]}\.json")
    assert not (tmp_path / "tables").exists()


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n1,2,3\n", b"\xff\xfe\x00"])
def test_damaged_statistics_are_named(tmp_path, content):
    (tmp_path / "table_1.csv").write_bytes(content)
    with pytest.raises(BadInput, match=r"table_1\.csv: not a table \(.*\); delete it and make it again"):
        tables.read_statistics(tmp_path / "table_1.csv")


def test_trainings_that_had_not_converged_are_named(tmp_path):
    text = definition(1, "ixi", TWO, FIVE, numeral="I")
    texts, _ = write(tmp_path, metric_rows("ixi", TWO, FIVE), text)
    assert not any("onverged" in found for found in texts.values())
    for mask, method, converged in [
        (TWO[0], "unet", False),
        (TWO[1], "unet", True),
        (TWO[0], "manet", False),
        (TWO[1], "manet", False),
        (TWO[0], "zf", None),
    ]:
        path = tmp_path / "runs" / "ixi" / mask / method / "seed0" / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"converged": converged}))
    tables.write_table(read_definition(text), tmp_path, CONFIGURATION, tmp_path / "second")
    for suffix in ("md", "tex", "html"):
        words = " ".join((tmp_path / "second" / f"table_1.{suffix}").read_text().split()).replace("\\", "")
        words = words.replace("$times$", "×")
        assert (
            f"Not converged: {FIVE['unet']} under {label(TWO[0])}; {FIVE['manet']} under every mask." in words
        )
        assert "fell by more than 2 %" in words
        assert "ZF under" not in words


def test_of_several_seeds_those_are_named_that_had_not_converged(tmp_path):
    asked = read_definition(definition(1, "ixi", TWO, FIVE, numeral="I", seeds=[0, 1, 2]))
    unfinished = {(TWO[1], "unet"): [0, 1, 2], (TWO[1], "xiang"): [2], (TWO[0], "manet"): [0, 2]}
    unfinished |= {(TWO[0], method): [0, 1, 2] for method in ("unet", "xiang")}
    for mask, method in itertools.product(TWO, FIVE):
        for seed in asked.seeds:
            of = seed not in unfinished.get((mask, method), [])
            write_record(tmp_path, f"ixi/{mask}/{method}/seed{seed}", converged=of)
    (note,) = convergence_notes(asked, unconverged(asked, tmp_path))
    assert note.startswith(
        "Not converged: UNet-T2 under every mask; Xiang et al. under 1D-Uniform-6×, 1D-Uniform-9× (seed 2); "
        "MANet under 1D-Uniform-6× (seeds 0, 2). There,"
    )


# ---- significance and provenance ------------------------------------------------------------------


def test_values_that_the_test_does_not_tell_apart_carry_the_mark(tmp_path):
    metrics = metric_rows("ixi", TWO[:1], FIVE, volumes=20)
    of_volume = metrics["level"] == "volume"
    # DuDoRNet wins on every second volume, by less: behind MANet in the mean, in no way surely.
    own = metrics.loc[of_volume & (metrics["method"] == "manet"), METRICS].to_numpy()
    nudged = own + np.where(np.arange(20) % 2, 1e-3, -2e-3)[:, None]
    metrics.loc[of_volume & (metrics["method"] == "dudornet"), METRICS] = nudged
    texts, table = write(tmp_path, metrics, definition(1, "ixi", TWO[:1], FIVE, numeral="I"))
    assert cell(table, TWO[0], "dudornet")["psnr_verdict"] == "not distinguishable"
    assert cell(table, TWO[0], "manet")["psnr_verdict"] == "best"
    assert cell(table, TWO[0], "zf")["psnr_verdict"] == "distinguishable"
    cells = Cells(texts["html"]).cells
    marked = [index // 7 for index, text in enumerate(cells) if "≈" in text]
    assert set(marked) <= {list(FIVE).index("dudornet"), list(FIVE).index("manet")}
    assert cells[3 * 7 + 3].count("≈") == 1  # DuDoRNet's PSNR
    assert "≈: not distinguishable from the best of the column" in texts["html"]
    assert r"$\approx$" in texts["tex"]
    assert "out of reach" not in texts["html"]


@pytest.mark.parametrize("turned", [True, False])
def test_a_mark_of_ranks_that_contradict_the_means_is_explained(tmp_path, turned):
    two = {name: FIVE[name] for name in ("unet", "manet")}
    metrics = metric_rows("ixi", TWO[:1], two, volumes=30)
    place = metrics["subject"].rank(method="dense")
    # MANet is behind on all subjects but one, which lifts its mean above U-Net's, or on every second.
    lost = place > 1 if turned else place % 2 == 0
    gained = np.where(lost, -0.1, 50.0 if turned else 0.2 + place * 0.01)
    metrics["psnr"] = 20.0 + place * 0.01 + (metrics["method"] == "manet") * gained
    texts, table = write(tmp_path, metrics, definition(1, "ixi", TWO[:1], two, numeral="I"))
    assert cell(table, TWO[0], "manet")["psnr_rank"] == 1
    assert cell(table, TWO[0], "unet")["psnr_verdict"] == (
        "not distinguishable" if turned else "distinguishable"
    )
    assert ("p > 0.05, or ranks that point to the other one as the better)" in texts["md"]) == turned
    assert "p > 0.05" in texts["md"]


def test_too_few_volumes_are_told_instead_of_marks(tmp_path):
    texts, table = write(
        tmp_path, metric_rows("ixi", TWO, FIVE, volumes=4), definition(1, "ixi", TWO, FIVE, numeral="I")
    )
    assert set(table["psnr_verdict"]) == {"best", "unreachable"}
    # 10 pairs, 2 masks, 3 metrics; 2 of 2^4 signs. 60 tests of 2^(1 - n) pass 0.05 from n = 12 on.
    for suffix in ("md", "tex", "html"):
        words = " ".join(texts[suffix].split())
        assert "out of reach with 4 test volumes" in words
        assert "table's 60 tests" in words.replace("&#39;", "'")
        assert "0.125 before and 1 after correction; it takes 12 volumes" in words
        assert "≈" not in words
        assert "approx" not in words


def test_every_format_ends_with_what_the_table_was_made_from(tmp_path):
    texts, _ = write(tmp_path, metric_rows("ixi", TWO, FIVE), definition(1, "ixi", TWO, FIVE, numeral="I"))
    manifest = (tmp_path / "data" / "ixi" / "manifest.csv").read_text()
    expected = ["experiment made_up" if suffix != "tex" else r"experiment made\_up" for suffix in ("tex",)]
    expected += [f"code {sha256('commit')[:12]}", f"configuration {CONFIGURATION[:12]}"]
    expected += [f"data manifest {sha256(manifest)[:12]}", f"1D-Uniform-9× {sha256(TWO[1])[:12]}"]
    for suffix, text in texts.items():
        for words in expected if suffix != "csv" else []:
            words = words.replace("×", r"$\times$") if suffix == "tex" else words
            words = words if suffix == "tex" else words.replace(r"\_", "_" if suffix == "html" else r"\_")
            assert words in text, (suffix, words)


def test_the_footer_says_how_settings_were_tuned_if_the_configuration_does(tmp_path):
    said = "Optimisers of unet by equal tuning on validation data."
    text = definition(1, "ixi", TWO, FIVE, numeral="I", tuned=said)
    texts, _ = write(tmp_path, metric_rows("ixi", TWO, FIVE), text)
    assert all(said in texts[suffix] for suffix in ("md", "tex", "html"))


def test_the_footer_names_every_code_version_and_the_sources_that_ran(tmp_path):
    text = definition(1, "ixi", TWO, FIVE, numeral="I")
    first, _ = write(tmp_path, metric_rows("ixi", TWO, FIVE), text)
    code = {"commit": 40 * "f", "source_sha256": sha256("edited")}
    write_record(tmp_path, f"ixi/{TWO[0]}/zf/seed0", code=code)
    wanted = read_definition(text)
    tables.write_table(wanted, tmp_path, CONFIGURATION, tmp_path / "second")
    second = (tmp_path / "second" / "table_1.md").read_text()
    assert f"code {sha256('commit')[:12]}, ffffffffffff, sources" in second
    sources = [text.partition("sources ")[2][:12] for text in (first["md"], second)]
    assert sources[0] != sources[1]
