"""Copied files get the times of Snakemake's records back, or none does."""

import json
import os
import shutil
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from made_up_results import run_record

from data_prep.errors import BadInput
from data_prep.io.json_files import write_json
from workflow.provenance.__main__ import record
from workflow.restore_times import recorded_times, restore

# The last one's record does not fit into one name.
NAMES = ("metrics.parquet", "data/ixi/test.h5", f"runs/ixi/{'m' * 150}/{'m' * 150}/run.json")
CONFIG = {"experiment": "tiny", "seed": 1, "datasets": {"ixi": {"matrix": 64}}}


def write_record(records: Path, name: str, time: float | None) -> None:
    """As Snakemake does: named in base64, continued below folders where that is too long for one file."""
    encoded = urlsafe_b64encode(name.encode()).decode()
    parts = [encoded[start : start + 254] for start in range(0, len(encoded), 254)]
    path = records.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rule": "any", "endtime": time}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with results, whose records say another time for each file."""
    for name in NAMES:
        path = tmp_path / "results" / "tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(run_record()) if name.endswith("json") else name)
    results = tmp_path / "results" / "tiny"
    write_json(results / "provenance.json", record(results, "tiny", CONFIG))
    for number, path in enumerate(files(results)):
        relative = path.relative_to(tmp_path).as_posix()
        write_record(tmp_path / "records", relative, 1_700_000_000.25 + number)
    return tmp_path


def files(results: Path) -> list[Path]:
    return sorted(path for path in results.rglob("*") if path.is_file())


def times(results: Path) -> list[float]:
    return [path.stat().st_mtime for path in files(results)]


def test_every_file_gets_its_own_time(root: Path) -> None:
    results = root / "results" / "tiny"
    assert any(path.name.startswith("@") for path in (root / "records").iterdir())
    assert restore(results, root / "records", root) == 4
    assert times(results) == [1_700_000_000.25 + number for number in range(4)]


def test_files_without_a_record_or_a_listing_are_left_alone(root: Path) -> None:
    results = root / "results" / "tiny"
    added = results / "added.csv"
    added.write_text("mine")
    write_record(root / "records", "results/tiny/added.csv", 5.0)
    write_record(root / "records", "results/tiny/metrics.parquet", None)
    write_record(root / "records", "results/other/metrics.parquet", 5.0)
    (results / "data/ixi/test.h5").unlink()
    before = {path: path.stat().st_mtime for path in (added, results / "metrics.parquet")}
    assert restore(results, root / "records", root) == 2
    assert {path: path.stat().st_mtime for path in before} == before


def test_a_changed_file_is_named_and_no_time_is_set(root: Path) -> None:
    results = root / "results" / "tiny"
    (results / "data/ixi/test.h5").write_text("spoilt")
    before = times(results)
    with pytest.raises(BadInput, match=r"such as data/ixi/test\.h5; .*workflow\.verify"):
        restore(results, root / "records", root)
    assert times(results) == before


def test_records_that_are_missing_damaged_or_of_another_place_are_told(root: Path) -> None:
    results, records = root / "results" / "tiny", root / "records"
    with pytest.raises(BadInput, match="no such folder; copy it"):
        restore(results, root / "none", root)
    (records / "not base64!").write_text("{}")
    with pytest.raises(BadInput, match="not a record of Snakemake"):
        recorded_times(records)
    shutil.rmtree(records)
    write_record(records, "results/other/metrics.parquet", 5.0)
    with pytest.raises(BadInput, match="holds no record of a file in"):
        restore(results, records, root)
    os.truncate(next(path for path in records.iterdir()), 3)
    with pytest.raises(BadInput, match="not JSON"):
        restore(results, records, root)


def test_results_outside_the_repository_are_told_where_to_go(root: Path) -> None:
    results = root / "results" / "tiny"
    before = times(results)
    with pytest.raises(BadInput, match=r"tiny: not below .*elsewhere.*; copy it there"):
        restore(results, root / "records", root / "elsewhere")
    assert times(results) == before
