"""A change re-runs what it changes and what follows from that, nothing else."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pandas as pd
import pytest
from workspace import Job, Outcome, Workspace

# The tiny configuration's tables and figures; all tables and Fig. 9 read metrics.parquet.
TABLES, FIGURES = {"1", "2", "3", "4"}, {"5", "7", "8", "9"}
GATHERED = Job("gather", ())
# What is made from metrics.parquet, the page that shows all of it, and the list of all files.
FOLLOWING = {"significance", "differences", "table", "claims", "index", "provenance"}


@pytest.fixture(scope="module")
def workspace(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One copy for all dry runs: every test puts back what it changes."""
    copied = finished.copy(tmp_path_factory.mktemp("rerun") / "repository")
    yield copied
    shutil.rmtree(copied.folder)


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


def test_a_changed_claim_repeats_the_page_of_claims_alone(workspace: Workspace) -> None:
    with workspace.edited("workflow/resources/claims.yaml"):
        outcome = workspace.dry()
    assert dict(outcome.rules) == {"claims": 1, "index": 1, "provenance": 1}


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
