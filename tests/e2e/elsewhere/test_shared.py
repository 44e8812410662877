"""One preparation for many experiments: what they agree in is there once, also where two run at a time."""

from collections import Counter
from typing import Any

import pytest
from workspace import SHARED, Workspace

# What makes raw scans, aligned subjects and split files.
PREPARING = {"fetch_donor", "embed_ixi", "embed_fastmri", "embed_fastmri_lists", "align", "prepare"}


def named(workspace: Workspace, name: str, **training: Any) -> Any:
    """The tiny configuration as an experiment of another name."""

    def change(content: Any) -> None:
        content["experiment"] = name
        content["training"].update(training)

    return workspace.configure(change, f"tests/e2e/{name}.yaml")


def contents(workspace: Workspace) -> dict[str, bytes]:
    """Every shared array and table, by place."""
    files = (path for path in workspace.shared.rglob("[!.]*") if path.is_file())
    return {str(path.relative_to(workspace.shared)): path.read_bytes() for path in files}


def test_another_experiment_prepares_nothing(workspace: Workspace) -> None:
    planned = workspace.dry(config=named(workspace, "other", batch_size=2))
    assert planned.rules["train"] == 13
    assert not PREPARING & set(planned.rules)
    assert planned.rules["places"] == 2


def test_other_splits_reuse_the_alignment(workspace: Workspace) -> None:
    def change(content: Any) -> None:
        content["experiment"] = "split"
        content["datasets"]["ixi"]["splits"] = {"train": 1, "val": 1, "test": 2}

    planned = workspace.dry("prepared_data", config=workspace.configure(change))
    assert planned.rules == {"prepare": 1, "mask": 2}
    assert {job["dataset"] for job in planned.jobs if job.rule == "prepare"} == {"ixi"}


@pytest.mark.parametrize(
    ("dataset", "key", "value", "again"),
    [
        ("ixi", "slices", 2, {"align", "prepare"}),
        ("ixi", "slice_spacing", 7.0, {"embed_ixi", "align", "prepare"}),
        ("ixi", "noise", 0.2, set()),
        ("ixi", "phase", "smooth", set()),
        ("fastmri", "register", False, {"align", "prepare"}),
    ],
)
def test_what_files_depend_on_makes_new_ones_and_nothing_else_does(
    workspace: Workspace, dataset: str, key: str, value: object, again: set[str]
) -> None:
    config = workspace.configure(lambda content: content["datasets"][dataset].update({key: value}))
    planned = workspace.dry("prepared_data", config=config)
    assert PREPARING & set(planned.rules) == again
    assert {job["dataset"] for job in planned.jobs if job.rule in again} <= {dataset}
    # The old ones stay as they are.
    assert NOT_MADE_AGAIN not in planned.output


NOT_MADE_AGAIN = "Params have changed since last execution"


def test_what_others_plan_leaves_nothing_to_do_here(workspace: Workspace) -> None:
    assert workspace.dry().jobs == set()


def test_two_runs_at_a_time_prepare_once(copy: Workspace) -> None:
    before = contents(copy)
    for kind in ("aligned", "data"):
        for path in (copy.shared / kind).rglob("[!.]*"):
            # The target does not ask for lists.
            if path.is_file() and not path.name.endswith("_pairs.csv"):
                path.unlink()
    configs = [named(copy, name) for name in ("one", "two")]
    with (
        copy.running("prepared_data", config=configs[0], cores=1) as one,
        copy.running("prepared_data", config=configs[1], cores=1) as two,
    ):
        outcomes = [one.end(), two.end()]
    assert [outcome.status for outcome in outcomes] == [0, 0], "\n".join(
        outcome.output for outcome in outcomes
    )
    together = sum((outcome.rules for outcome in outcomes), Counter[str]())
    # Each file was made by one of the two; masks are each experiment's own.
    assert together == {"align": 8, "prepare": 2, "mask": 4}
    assert "waiting for another run, which makes files in results/shared/" in "".join(
        outcome.output for outcome in outcomes
    )
    assert contents(copy) == before
    for config in configs:
        assert copy.dry("prepared_data", config=config).jobs == set()


@pytest.mark.parametrize(
    "target", ["figures/figure_5.png", "figures/training_curves_ixi.png", "trust/probes.parquet"]
)
def test_what_reads_runs_waits_for_what_tells_of_their_data(fresh: Workspace, target: str) -> None:
    trust = {"masks": {"ixi": ["1d_uniform_6x"]}, "swaps": ["zeroed"]}
    config = fresh.configure(lambda content: content.update(trust=trust))
    planned = fresh.dry(f"results/tiny/{target}", config=config)
    assert planned.rules["places"] == 1


def test_an_experiment_cannot_take_the_shared_folders_name(workspace: Workspace) -> None:
    outcome = workspace.run("--dry-run", config=named(workspace, SHARED.name))
    assert outcome.status != 0
    assert "config: experiment: 'shared' is the folder of what experiments share" in outcome.output
