"""What Git keeps of the reference study is enough to draw its tables and figures again, to the byte."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from workspace import ROOT, Workspace

from methods.registry import discover
from workflow.plan.config import read_config
from workflow.plan.plan import Plan
from workflow.run.weights import read_card

CONFIG = Path("config/reference_part.yaml")
WINNERS = Path("results/reference/tuning/winners.yaml")
RESULTS = Path("results/reference")
DRAWN = ("tables", "statistics", "figures", "claims")
RULES = ("gather", "significance", "differences", "table", "figure", "training_curves", "claims")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(read_config(ROOT / CONFIG), discover())


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.of_repository(tmp_path_factory.mktemp("clone"), with_study=True)


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for name in DRAWN for path in (folder / name).rglob("*") if path.is_file()]
    paths += [folder / "metrics.parquet"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_every_table_and_figure_is_drawn_again(clone: Workspace) -> None:
    folder = clone.folder / RESULTS
    kept = files(folder)
    assert {"tables/table_1.csv", "figures/figure_5.png", "claims/claims.csv"} <= set(kept)
    for name in kept:
        (folder / name).unlink()
    # Curves are drawn as PDF beside the PNG that is asked for.
    asked = [
        str(RESULTS / name) for name in kept if not re.fullmatch(r"figures/training_curves_.*\.pdf", name)
    ]
    clone.complete(*asked, "--allowed-rules", *RULES, config=[CONFIG, WINNERS])
    drawn = files(folder)
    assert [name for name in kept if drawn.get(name) != kept[name]] == []


def test_what_is_kept_is_as_its_list_says() -> None:
    command = [sys.executable, "-m", "workflow.verify", "--part", str(RESULTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_weights_of_each_method_are_kept_with_their_card(plan: Plan) -> None:
    tables = pd.concat(pd.read_csv(ROOT / RESULTS / f"tables/table_{number}.csv") for number in (1, 2))
    scores = tables.set_index(["mask", "method"])
    for dataset in plan.config["datasets"]:
        # Those of the mask that the rates were tuned under.
        mask = plan.config["tuning"]["masks"][dataset]
        for method in filter(plan.trained, plan.config["compare"]):
            card, _ = read_card(ROOT / RESULTS / "weights" / f"{dataset}_{mask}_{method}.ckpt")
            assert card.method.startswith(f"{method} ")
            assert card.source == "embedded"
            assert card.scores["psnr"][0] == pytest.approx(scores.loc[(mask, method), "psnr_mean"])


@pytest.mark.long
def test_the_readme_reconstructs_a_test_subject_with_them(clone: Workspace) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (commands,) = [
        block for block in re.findall(r"^```sh\n(.*?)^```$", page, re.M | re.S) if "pair/" in block
    ]
    done = clone.shell(commands)
    assert done.returncode == 0, done.stdout + done.stderr
    scored = [line for line in done.stdout.splitlines() if "against the scan" in line]
    assert [line.split()[0] for line in scored] == ["manet", "zero"]
    (ours, floor) = (float(re.findall(r"PSNR ([0-9.]+) dB", line)[0]) for line in scored)
    # What the README says, up to the rounding of another processor.
    (said,) = re.findall(r"MANet has ([0-9.]+) dB on it, zero filling ([0-9.]+)", page)
    assert (ours, floor) == pytest.approx([float(number) for number in said], abs=0.02)
