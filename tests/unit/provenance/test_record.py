"""run.json is read by one reader, whole or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_results import run_record

from data_prep.errors import BadInput
from data_prep.io.json_files import write_json
from workflow.provenance.record import read_run

TRAINED: dict[str, Any] = {
    "epochs": 3,
    "converged": None,
    "diverged_step": 4,
    "environments": [{"torch": "2", "device": "cpu"}],
    "restarts": 0,
    "refused_states": [],
    "micro_batch": None,
    "notes": [],
    "energy_joules": None,
    "best_epoch": None,
    "training_hash": "a",
    "tuning": None,
}


@pytest.mark.parametrize("more", [{}, {"best_epoch": 2}, TRAINED], ids=["old", "one", "all"])
def test_what_a_run_says_is_read_and_written_as_it_stands(tmp_path: Path, more: dict[str, Any]) -> None:
    content = run_record(**more)
    (tmp_path / "run.json").write_text(json.dumps(content))
    write_json(tmp_path / "again.json", read_run(tmp_path))
    # What every run says since is null where an older one left it out.
    later = {"best_epoch": None, "training_hash": None, "tuning": None, "outputs": {}}
    assert json.loads((tmp_path / "again.json").read_text()) == later | content


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"status": 1}, "field status is 1, not a text"),
        ({"seconds": {"reconstruction": 1, "metrics": 1}}, r"field seconds\.total is missing"),
        ({"restarts": "two"}, "field restarts is 'two', not a whole number"),
        ({"sead": 1}, "field sead is unknown"),
    ],
)
def test_a_damaged_one_is_refused_by_file_field_and_remedy(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    (tmp_path / "run.json").write_text(json.dumps(run_record(**changes)))
    with pytest.raises(BadInput, match=rf"run\.json: {what}; delete it and run the workflow again$"):
        read_run(tmp_path)


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"run\.json: no such file; finish this run first"):
        read_run(tmp_path)
