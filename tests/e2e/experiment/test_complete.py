"""One command makes every table and figure that the configuration asks for; a second has nothing to do."""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from workspace import CONFIG, NOTHING, Outcome, Workspace, environment

from methods.registry import discover
from workflow.plan.config import read_config
from workflow.plan.plan import Plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(read_config(CONFIG.resolve()), discover())


def test_every_run_is_there_and_finished(finished: Workspace, plan: Plan) -> None:
    for run in plan.runs:
        folder = finished.results / "runs" / run.path
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert record["status"] == "finished"
        assert record["source"] == "embedded"
        kept = {"metrics.csv", "examples.npz", "run.json"}
        if plan.trained(run.method):
            kept |= {"model.ckpt", "history.csv", "resume"}
        assert {path.name for path in folder.iterdir()} == kept
    metrics = pd.read_parquet(finished.results / "metrics.parquet")
    found = metrics[["dataset", "mask", "method", "seed"]].drop_duplicates()
    assert len(found) == len(plan.runs)
    assert metrics.notna().all(axis=None)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_no_cell_of_a_table_is_empty(finished: Workspace, plan: Plan, number: int) -> None:
    folder = finished.results / "tables"
    definition = plan.table_definitions[number]
    table = pd.read_csv(folder / f"table_{number}.csv")
    assert list(table["method"]) == [row.method for row in definition.rows] * len(definition.masks)
    assert set(table["status"]) == {"ok"}
    ours = [f"{metric}_{part}" for metric in ("ssim", "psnr", "nmse") for part in ("mean", "std")]
    assert table[ours].notna().all(axis=None)
    for kind in ("md", "tex", "html"):
        text = (folder / f"table_{number}.{kind}").read_text(encoding="utf-8")
        assert "embedded" in text
        assert "diverged" not in text
        for row in definition.rows:
            assert row.label.replace("_", r"\_" if kind == "tex" else "_") in text


def test_every_figure_is_drawn(finished: Workspace, plan: Plan) -> None:
    folder = finished.results / "figures"
    names = [f"figure_{number}" for number in plan.figure_definitions]
    names += [f"training_curves_{dataset}" for dataset in plan.subjects]
    for name in names:
        picture = (folder / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert picture.rstrip().endswith(b"IEND\xaeB`\x82")
    for number in plan.figure_definitions:
        assert (folder / f"figure_{number}.pdf").read_bytes().startswith(b"%PDF")


def test_one_page_shows_all_of_it_and_is_listed(finished: Workspace, plan: Plan) -> None:
    page = (finished.results / "index.html").read_bytes()
    assert len(page) < 15_000_000
    text = page.decode()
    for number in plan.table_definitions:
        assert f'id="table_{number}"' in text
        assert f'id="significance_{number}"' in text
    # Figures; of each table the differences; of datasets curves, masks and two sheets of a registration.
    masks = sum(len(of["masks"]) for of in plan.config["datasets"].values())
    shown = len(plan.figure_definitions) + len(plan.table_definitions) + masks
    shown += len(plan.trained_datasets()) + 2 * len(plan.subjects.reported)
    assert text.count('class="enlarge"') == shown
    assert str(finished.folder) not in text
    listed = json.loads((finished.results / "provenance.json").read_text(encoding="utf-8"))["outputs"]
    assert "index.html" in listed


def test_data_and_masks_carry_their_records(finished: Workspace, plan: Plan) -> None:
    for dataset, subjects in plan.subjects.items():
        manifest = pd.read_csv(finished.results / "data" / dataset / "manifest.csv")
        assert sorted(manifest["subject"]) == sorted(subjects)
        assert set(manifest["status"]) == {"ok"}
        assert set(manifest["source"]) == {"embedded"}
        assert dict(manifest["split"].value_counts()) == plan.config["datasets"][dataset]["splits"]
        for mask in plan.config["datasets"][dataset]["masks"]:
            record = json.loads((finished.results / "masks" / dataset / f"{mask}.json").read_text())
            assert record["realised_acceleration"] > 1
    registration = pd.read_csv(finished.results / "data" / "ixi" / "registration.csv")
    assert len(registration) == len(plan.subjects["ixi"])


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_table_is_tested_for_significance(finished: Workspace, plan: Plan, number: int) -> None:
    folder = finished.results / "statistics"
    definition = plan.table_definitions[number]
    table = pd.read_csv(folder / f"table_{number}.csv")
    assert len(table) == 3 * len(definition.rows) * len(definition.masks)
    # One test volume: nothing can be told apart, and every table says so.
    assert set(table["verdict"]) == {"best", "unreachable"}
    page = (finished.results / "tables" / f"table_{number}.html").read_text(encoding="utf-8")
    assert "out of reach with 1 test volume" in page
    assert "experiment tiny; code" in page
    assert (folder / f"table_{number}.png").read_bytes().startswith(b"\x89PNG")


def test_the_papers_claims_are_judged_by_rank_on_embedded_data(finished: Workspace) -> None:
    folder = finished.results / "claims"
    cells, claims = pd.read_csv(folder / "cells.csv"), pd.read_csv(folder / "claims.csv")
    assert set(cells["verdict"]) <= {"same rank", "other rank"}
    # The tiny experiment has one mask of each dataset: nothing there to compare masks by.
    unjudged = set(claims.loc[claims["here"] == "not judged", "claim"])
    assert unjudged == {
        *("planes_easier", "lines_best_for_manet", "harder_with_acceleration", "low_weights_worse")
    }
    assert "judged by rank alone" in " ".join((folder / "claims.html").read_text(encoding="utf-8").split())


def test_the_results_verify_wherever_they_lie_and_what_changed_is_named(copy: Workspace) -> None:
    moved = copy.folder / "elsewhere"
    shutil.move(copy.results, moved)
    command = [sys.executable, "-m", "workflow.verify", str(moved)]

    def verify() -> tuple[int, str]:
        done = subprocess.run(
            command, cwd=copy.folder, env=environment(), capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    status, output = verify()
    assert status == 0, output
    # Every file of the whole experiment is known to the plan.
    assert "leftover" not in output
    assert str(copy.folder) not in (moved / "provenance.json").read_text(encoding="utf-8")
    with (moved / "metrics.parquet").open("ab") as file:
        file.write(b"\0")
    (moved / "tables" / "table_1.md").unlink()
    (moved / "tables" / "table_5.md").touch()
    status, output = verify()
    assert status == 1
    assert output.splitlines() == [
        "changed  metrics.parquet",
        "missing  tables/table_1.md",
        "extra    tables/table_5.md",
    ]


def test_nothing_half_written_is_left(finished: Workspace) -> None:
    assert [path for path in finished.results.rglob("*") if ".partial" in path.name] == []


def test_progress_is_told(first_run: tuple[Workspace, Outcome]) -> None:
    _, outcome = first_run
    total = len(outcome.jobs) + 1  # and the target
    assert f"{total} of {total} steps (100%) done" in outcome.output


def test_work_is_looked_for_only_when_a_job_has_ended(fresh: Workspace) -> None:
    masks = ["1d_uniform_6x", "1d_uniform_9x", "1d_random_3x", "1d_random_6x"]
    config = fresh.configure(lambda content: content["datasets"]["ixi"].update(masks=masks))
    files = [f"results/tiny/masks/ixi/{mask}.npz" for mask in masks]
    outcome = fresh.run(*files, "--verbose", config=config, cores=1)
    assert outcome.status == 0
    # By itself Snakemake would look again every second, and once more for each job that has ended.
    assert outcome.output.count("Ready jobs: ") == len(masks)


def test_a_second_run_has_nothing_to_do(copy: Workspace) -> None:
    outcome = copy.dry()
    assert outcome.jobs == set()
    assert NOTHING in outcome.output


def test_the_report_is_built_and_the_summary_printed(copy: Workspace) -> None:
    report = copy.results / "report.html"
    copy.complete("--report", str(report))
    assert report.stat().st_size > 100_000
    # What it opens with.
    opening = report.read_text(encoding="utf-8")
    assert "it gives the answer first" in opening
    assert "Some of the data is embedded" in opening
    command = [sys.executable, "-m", "workflow.summary", "results/tiny"]
    done = subprocess.run(
        command, cwd=copy.folder, env=environment(), capture_output=True, text=True, check=True
    )
    assert "Table I" in done.stdout
    assert "report.html" in done.stdout
