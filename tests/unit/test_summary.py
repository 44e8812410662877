"""The summary in the terminal."""

import contextlib
import io
import re
import shutil

import numpy as np
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
from published_masks import MASKS

from data_prep.errors import BadInput
from workflow.summary import main_tables, summarise
from workflow.tables.__main__ import write_table

LABEL = "A method of long name"


@pytest.fixture
def results(tmp_path, monkeypatch):
    root = tmp_path / "results" / "demo"
    root.mkdir(parents=True)
    rows = {**LABELS["ixi"], "mine": LABEL}
    metrics = metric_rows("ixi", MASKS["ixi"], rows)
    metrics.loc[metrics["method"] == "dudornet", ["ssim", "psnr", "nmse"]] = np.nan
    metrics.to_parquet(root / "metrics.parquet")
    write_mask_json(root, "ixi", MASKS["ixi"])
    wanted = read_definition(definition(1, "ixi", MASKS["ixi"], rows, numeral="I"))
    write_records(root, wanted)
    write_statistics(root, wanted, metrics)
    write_table(wanted, root, sha256("configuration"), root / "tables")
    monkeypatch.chdir(tmp_path)
    return root


def printed(results, number="1"):
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        summarise(results, number)
    return stream.getvalue()


def test_table_one_fits_a_hundred_columns_and_says_whose_data_it_is(results):
    text = printed(results)
    table = text[text.index("Table I") :].splitlines()
    assert max(map(len, table)) <= 100
    assert "embedded data, not IXI" in table[0]
    assert "4 test volumes" in table[0]
    assert text.count("diverged") == 16
    for name in ("1D-Uniform-6×", "2D-Spiral-9×", "MANet", "0.944", "32.9"):
        assert name in text
    metrics = metric_rows("ixi", MASKS["ixi"], {**LABELS["ixi"], "mine": LABEL})
    own = metrics.query("mask == '1d_random_3x' and method == 'manet' and level == 'volume'")["psnr"]
    assert f"{own.mean():.2f}±{own.std(ddof=0):.2f}" in text


def test_a_table_that_the_paper_does_not_have_leaves_its_values_out(results):
    table = pd.read_csv(results / "tables/table_1.csv")
    table[[*table.filter(like="_paper_")]] = np.nan
    table.to_csv(results / "tables/table_5.csv", index=False)
    text = printed(results, "5")
    assert "paper" not in text[text.index("Table I") :]
    assert "MANet" in text


def test_without_a_paper_the_table_of_each_dataset_is_shown(results):
    tables = results / "tables"
    for path in tables.glob("table_1.*"):
        path.rename(path.with_name(f"table_ixi{path.suffix}"))
    table = pd.read_csv(tables / "table_ixi.csv")
    table.assign(table="fastMRI", dataset="fastmri").to_csv(tables / "table_fastmri.csv", index=False)
    table.assign(table="smooth").to_csv(tables / "table_fastmri_smooth_phase.csv", index=False)
    shown = [line for line in printed(results, None).splitlines() if line.startswith("Table ")]
    assert [line.partition(":")[0] for line in shown] == ["Table I", "Table fastMRI"]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["10", "2"], ["2"]),
        (["brats", "ramzi_1", "ramzi_2"], ["ramzi_1"]),
        (["ixi", "fastmri", "brats", "ixi_smooth_phase"], ["ixi", "fastmri", "brats"]),
        (["ixi_smooth_phase"], ["ixi_smooth_phase"]),
        ([], []),
    ],
)
def test_papers_come_first_and_by_number(names, shown):
    assert main_tables(names) == shown


def test_names_are_whole_where_one_mask_stands_alone(results):
    table = pd.read_csv(results / "tables/table_1.csv")
    alone = table[table["mask"] == "1d_uniform_6x"].assign(label="VarNet, both contrasts")
    alone.to_csv(results / "tables/table_ramzi_1.csv", index=False)
    assert "VarNet, both contrasts" in printed(results, "ramzi_1")


def test_what_another_configuration_left_is_listed_apart(results):
    (results / "tables" / "table_9.md").touch()
    (results / "provenance.json").write_text(
        '{"outputs": {}, "leftovers": ["tables/table_9.md", "tables/table_1.csv", "gone"]}'
    )
    text = printed(results, None)
    listed, left = text.split("\nLeft over from another configuration\n")
    assert "table_9" not in listed
    left, last = left.split("\n\n")
    assert left == "  results/demo/tables/table_1.csv\n  results/demo/tables/table_9.md"
    assert last.startswith("No table 1 in results/demo")
    with pytest.raises(BadInput, match=r"--table: .*demo has no table '1'; the target paper_tables makes"):
        printed(results, "1")
    (results / "provenance.json").unlink()


def test_paths_are_relative_and_only_of_files_that_exist(results):
    (results / "report.html").write_text("")
    text = printed(results)
    assert "  results/demo/tables/table_1.{html,md,tex,csv}\n" in text
    assert "  results/demo/report.html\n" in text
    assert "  results/demo/metrics.parquet\n" in text
    assert "  results/demo/statistics/table_1.csv\n" in text
    assert "Figures" not in text
    assert "index.html" not in text
    (results / "index.html").write_text("")
    listed, end = printed(results).split("\nOpen in a browser: results/demo/index.html\n\n")
    assert listed.splitlines()[-3:] == ["Report", "  results/demo/index.html", "  results/demo/report.html"]
    assert end.startswith("Table I")


def test_best_and_second_best_are_marked_without_colour_too(results):
    text = printed(results)
    # Best first: of each mask one, and one second, in SSIM as in PSNR.
    for sign in "*'":
        assert len(re.findall(rf"\d±\d+\.\d+{re.escape(sign)}", text)) == 2 * len(MASKS["ixi"])
    table = pd.read_csv(results / "tables/table_1.csv")
    for row in table[table["psnr_rank"] == 1].itertuples():
        assert f"{row.psnr_mean:.2f}±{row.psnr_std:.2f}*" in text


def test_a_perfect_score_is_printed_as_in_tables(results):
    path = results / "tables/table_1.csv"
    table = pd.read_csv(path, keep_default_na=False)
    one = (table["method"] == "manet") & (table["mask"] == MASKS["ixi"][0])
    table.loc[one, ["psnr_mean", "psnr_std"]] = ["inf", "nan"]
    table.to_csv(path, index=False)
    text = printed(results)
    assert len(re.findall(r" ∞\*", text)) == 1
    assert "inf" not in text
    assert "nan" not in text.casefold()


def test_an_experiment_without_the_table_says_so(results):
    for name in ("10", "ixi"):
        shutil.copyfile(results / "tables/table_1.csv", results / f"tables/table_{name}.csv")
    for name in ("2", "", "../table_1"):
        with pytest.raises(BadInput) as told:
            printed(results, name)
        assert str(told.value).endswith(f"demo has no table {name!r}; choose one of 1, 10, ixi")
    with pytest.raises(BadInput, match="no such folder"):
        printed(results / "nowhere")
    (results / "tables" / "table_1.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match="column label is missing"):
        printed(results)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n1,2,3\n", b"\xff\xfe\x00", b'a,b\n"'])
def test_a_damaged_table_is_named(results, content):
    (results / "tables" / "table_1.csv").write_bytes(content)
    with pytest.raises(BadInput, match=r"table_1\.csv: not a table \(.*\); delete it and make it again"):
        printed(results)


def test_a_table_without_a_row_is_named(results):
    path = results / "tables" / "table_1.csv"
    path.write_text(path.read_text().splitlines()[0])
    with pytest.raises(BadInput, match=r"table_1\.csv: holds no row; delete it"):
        printed(results)
