"""Who gathers runs gets those of the plan, with the files that they tell of, or a refusal by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_results import planned, sha256, write_record

from data_prep.errors import BadInput
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import converted
from workflow.provenance.runs import Planned, identity_of, read_runs, run_identity

MASK = "1d_uniform_6x"
RUN = f"ixi/{MASK}/unet/seed0"
SPEC = {"dataset": "ixi", "method": "unet", "noise": 0.3, "training": {"epochs": 2, "batch_size": 4}}
(PLANNED,) = [
    converted(Planned, one | {"spec": SPEC}, "", "") for one in planned("ixi", [MASK], ["unet"], (0, 1))
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One of two planned runs is there."""
    changed(tmp_path)
    return tmp_path


def changed(root: Path, **changes: Any) -> None:
    """Write the run anew, with changes of its record."""
    scores = root / "runs" / RUN / "metrics.csv"
    scores.parent.mkdir(parents=True, exist_ok=True)
    scores.write_text("scores")
    spec = json.loads(json.dumps(SPEC)) | {"mask": MASK, "seed": 0}
    outputs = {"metrics.csv": file_sha256(scores)}
    write_record(root, RUN, **{"spec": spec, "outputs": outputs, **changes})


def test_runs_as_planned_are_read_and_those_that_are_not_there_passed_over(results: Path) -> None:
    assert list(read_runs(results, [PLANNED], "metrics.csv", "model.ckpt")) == [RUN]


def other_spec(root: Path) -> None:
    changed(
        root, spec={**SPEC, "mask": MASK, "seed": 0, "noise": 0.1, "training": {"epochs": 1, "batch_size": 4}}
    )


def other_seed(root: Path) -> None:
    changed(root, spec={**SPEC, "mask": MASK, "seed": 1})


def other_mask(root: Path) -> None:
    (root / "masks" / "ixi" / f"{MASK}.json").write_text(json.dumps({"sha256": sha256("of another seed")}))


def other_data(root: Path) -> None:
    changed(root, data_fingerprints={"test": sha256("of other subjects")})


def other_preparation(root: Path) -> None:
    path = root / "data" / "ixi" / "prepared.json"
    path.write_text(json.dumps({"configuration": sha256("of another matrix"), "fingerprints": {}}))


def other_scores(root: Path) -> None:
    (root / "runs" / RUN / "metrics.csv").write_text("other scores")


def other_weights(root: Path) -> None:
    (root / "runs" / RUN / "model.ckpt").write_text("of a later training")


def no_record(root: Path) -> None:
    (root / "runs" / RUN / "run.json").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            other_spec,
            r"run\.json: this run is of another configuration \(noise is 0\.1, planned is 0\.3; "
            r"training\.epochs is 1, planned is 2\); run the workflow again with --forcerun",
        ),
        (other_seed, r"run\.json: .* \(seed is 1, planned is 0\)"),
        (
            other_mask,
            r"run\.json: this run was sampled by another mask than \S+/masks/ixi/1d_uniform_6x\.json",
        ),
        (other_data, r"run\.json: this run read another test\.h5 than \S+/data/ixi/prepared\.json tells of"),
        (
            other_preparation,
            r"prepared\.json: these scans were prepared for another configuration of datasets\.ixi",
        ),
        (other_scores, r"metrics\.csv: this is not the file that run\.json beside it tells of"),
        (other_weights, r"model\.ckpt: this is not the file that run\.json beside it tells of"),
        (no_record, r"run\.json: no such file; finish this run first"),
    ],
)
def test_a_run_that_is_not_the_planned_one_is_refused_by_name(
    results: Path, change: Callable[[Path], None], said: str
) -> None:
    change(results)
    with pytest.raises(BadInput, match=said):
        read_runs(results, [PLANNED], "metrics.csv", "model.ckpt")


def test_copies_and_times_of_files_mean_nothing(
    results: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copied = shutil.copytree(
        results, tmp_path_factory.mktemp("elsewhere") / "results", copy_function=shutil.copy
    )
    for path in sorted(copied.rglob("*"), reverse=True):
        path.touch()
    assert list(read_runs(copied, [PLANNED], "metrics.csv")) == [RUN]


def test_evaluations_of_one_run_have_one_identity(results: Path) -> None:
    (record,) = read_runs(results, [PLANNED]).values()
    spec = SPEC | {"mask": MASK, "seed": 0}
    own = identity_of(spec, None, sha256(MASK), "")
    assert run_identity(record) == own
    others = [
        (spec, "t", sha256(MASK), ""),
        (spec, None, "m", ""),
        (spec, None, sha256(MASK), "d"),
        (SPEC, None, "", ""),
    ]
    assert own not in {identity_of(*other) for other in others}
