"""Metrics: found as files, scored in both conventions, in metrics.parquet and tables, checked."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up_results import (
    LABELS,
    definition,
    metric_rows,
    read_definition,
    write_mask_json,
    write_records,
    write_statistics,
)
from published_masks import MASKS
from tiny_runs import spec_content, tiny_spec, write_mask, write_splits, zero_filling_spec

from data_prep.contracts.checking import problem_with
from data_prep.errors import BadInput
from data_prep.io.command import call
from workflow import check_metric
from workflow.evaluate.__main__ import main
from workflow.evaluate.evaluation import Evaluation, write_evaluation
from workflow.metrics import library
from workflow.metrics.contract import KEY_COLUMNS, STANDARD, Metric, metrics, with_standard
from workflow.metrics.volume import metrics_of, scores_of
from workflow.provenance.sources import metric_sources, module_sources
from workflow.run.identity import training_identity, training_sources
from workflow.run.spec import RunSpec
from workflow.statistics.gather import gather
from workflow.tables import __main__ as tables

HFEN = metrics()["hfen"][1]
DEFINITION = """
from workflow.metrics.contract import Metric
METRIC = Metric({}, "X", "what it is", False, 0.0, 3, max)
"""


# ---- discovery ------------------------------------------------------------------------------------


def test_hidden_copies_and_leftovers_are_no_metrics(tmp_path, monkeypatch):
    for name in ("._mine.py", ".mine.py", "mine.py~", "#mine.py#", "__pycache__/mine.cpython-311.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".#mine.py").symlink_to("nowhere")
    monkeypatch.setattr(library, "__path__", [*library.__path__, str(tmp_path)])
    metrics.cache_clear()
    try:
        assert list(metrics()) == ["hfen", "nmse", "psnr", "ssim"]
    finally:
        metrics.cache_clear()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "METRIC is no Metric"),
        (DEFINITION.format("'hfen'"), "has the id 'hfen' too"),
        (DEFINITION.format("'psnr'"), "has the id 'psnr' too"),
        (DEFINITION.format("'seed'"), "id 'seed' is the name of another column"),
        (DEFINITION.format("'ssim_paper'"), "id 'ssim_paper' ends as other columns of a table do"),
        (DEFINITION.format("'psnr_seed'"), "id 'psnr_seed' ends as other columns of a table do"),
        (DEFINITION.format("'My metric'"), "id is 'My metric'"),
        (DEFINITION.format("'mine'").replace("0.0, 3", "0.0, '3'"), "digits is '3'; give a whole number"),
        (DEFINITION.format("'mine'").replace("False", "'false'"), "rising is 'false'; give True or False"),
        ("import no_such_package", r"ModuleNotFoundError: .*'no_such_package' \(.*zz_mine\.py, line 1"),
        ("METRIC = (", r"SyntaxError: .*zz_mine\.py, line 1"),
        (DEFINITION.format("'mine'").replace("max", "scores=max"), "TypeError: .*'scores'.*line 3"),
        ("import sys\nsys.exit(2)", "SystemExit: 2 .*line 2"),
    ],
)
def test_a_broken_file_is_named(tmp_path, monkeypatch, text, reason):
    (tmp_path / "zz_mine.py").write_text(text)
    monkeypatch.setattr(library, "__path__", [*library.__path__, str(tmp_path)])
    metrics.cache_clear()
    try:
        with pytest.raises(BadInput, match=rf"zz_mine\.py: .*{reason}"):
            metrics()
    finally:
        metrics.cache_clear()
        sys.modules.pop("workflow.metrics.library.zz_mine", None)


# ---- scores ---------------------------------------------------------------------------------------


def volumes(seed=0):
    generator = np.random.default_rng(seed)
    target = generator.random((3, 32, 40))
    return target, target + 0.1 * generator.standard_normal(target.shape)


def test_slices_and_the_volume_are_scored_by_themselves():
    target, image = volumes()
    slices, volume = scores_of(["hfen"], target.astype(np.float32), image.astype(np.float32))
    target, image = (values.astype(np.float32).astype(np.float64) for values in (target, image))
    assert volume["hfen"] == HFEN.score(target, image)
    assert slices["hfen"].tolist() == [HFEN.score(target[i : i + 1], image[i : i + 1]) for i in range(3)]


def test_a_slice_that_is_not_finite_has_no_score_nor_has_its_volume():
    target, image = volumes()
    image[1, 4, 4] = np.inf
    slices, volume = scores_of(["hfen"], target, image)
    assert np.isnan(slices["hfen"]).tolist() == [False, True, False]
    assert math.isnan(volume["hfen"])


@pytest.mark.parametrize("case", ["plain", "broken slice", "empty slice", "equal"])
def test_the_papers_metrics_computed_together_are_those_of_their_files_to_the_bit(case):
    target, image = (values.astype(np.float32) for values in volumes())
    if case == "broken slice":
        image[1, 4, 4] = np.inf
    elif case == "empty slice":
        target[2] = 0
    elif case == "equal":
        image = target.copy()
    for together, alone in zip(metrics_of(target, image), scores_of(STANDARD, target, image), strict=True):
        assert together.keys() == alone.keys()
        for name, value in together.items():
            np.testing.assert_array_equal(value, alone[name], err_msg=name)


def test_naming_and_ranking_metrics_loads_no_heavy_library():
    code = (
        "import sys\nfrom workflow.metrics.contract import metrics\nmetrics()\n"
        "print(sorted({'torch', 'scipy', 'skimage', 'pandas'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


# ---- the spec -------------------------------------------------------------------------------------


def test_a_metric_that_is_added_changes_the_spec_but_no_training():
    plain, scored = tiny_spec(), tiny_spec(metrics=["hfen"])
    assert "metrics" not in json.loads(plain.canonical())
    assert json.loads(scored.canonical())["metrics"] == ["hfen"]
    assert training_identity(plain, {}, "m") == training_identity(scored, {}, "m")
    assert not [name for name in training_sources("unet", "random_4x") if "metrics" in name]
    for chosen, problem in (
        (["hfne"], "'hfne' is unknown; known: hfen, nmse, psnr, ssim"),
        ("hfen", "metrics is 'hfen', not a list"),
    ):
        with pytest.raises(BadInput, match=problem):
            RunSpec.from_json(json.dumps(spec_content(metrics=chosen)))


def test_a_metrics_file_is_a_source_of_those_who_name_it_only():
    own = "workflow/metrics/library/hfen.py"
    assert own in metric_sources(["hfen"])
    assert own not in metric_sources([])
    always = {f"workflow/metrics/library/{name}.py" for name in STANDARD}
    assert always <= set(metric_sources([]))
    for step in ("train", "evaluate", "tables", "statistics.significance"):
        assert own not in module_sources(f"workflow.{step}")
    for step in ("train", "evaluate", "trust.probe"):
        assert "workflow/metrics/formulas.py" in module_sources(f"workflow.{step}")


def scored(folder, monkeypatch, **changes):
    """The rows of metrics.csv of zero filling."""
    data, mask = write_splits(folder), write_mask(folder)
    spec = zero_filling_spec(**changes).canonical()
    arguments = ["--spec", spec, "--data", str(data), "--mask", str(mask), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments, "--output", str(folder / "out")])
    call(main)
    return pd.read_csv(folder / "out/metrics.csv")


def test_an_evaluation_has_it_for_every_slice_and_volume_and_nothing_else_changes(tmp_path, monkeypatch):
    plain = scored(tmp_path / "plain", monkeypatch)
    more = scored(tmp_path / "more", monkeypatch, metrics=["hfen"])
    assert "hfen" not in plain
    assert (more["hfen"] > 0).all()
    assert set(more["level"]) == {"slice", "volume"}
    pd.testing.assert_frame_equal(more.drop(columns="hfen"), plain, check_exact=True)


# ---- files and tables -----------------------------------------------------------------------------


def rows_with_hfen():
    metrics = metric_rows("ixi", MASKS["ixi"][:2], LABELS["ixi"], volumes=8)
    return metrics.assign(hfen=2 * metrics["nmse"] ** 0.5)


def test_the_column_goes_from_the_run_to_the_table_of_all_runs(tmp_path):
    made = rows_with_hfen()
    for number, (_, of_run) in enumerate(made.groupby(["mask", "method"])):
        evaluation = Evaluation(with_standard(["hfen"]), of_run.to_dict("records"))
        write_evaluation(evaluation, tmp_path / str(number))
    paths = sorted(tmp_path.glob("*/metrics.csv"))
    header = paths[0].read_text().splitlines()[0].split(",")
    assert header == [*KEY_COLUMNS, "ssim", "psnr", "nmse", "hfen"]
    joined = gather(paths, ["hfen"])
    keys = ["mask", "method", "subject", "slice"]
    expected = made.set_index(keys)["hfen"].sort_index()
    found = joined.set_index(keys)["hfen"].sort_index()
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-14)
    assert "hfen" not in gather(paths)
    with pytest.raises(BadInput, match=r"metrics.csv: column nmae is missing"):
        gather(paths, ["nmae"])


def test_every_table_has_it_tested_ranked_and_explained(tmp_path):
    metrics = rows_with_hfen()
    metrics.to_parquet(tmp_path / "metrics.parquet")
    text = definition(1, "ixi", MASKS["ixi"][:2], LABELS["ixi"], numeral="I", metrics=["hfen"])
    wanted = read_definition(text)
    write_mask_json(tmp_path, "ixi", wanted.masks)
    write_records(tmp_path, wanted)
    write_statistics(tmp_path, wanted, metrics)
    tables.write_table(wanted, tmp_path, "0" * 64, tmp_path / "tables")
    table = pd.read_csv(tmp_path / "tables/table_1.csv")
    own = metrics[(metrics["level"] == "volume") & (metrics["mask"] == wanted.masks[0])]
    for row in table[table["mask"] == wanted.masks[0]].to_dict("records"):
        scores = own.loc[own["method"] == row["method"], "hfen"]
        assert row["hfen_mean"] == pytest.approx(scores.mean(), rel=1e-8)
        assert row["hfen_std"] == pytest.approx(scores.std(ddof=0), rel=1e-8)
    best = table.loc[table["hfen_rank"] == 1]
    assert (best["hfen_mean"] == table.groupby("mask")["hfen_mean"].transform("min")[best.index]).all()
    assert "hfen_paper_mean" not in table
    for kind in ("md", "tex", "html"):
        page = (tmp_path / f"tables/table_1.{kind}").read_text()
        assert page.count("HFEN") >= 3
        assert "Laplacian of a Gaussian" in page
    statistics = pd.read_csv(tmp_path / "statistics/table_1.csv")
    assert set(statistics["metric"]) == {"ssim", "psnr", "nmse", "hfen"}
    # Five methods make ten pairs, under two masks and four metrics.
    assert set(statistics["tests"].dropna()) == {80}


def test_a_value_that_is_undefined_for_one_seed_is_not_averaged_away(tmp_path):
    masks = MASKS["ixi"][:1]
    metrics = metric_rows("ixi", masks, LABELS["ixi"], seeds=(0, 1), volumes=8).assign(hfen=0.5)
    metrics["hfen"] += 0.01 * np.arange(len(metrics)) / len(metrics)
    lost = (metrics["method"] == "manet") & (metrics["seed"] == 1) & (metrics["subject"] == "IXI903")
    metrics.loc[lost, "hfen"] = np.nan
    metrics.to_parquet(tmp_path / "metrics.parquet")
    text = definition(1, "ixi", masks, LABELS["ixi"], numeral="I", metrics=["hfen"], seeds=[0, 1])
    wanted = read_definition(text)
    write_mask_json(tmp_path, "ixi", wanted.masks)
    write_records(tmp_path, wanted)
    write_statistics(tmp_path, wanted, metrics)
    tables.write_table(wanted, tmp_path, "0" * 64, tmp_path / "tables")
    table = pd.read_csv(tmp_path / "tables/table_1.csv").set_index("method")
    assert np.isnan(table.loc["manet", "hfen_mean"])
    assert np.isfinite(table.loc["manet", "ssim_mean"])
    assert np.isfinite(table["hfen_seed_std"]).tolist() == [method != "manet" for method in table.index]
    assert sorted(table["hfen_rank"].dropna()) == [1, 2, 3, 4]
    page = (tmp_path / "tables/table_1.md").read_text()
    assert "undefined" in page
    assert "diverged" not in page
    pairs = pd.read_csv(tmp_path / "statistics/pairs_1.csv")
    assert "manet" not in set(pairs.loc[pairs["metric"] == "hfen", ["method_a", "method_b"]].stack())
    # Ten pairs under each of three metrics, six under the one that MANet lacks.
    assert set(pairs["tests"]) == {36}
    (row,) = (
        pd.read_csv(tmp_path / "statistics/table_1.csv")
        .query("metric == 'hfen' and method == 'manet'")
        .to_dict("records")
    )
    assert pd.isna([row["mean"], row["best"], row["verdict"]]).all()


def test_a_missing_column_and_an_unknown_metric_are_named(tmp_path):
    text = definition(1, "ixi", MASKS["ixi"][:1], LABELS["ixi"], numeral="I", metrics=["hfen"])
    wanted = read_definition(text)
    with pytest.raises(BadInput, match="column hfen is missing"):
        write_statistics(tmp_path, wanted, rows_with_hfen().drop(columns="hfen"))
    with pytest.raises(BadInput, match="metric 'nothing' is unknown; known: hfen, nmse, psnr, ssim"):
        read_definition(definition(1, "ixi", MASKS["ixi"][:1], {}, numeral="I", metrics=["nothing"]))


# ---- the contract check ---------------------------------------------------------------------------


def of(score, **changes):
    return replace(HFEN, score=score, **changes)


def absolute(target, reconstruction):
    return float(np.abs(reconstruction - target).mean())


def spoiling(target, reconstruction):
    value = HFEN.score(target, reconstruction)
    reconstruction *= 0.5
    return value


FAULTS = [
    ("form", of(lambda t, r: np.array([1.0])), "ndarray, no float"),
    ("form", of(lambda t, r: float("inf")), "the value is inf (1x32x32"),
    ("perfection", of(HFEN.score, perfect=1.0), "it has 0.0, but perfect is 1.0"),
    ("direction", of(HFEN.score, rising=True), "rising is true, but under noise of 0, 0.01"),
    ("direction", of(lambda t, r: float(np.sign(HFEN.score(t, r)))), "the values are 0, 1, 1, 1"),
    ("unit", of(absolute), "scanners' units are arbitrary"),
    ("purity", of(spoiling), "an image is changed"),
    ("purity", of(lambda t, r: float(np.random.default_rng().random())), "at the second call"),
    ("silence", of(lambda t, r: 0.0), "the value is 0.0, not NaN"),
    ("silence", of(lambda t, r: float(np.sum(r) / np.sum(t))), "FloatingPointError"),
]


@pytest.mark.parametrize(("name", "metric", "problem"), FAULTS)
def test_a_fault_is_found(name: str, metric: Metric, problem: str, tmp_path):
    found = problem_with(check_metric.CHECKS[name], metric, tmp_path)
    assert found is not None
    assert problem in found


def test_the_command_ends_with_status_1_where_a_check_fails(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["check_metric", "hfen"])
    call(check_metric.main)
    assert "6 of 6 checks passed" in capsys.readouterr().out
    monkeypatch.setitem(metrics(), "hfen", ("workflow.metrics.library.hfen", of(absolute)))
    with pytest.raises(SystemExit) as end:
        call(check_metric.main)
    assert end.value.code == 1
    assert "FAIL  The unit of the images does not matter" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["check_metric", "nothing"])
    with pytest.raises(BadInput, match="metric 'nothing' is unknown"):
        call(check_metric.main)
