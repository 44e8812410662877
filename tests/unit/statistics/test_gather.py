"""All runs in one table: exact numbers, one order, nothing twice and nothing missing."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_results import planned, write_record

from data_prep.errors import BadInput
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import converted
from workflow.evaluate.evaluation import Evaluation, write_evaluation
from workflow.provenance.runs import Planned
from workflow.statistics.gather import gather
from workflow.statistics.scores import read_metrics
from workflow.trust import gather as gather_probes

ROOT = Path(__file__).parents[3]


def write(path: Path, method: str, mask: str = "1d_uniform_6x", seed: int = 0, **changes: object) -> Path:
    """A run's metrics.csv as evaluation writes it: two subjects of two slices."""
    generator = np.random.default_rng(sum(map(ord, method + mask)) + seed)
    rows = [
        {
            "dataset": "ixi",
            "mask": mask,
            "pattern": "1d_uniform",
            "acceleration": 6,
            "method": method,
            "seed": seed,
            "subject": subject,
            "slice": number,
            "level": "volume" if number < 0 else "slice",
            "blank": 0,
            "ssim": generator.random(),
            "psnr": generator.normal(30, 3),
            "nmse": generator.random() * 1e-3,
            **changes,
        }
        for subject, number in itertools.product(("IXI901-HH-0001", "IXI900-HH-0002"), (0, 1, -1))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_gathering_expects_what_evaluation_writes(tmp_path):
    write_evaluation(Evaluation(), tmp_path)
    header = (tmp_path / "metrics.csv").read_text().strip().split(",")
    assert list(gather([write(tmp_path / "run.csv", "zf")])) == header


def test_numbers_and_their_order_do_not_depend_on_the_order_of_the_files(tmp_path):
    files = [write(tmp_path / name / "metrics.csv", name) for name in ("zf", "unet", "manet")]
    tables = [gather(list(order)) for order in itertools.permutations(files)]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)
    assert len(tables[0]) == 18
    assert list(tables[0]["method"].unique()) == ["manet", "unet", "zf"]


def test_every_number_arrives_as_written(tmp_path):
    generator = np.random.default_rng(3)
    values = np.exp(generator.normal(0, 30, 600)).tolist()
    values[:4] = [0.1, 5e-324, 1.7976931348623157e308, 33.123456789012345]
    row = pd.read_csv(write(tmp_path / "metrics.csv", "unet")).iloc[0].to_dict()
    lines = [",".join(map(str, (row | {"slice": i, "psnr": repr(v)}).values())) for i, v in enumerate(values)]
    path = tmp_path / "many.csv"
    path.write_text("\n".join([",".join(row), *lines]))
    assert gather([path]).sort_values("slice")["psnr"].tolist() == values


def test_a_diverged_run_stays_in_the_table(tmp_path):
    good, bad = (
        write(tmp_path / "a.csv", "unet"),
        write(tmp_path / "b.csv", "manet", ssim=np.nan, psnr=np.nan),
    )
    table = gather([good, bad])
    assert table.loc[table["method"] == "manet", "psnr"].isna().all()
    assert table.loc[table["method"] == "unet", "psnr"].notna().all()


def test_the_same_row_twice_is_refused(tmp_path):
    first, second = write(tmp_path / "a.csv", "unet"), write(tmp_path / "b.csv", "unet", seed=1)
    assert len(gather([first, second])) == 12
    write(second, "unet")
    with pytest.raises(BadInput, match=r"a\.csv and \S*b\.csv: the row .*'method': 'unet'.* is there twice"):
        gather([first, second])


def test_a_file_without_a_column_is_refused_by_name(tmp_path):
    path = write(tmp_path / "metrics.csv", "unet")
    pd.read_csv(path).drop(columns="psnr").to_csv(path, index=False)
    with pytest.raises(BadInput, match=r"metrics\.csv: column psnr is missing; delete the file"):
        gather([path])


@pytest.mark.parametrize("subject", ["0001", "1e3", "NA", "nan", "None", "TRUE", "12345678901234567890"])
def test_a_text_arrives_as_written(tmp_path, subject):
    path = write(tmp_path / "metrics.csv", "unet", subject=subject, slice=0)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert gather([path])["subject"].tolist() == [subject]


def test_ids_that_are_the_same_number_are_other_subjects(tmp_path):
    files = [write(tmp_path / f"{name}.csv", "unet", subject=name) for name in ("001", "01", "1")]
    for path in files:
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert gather(files)["subject"].tolist() == ["001", "01", "1"]


def test_ids_of_probed_subjects_arrive_as_written(tmp_path):
    values = dict.fromkeys(gather_probes.COLUMNS, 1) | {"subject": "0001", "condition": "NA", "value": np.nan}
    pd.DataFrame([values]).to_csv(tmp_path / "probes.csv", index=False)
    row = gather_probes.gather([tmp_path / "probes.csv"]).iloc[0]
    assert (row["subject"], row["condition"]) == ("0001", "NA")
    assert np.isnan(row["value"])


def test_infinite_and_missing_scores_are_numbers(tmp_path):
    path = write(tmp_path / "metrics.csv", "unet", psnr=np.inf, ssim="nan", nmse="")
    table = gather([path])
    assert np.isinf(table["psnr"]).all()
    assert table[["ssim", "nmse"]].isna().all(axis=None)


@pytest.mark.parametrize("damage", [b"", b'dataset,mask\n"', b"\xff\xfe\x00"])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    good, path = write(tmp_path / "good.csv", "zf"), tmp_path / "metrics.csv"
    path.write_bytes(damage)
    with pytest.raises(BadInput, match=r"/metrics\.csv: .*; delete the file and run the workflow again"):
        gather([good, path])


def test_a_score_that_is_no_number_is_refused_by_file(tmp_path):
    path = write(tmp_path / "metrics.csv", "unet")
    path.write_text(path.read_text().replace("unet,0,", "unet,zero,", 1))
    with pytest.raises(BadInput, match=r"metrics\.csv: not a table \(.*zero.*\); delete the file"):
        gather([path])


def test_a_table_whose_lines_are_all_longer_than_its_head_is_refused(tmp_path):
    path = write(tmp_path / "metrics.csv", "unet")
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *(f"{line},1" for line in lines)]))
    with pytest.raises(BadInput, match=r"metrics\.csv: not a table \(lines are longer than the first\)"):
        gather([path])


def command(root: Path, *runs: str) -> subprocess.CompletedProcess[str]:
    """Gather made-up runs, which the plan has as their records say, to ``metrics.parquet``."""
    names = (run.split("/") for run in runs)
    groups = [one for name in names for one in planned("ixi", [name[1]], [name[2]], [0])]
    words = [
        "--results",
        str(root),
        "--planned",
        json.dumps(groups),
        "--output",
        str(root / "metrics.parquet"),
    ]
    program = [sys.executable, "-m", "workflow.statistics.gather", *words]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)


def write_run(root: Path, method: str) -> str:
    run = f"ixi/1d_uniform_6x/{method}/seed0"
    path = write(root / "runs" / run / "metrics.csv", method)
    write_record(root, run, outputs={"metrics.csv": file_sha256(path)})
    return run


def test_the_command_writes_the_whole_file_or_none(tmp_path):
    run, output = write_run(tmp_path, "unet"), tmp_path / "metrics.parquet"
    assert command(tmp_path, run).returncode == 0
    scores = tmp_path / "runs" / run / "metrics.csv"
    pd.testing.assert_frame_equal(pd.read_parquet(output), gather([scores]), check_exact=True)
    before = output.read_bytes()
    failed = command(tmp_path, run, run)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert output.read_bytes() == before
    missing = command(tmp_path, run, "ixi/1d_uniform_6x/manet/seed0")
    assert (missing.returncode, output.read_bytes()) == (1, before)
    assert "manet/seed0/metrics.csv: no such file" in missing.stderr
    assert sorted(path.name for path in tmp_path.glob("*.p*")) == ["metrics.parquet"]


def test_what_was_gathered_from_other_runs_is_not_shown(tmp_path):
    run, path = write_run(tmp_path, "unet"), tmp_path / "metrics.parquet"
    shown = [converted(Planned, one, "", "") for one in planned("ixi", ["1d_uniform_6x"], ["unet", "manet"])]
    assert command(tmp_path, run).returncode == 0
    assert len(read_metrics(path, shown)) == 6
    # Evaluated anew since, and not gathered.
    write_record(tmp_path, run, outputs={"metrics.csv": "another"})
    with pytest.raises(
        BadInput, match=rf"metrics\.parquet: holds other scores of runs/{run} than it has now"
    ):
        read_metrics(path, shown)
    (tmp_path / "runs" / run / "run.json").unlink()
    with pytest.raises(
        BadInput, match=rf"metrics\.parquet: holds other scores of runs/{run} than it has now"
    ):
        read_metrics(path, shown)
    write_run(tmp_path, "unet")
    write_run(tmp_path, "manet")
    with pytest.raises(BadInput, match="holds other scores of runs/ixi/1d_uniform_6x/manet/seed0"):
        read_metrics(path, shown)
