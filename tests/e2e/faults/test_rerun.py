"""A change re-runs what it changes and what follows from that, nothing else."""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from workspace import Job, Outcome, Workspace

# The tiny configuration's tables and figures; all tables and Fig. 9 read metrics.parquet.
TABLES, FIGURES = {"1", "2", "3", "4"}, {"5", "7", "8", "9"}
GATHERED = Job("gather", ())
# What is made from metrics.parquet, the page that shows all of it, and the list of all files.
FOLLOWING = {"significance", "differences", "table", "claims", "index", "provenance"}


def methods(outcome: Outcome, rule: str) -> set[str]:
    return {job["method"] for job in outcome.jobs if job.rule == rule}


def numbers(outcome: Outcome, rule: str) -> set[str]:
    return {job["number"] for job in outcome.jobs if job.rule == rule}


def of_metrics(outcome: Outcome) -> bool:
    """Whether the metrics are gathered again and all tables made from them."""
    return GATHERED in outcome.jobs and numbers(outcome, "table") == TABLES


def test_a_methods_network_repeats_its_own_trainings(workspace: Workspace) -> None:
    with workspace.edited("methods/unet/model.py"):
        outcome = workspace.dry()
    assert set(outcome.rules) == {"train", "gather", "figure", "training_curves"} | FOLLOWING
    assert methods(outcome, "train") == {"unet"}
    assert outcome.rules["train"] == 2  # one per mask
    assert of_metrics(outcome)
    # Fig. 8 shows MANet's ablations only.
    assert numbers(outcome, "figure") == {"5", "7", "9"}


def test_a_changed_default_and_a_redefined_variant_repeat_themselves_alone(workspace: Workspace) -> None:
    changes = {
        "methods/dudornet/method.yaml": ("initial_std: 0.02", "initial_std: 0.03"),
        "methods/manet/method.yaml": ("{fusion: concat}", "{fusion: concat, early_concat: false}"),
    }
    with ExitStack() as stack:
        for name, (old, new) in changes.items():
            text = workspace.path(name).read_text(encoding="utf-8")
            assert old in text
            stack.enter_context(workspace.edited(name, ""))
            workspace.path(name).write_text(text.replace(old, new), encoding="utf-8")
        outcome = workspace.dry()
    assert methods(outcome, "train") == {"dudornet", "manet-no_attention"}
    assert outcome.rules["evaluate"] == 0


def test_what_only_presents_results_is_presented_again(workspace: Workspace) -> None:
    presents = {
        "workflow/figures/__main__.py": ("figure", 4),
        "workflow/tables/__main__.py": ("table", 4),
        "workflow/figures/training_curves.py": ("training_curves", 2),
        "data_prep/datasets/ixi/report.py": ("registration_report", 1),
    }
    with ExitStack() as stack:
        for name in presents:
            stack.enter_context(workspace.edited(name))
        outcome = workspace.dry()
    assert dict(outcome.rules) == dict(presents.values()) | {"claims": 1, "index": 1, "provenance": 1}
    # Each for its own reason, so that each alone would repeat no more.
    for name, (rule, _) in presents.items():
        reasons = {outcome.reasons[job] for job in outcome.jobs if job.rule == rule}
        assert reasons == {f"Updated input files: {name}"}


PAGES = {"claims": 1, "index": 1, "provenance": 1}


@pytest.mark.parametrize(
    ("file", "old", "new", "repeated"),
    [
        ("manet/claims.yaml", "is best in every", "is the best in every", {}),
        ("manet/published.csv", "0.756", "0.757", {"table": 4}),
        ("manet/paper.yaml", "Ablation of MANet", "Ablations of MANet", {"table": 4, "figure": 4}),
    ],
)
def test_a_change_in_a_papers_folder_repeats_what_reads_it_alone(
    workspace: Workspace, file: str, old: str, new: str, repeated: dict[str, int]
) -> None:
    path = f"workflow/papers/{file}"
    text = workspace.path(path).read_text(encoding="utf-8")
    assert old in text
    # Of a paper that is not chosen, nothing is read, whatever is wrong there.
    with workspace.edited(path, ""), workspace.edited("workflow/papers/ramzi/paper.yaml", "\nnonsense: 1\n"):
        workspace.path(path).write_text(text.replace(old, new), encoding="utf-8")
        outcome = workspace.dry()
    assert dict(outcome.rules) == repeated | PAGES


def test_what_changes_no_result_repeats_nothing(workspace: Workspace) -> None:
    with ExitStack() as stack:
        for name in ("README.md", "methods/unet/README.md", "Makefile", "data_prep/errors.py"):
            stack.enter_context(workspace.edited(name))
        assert workspace.dry().jobs == set()


def test_touching_repeats_nothing(workspace: Workspace) -> None:
    for folder in ("data_prep", "methods", "workflow", "tests", "config"):
        for path in workspace.path(folder).rglob("*.*"):
            path.touch()
    assert workspace.dry().jobs == set()


def test_one_datasets_alignment_leaves_the_other_alone(workspace: Workspace) -> None:
    with workspace.edited("data_prep/datasets/fastmri/align.py"):
        outcome = workspace.dry()
    assert {
        job["dataset"] for job in outcome.jobs if job.rule in {"prepare", "mask", "train", "evaluate"}
    } == {"fastmri"}
    assert {job["dataset"] for job in outcome.jobs if job.rule == "align"} == {"fastmri"}
    assert outcome.rules["embed_fastmri"] == 0
    assert outcome.rules["align"] == 4


def test_more_epochs_repeat_trainings_only(workspace: Workspace) -> None:
    epochs = {"ixi": 2, "fastmri": 1}
    changed = workspace.configure(lambda content: content["training"].update(epochs=epochs))
    outcome = workspace.dry(config=changed)
    assert set(outcome.rules) == {"train", "gather", "figure", "training_curves"} | FOLLOWING
    trained = [job["dataset"] for job in outcome.jobs if job.rule == "train"]
    assert trained == ["ixi"] * 8


def test_a_grown_grid_keeps_what_is_there(workspace: Workspace) -> None:
    changed = workspace.configure(lambda content: content["datasets"]["ixi"]["masks"].append("2d_radial_6x"))
    outcome = workspace.dry(config=changed)
    runs = [job for job in outcome.jobs if job.rule in {"mask", "train", "evaluate"}]
    assert {job["mask"] for job in runs} == {"2d_radial_6x"}


def test_a_method_is_added_by_its_folder_alone(copy: Workspace) -> None:
    shutil.copytree(copy.path("methods/zf"), copy.path("methods/nearest"))
    description = copy.path("methods/nearest/method.yaml")
    text = description.read_text(encoding="utf-8")
    assert "id: zf" in text
    assert "label: ZF" in text
    description.write_text(
        text.replace("id: zf", "id: nearest")
        .replace("label: ZF", "label: Nearest")
        .replace("order: 0", "order: 5")
    )
    planned = copy.dry()
    assert set(planned.rules) == {"evaluate", "gather", "figure"} | FOLLOWING
    assert methods(planned, "evaluate") == {"nearest"}
    assert planned.rules["evaluate"] == 2
    assert numbers(planned, "figure") == {"5", "7", "9"}

    before = {number: pd.read_csv(copy.results / f"tables/table_{number}.csv") for number in (1, 2, 3)}
    assert copy.complete().jobs == planned.jobs
    for number in (1, 2):
        table = pd.read_csv(copy.results / f"tables/table_{number}.csv")
        assert list(table["label"][:2]) == ["ZF", "Nearest"]
        of_method = table.set_index("method")
        # It does what zero filling does.
        assert of_method.loc["nearest", "psnr_mean"] == of_method.loc["zf", "psnr_mean"]
        rest = table[table["method"] != "nearest"].reset_index(drop=True)
        kept = [column for column in rest.columns if not column.endswith(("_rank", "_verdict"))]
        pd.testing.assert_frame_equal(rest[kept], before[number][kept], check_exact=True)
    pd.testing.assert_frame_equal(pd.read_csv(copy.results / "tables/table_3.csv"), before[3])
    assert copy.dry().jobs == set()


def test_an_experiment_without_figures_is_judged_without_them(copy: Workspace) -> None:
    config = copy.configure(lambda content: content.update(figures=[]))
    outcome = copy.complete(config=config)
    # Without the points of Fig. 9, the curves of all trainings are of fewer.
    assert set(outcome.rules) == {"gather", "training_curves", *FOLLOWING}
    claims = pd.read_csv(copy.results / "claims" / "claims.csv").set_index("claim")["here"]
    assert claims["loss_weights"] == "not judged"
    assert claims["kspace_helps"] != "not judged"


def other_training(content: Any) -> None:
    content["training"].update(epochs={"ixi": 2, "fastmri": 1})
    content["datasets"]["ixi"]["noise"] = 0.3


def test_a_users_own_profile_does_not_hide_a_changed_configuration(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("rerun-triggers: mtime\n")
    changed = workspace.configure(other_training)
    outcome = workspace.dry("--profile", str(tmp_path), config=changed)
    assert outcome.rules["train"] == 8


@pytest.mark.long
def test_runs_of_another_configuration_are_shown_by_nothing(copy: Workspace) -> None:
    """Neither where only times are looked at, nor where all was called well by ``--touch``."""
    changed = copy.configure(other_training)
    by_time = ("--rerun-triggers", "mtime", "--keep-going", "--forcerun")
    gathering = ("gather", "table", "figure", "training_curves", "provenance")
    assert copy.dry("--rerun-triggers", "mtime", config=changed).jobs == set()
    said = "this run is of another configuration (noise is 0.1, planned is 0.3"
    for rule in gathering:
        # What a failed job would have written is gone: each has a copy of its own.
        kept = shutil.copytree(copy.results, copy.folder / "kept", symlinks=True)
        outcome = copy.run(*by_time, rule, "--until", rule, config=changed)
        assert outcome.status != 0, rule
        assert any(said in sentence for sentence in outcome.sentences), rule
        assert "Traceback" not in outcome.output
        shutil.rmtree(copy.results)
        kept.rename(copy.results)
    # Times belong to a file, whatever its names.
    copy.part()
    assert copy.run("--touch", "--forceall", config=changed).status == 0

    def by_slice(content: Any) -> None:
        other_training(content)
        content["metric_convention"] = "slice"

    before = (copy.results / "tables" / "table_1.html").read_text(encoding="utf-8")
    outcome = copy.run("--keep-going", config=copy.configure(by_slice))
    assert outcome.status != 0
    assert all(said in sentence for sentence in outcome.sentences)
    # With the footer of the configuration that it is of.
    assert (copy.results / "tables" / "table_1.html").read_text(encoding="utf-8") == before
    assert "--forcerun train evaluate" in outcome.sentence
    copy.complete("--forcerun", "train", "evaluate", config=copy.configure(by_slice))


@pytest.mark.long
def test_what_the_configuration_asks_for_no_more_is_named_and_kept(copy: Workspace) -> None:
    elsewhere = shutil.move(copy.results / "runs" / "fastmri", copy.folder / "elsewhere")
    (copy.results / "runs" / "fastmri").symlink_to(elsewhere)
    left = "runs/fastmri/equispaced_4x/unet/seed0"
    shutil.rmtree(copy.path("methods/unet"))
    (copy.path("methods/unet") / "__pycache__").mkdir(parents=True)
    outcome = copy.complete(config=copy.configure(lambda content: content.update(tables=[1, 2, 3])))
    assert (
        "there is no folder methods/unet/ any more; what results/tiny/runs holds of unet stays"
        in outcome.output
    )
    made = json.loads((copy.results / "provenance.json").read_text())
    assert {left, "tables/table_4.csv"} <= set(made["leftovers"])
    assert "fastmri/equispaced_4x/zf/seed0" in made["runs"]
    assert not [name for name in made["outputs"] if "table_4" in name or "/unet/" in name]
    command = [sys.executable, "-m", "workflow.verify", "results/tiny"]
    done = subprocess.run(command, cwd=copy.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"leftover {left}\n" in done.stdout
