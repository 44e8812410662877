"""The reference study: one budget for all, a page that says what is planned, and small files in Git."""

import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Iterable

import pandas as pd
import pytest

from data_prep.masks.registry import label, parse_mask
from methods.registry import discover
from workflow.papers.contract import read_paper
from workflow.plan.config import read_config
from workflow.plan.plan import Plan
from workflow.plan.tuning import TuningPlan
from workflow.provenance.sources import ROOT


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(read_config(ROOT / "config/reference.yaml"), discover())


def test_every_training_on_a_dataset_sees_as_many_slices(plan):
    training = plan.config["training"]
    page = (ROOT / "results/reference/README.md").read_text(encoding="utf-8")
    for name, dataset in plan.config["datasets"].items():
        epoch = dataset["splits"]["train"] * dataset["slices"]
        assert f"{training['epochs'][name] * epoch:,} slices" in page
        assert dataset["splits"]["test"] == 16
        assert dataset["source"] == "embedded"


def test_every_method_is_offered_the_same_second_beta(plan):
    """On knees MANet wants another than 0.999; it is no privilege."""
    for dataset in plan.config["datasets"]:
        seconds = {
            plan.spec(run).optimiser["betas"][1]
            for run in plan.runs
            if run.dataset == dataset and plan.trained(run.method)
        }
        assert len(seconds) == 1


def test_it_makes_all_of_the_paper_under_every_mask(plan):
    paper = read_paper("manet")
    with_phase = [number for number, of in plan.table_definitions.items() if of.phase != "none"]
    assert set(plan.table_definitions) == {*paper.tables, *with_phase}
    assert set(plan.figure_definitions) == set(paper.figures)
    assert len(plan.figure_definitions[9].grid) == 16
    assert {len(plan.table_definitions[number].masks) for number in (1, 2)} == {8, 4}
    assert {"unet2", "varnet", "cs"} <= set(plan.table_definitions[1].methods)


def test_it_asks_of_one_acceleration_whether_symmetry_makes_2d_masks_easier(plan):
    (table,) = [of for of in plan.table_definitions.values() if of.phase != "none"]
    assert len({parse_mask(mask)[1] for mask in table.masks}) == 1
    assert {mask[:3] for mask in table.masks} == {"1d_", "2d_"}


def test_the_part_that_has_been_run_is_what_its_head_says_that_cuts_it():
    text = (ROOT / "config/reference_part.yaml").read_text(encoding="utf-8")
    command = shlex.split(text.splitlines()[0].removeprefix("# python "))
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == text


def test_the_part_that_has_been_run_trains_what_the_study_does(plan):
    part = Plan(read_config(ROOT / "config/reference_part.yaml"), discover())
    assert [run for run in part.runs if part.spec(run) != plan.spec(run)] == []


def test_the_page_says_how_many_trainings_and_trials_there_are(plan):
    page = (ROOT / "results/reference/README.md").read_text(encoding="utf-8")
    assert f"{sum(plan.trained(run.method) for run in plan.runs)} trainings" in page
    assert f"That is {len(TuningPlan(plan).trials)} trials." in page


def test_the_controls_take_the_runs_that_the_study_has_made(plan):
    page = (ROOT / "results/reference/README.md").read_text(encoding="utf-8")
    controls = Plan(read_config(ROOT / "config/reference_controls.yaml"), discover())
    trained = [run for run in controls.runs if controls.trained(run.method)]
    shared = [run for run in trained if run in plan.runs]
    assert all(controls.spec(run) == plan.spec(run) for run in shared)
    assert {run.seed for run in shared} == {0}
    assert {run.seed for run in trained} == {0, 1, 2}
    assert f"{len(trained)}\ntrainings, {len(shared)} of which are the study's own" in page


def test_the_showcase_is_sized_for_pictures():
    page = (ROOT / "results/reference/README.md").read_text(encoding="utf-8")
    showcase = Plan(read_config(ROOT / "config/showcase.yaml"), discover())
    assert {of["matrix"] for of in showcase.config["datasets"].values()} == {128}
    assert list(showcase.figure_definitions) == [5, 6, 7]
    assert f"from {sum(showcase.trained(run.method) for run in showcase.runs)} trainings" in page


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("README.md", True),
        ("metrics.parquet", True),
        ("provenance.json", True),
        ("tables/table_1.csv", True),
        ("statistics/pairs_1.csv", True),
        ("claims/claims.html", True),
        ("figures/figure_1.png", True),
        ("figures/training_curves_ixi.png", True),
        ("figures/training_curves_ixi/1d_uniform_6x/manet/seed0.png", False),
        ("weights/ixi_1d_uniform_6x_manet.ckpt", True),
        ("masks/ixi/1d_uniform_6x.npz", True),
        ("runs/ixi/1d_uniform_6x/manet/seed0/run.json", True),
        ("runs/ixi/1d_uniform_6x/manet/seed0/metrics.csv", True),
        ("runs/ixi/1d_uniform_6x/manet/seed0/history.csv", True),
        ("runs/ixi/1d_uniform_6x/manet/seed0/examples.npz", True),
        ("runs/ixi/1d_uniform_6x/manet/seed0/model.ckpt", False),
        ("runs/ixi/1d_uniform_6x/manet/seed0/resume/state.pt", False),
        ("tuning/winners.yaml", True),
        ("tuning/trials_ixi.md", True),
        ("tuning/trials/ixi/1d_uniform_6x/manet/lr0.001/seed0/run.json", True),
        ("tuning/trials/ixi/1d_uniform_6x/manet/lr0.001/seed0/history.csv", True),
        ("tuning/trials/ixi/1d_uniform_6x/manet/lr0.001/seed0/metrics.csv", True),
        ("tuning/trials/ixi/1d_uniform_6x/manet/lr0.001/seed0/model.ckpt", False),
        ("tuning/trials/ixi/1d_uniform_6x/manet/lr0.001/seed0/resume/state.pt", False),
        ("data/ixi/manifest.csv", True),
        ("data/ixi/prepared.json", True),
        ("data/ixi/registration.png", False),
        ("data/ixi/train.h5", False),
        ("index.html", False),
        ("raw/donors/knee.npz", False),
    ],
)
def test_git_keeps_its_small_files_only(path, kept):
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "check-ignore", "--quiet", "--no-index", f"results/reference/{path}"]
    ignored = subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert ignored is not kept


PART = ROOT / "config/reference_part.yaml"
MASKS = {name: of["masks"] for name, of in read_config(PART)["datasets"].items()}
# The masks that the README shows, and the pages' tables: a page, what precedes the table, and its masks.
SHOWN = ("1d_uniform_6x", "2d_radial_9x", "equispaced_4x")
PAGES = [
    ("README.md", "**An answer", SHOWN),
    ("docs/other_methods.md", "T2 of brains", MASKS["ixi"]),
    ("docs/other_methods.md", "PDFS of knees", MASKS["fastmri"]),
]
# Two names differ between the tables, by the name of the target.
ROWS = {
    "zf": "ZF",
    "cs": "CS-TV",
    "unet": "UNet, target alone",
    "unet2": "UNet, both contrasts",
    "xiang": "Xiang et al.",
    "dudornet": "DuDoRNet",
    "varnet": "VarNet",
    "manet": "MANet",
}
PARTS = {
    "manet": "MANet",
    "manet-no_kspace": "without its k-space network",
    "manet-no_attention": "without its attention",
}


def number_of(mask: str) -> int:
    """The table of the paper that a mask belongs to."""
    return 1 if mask in MASKS["ixi"] else 2


def table(mask: str, number: int = 0) -> pd.DataFrame:
    found = pd.read_csv(ROOT / f"results/reference/tables/table_{number or number_of(mask)}.csv")
    return found[found["mask"] == mask].set_index("method")


def gains(mask: str, number: int = 0) -> pd.DataFrame:
    """What MANet has more than another method, by metric and method, in the mask's table or another one."""
    found = pd.read_csv(ROOT / f"results/reference/statistics/pairs_{number or number_of(mask)}.csv")
    found = found[found["mask"] == mask]
    one, other = found[found.method_b == "manet"], found[found.method_a == "manet"]
    # Differences are of the first to the second.
    one = one.assign(method=one.method_a, gain=-one.difference)
    other = other.assign(method=other.method_b, gain=other.difference)
    return pd.concat([one, other]).set_index(["metric", "method"])


def rows_of(page: str, heading: str) -> dict[str, list[str]]:
    """The first table below a heading, by the first cell of each row."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = itertools.dropwhile(lambda line: line[:1] != "|", text[text.index(heading) :].splitlines())
    rows = itertools.takewhile(lambda line: line[:1] == "|", lines)
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    return {row[0]: row[1:] for row in cells}


def cells_of(mask: str, number: int = 0, rows: Iterable[str] = ROWS, best: str = "**") -> list[str]:
    """A mask's column: PSNR / SSIM, the best bold, a star where MANet differs beyond chance."""
    shown, found = table(mask, number), gains(mask, number)
    column = []
    for method in rows:
        said = []
        for metric, digits in (("psnr", 2), ("ssim", 3)):
            mean = shown.loc[method, f"{metric}_mean"]
            around = best if mean == shown.loc[list(rows), f"{metric}_mean"].max() else ""
            number_said = f"{around}{mean:.{digits}f}{around}"
            differs = method != "manet" and found.loc[(metric, method)].p_holm < 0.05
            said.append(number_said + (" \\*" if differs else ""))
        column.append(" / ".join(said))
    return column


@pytest.mark.parametrize(("page", "heading", "masks"), PAGES)
def test_a_page_shows_the_studys_tables_and_tests(page: str, heading: str, masks: tuple[str, ...]) -> None:
    rows = rows_of(page, heading)
    assert [name for name in rows if name in ROWS.values()] == list(ROWS.values())
    columns = [name.removeprefix("brains, ").removeprefix("knees, ") for name in rows[""]]
    assert columns == [label(mask) for mask in masks]
    for column, mask in enumerate(masks):
        assert [rows[name][column] for name in ROWS.values()] == cells_of(mask)


def test_the_page_of_other_methods_shows_what_manets_parts_are_worth() -> None:
    rows = rows_of("docs/other_methods.md", "What MANet's own parts are worth")
    for column, mask in enumerate(MASKS["ixi"]):
        assert rows[""][column] == label(mask)
        shown = [rows[name][column] for name in PARTS.values()]
        assert shown == cells_of(mask, 3, PARTS, best="")
    text = (ROOT / "docs/other_methods.md").read_text(encoding="utf-8")
    assert f"{gains(MASKS['ixi'][0], 3).tests.iloc[0]} tests of Table III" in text


@pytest.mark.parametrize("page", ["README.md", "docs/other_methods.md"])
def test_a_page_says_how_many_tests_are_corrected_for(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    brains, knees = (gains(of[0]).tests.iloc[0] for of in (MASKS["ixi"], MASKS["fastmri"]))
    assert f"{brains} on brains, {knees} on knees" in text


def better_by(mask: str, method: str, number: int = 0) -> float:
    """How much more PSNR a method has than MANet, by a table."""
    return -float(gains(mask, number).loc[("psnr", method)].gain)


def listed(numbers: Iterable[str]) -> str:
    *first, last = numbers
    return f"{', '.join(first)} and {last}" if first else last


def test_the_readme_says_what_manets_parts_are_worth() -> None:
    brains = MASKS["ixi"]
    spectral, attention = (
        {mask: better_by(mask, part, 3) for mask in brains}
        for part in ("manet-no_kspace", "manet-no_attention")
    )
    *told, last = (gains(mask, 3).loc[("psnr", "manet-no_kspace")].p_holm for mask in brains)
    told += [gains(mask, 3).loc[("psnr", "manet-no_attention")].p_holm for mask in brains]
    assert {f"{p:.3f}" for p in told} == {"0.001"}
    assert last > 0.05
    better = [f"{gain:.2f}" for gain in attention.values() if gain > 0]
    ((mask, worse),) = ((mask, -gain) for mask, gain in attention.items() if gain < 0)
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    said = f"{listed(f'{gain:.2f}' for gain in spectral.values())} dB better without its k-space network"
    said += f" (the last not beyond chance, p = {last:.2f})"
    assert f"({', '.join(map(label, brains))}) it is {said}" in text
    worth = f"{listed(better)} dB better, and {worse:.2f} dB worse under {label(mask)} (p = 0.001 each"
    assert f"without its attention {worth}" in text


def test_the_readme_says_by_how_much_others_beat_manet() -> None:
    others = ("unet2", "varnet")
    (unet, unet_knees), (varnet, varnet_knees) = (
        [[f"{better_by(mask, name):.1f}" for mask in MASKS[dataset]] for dataset in ("ixi", "fastmri")]
        for name in others
    )
    (unet_p, varnet_p), (unet_knees_p, varnet_knees_p) = (
        [[float(gains(mask).loc[("psnr", name)].p_holm) for mask in MASKS[dataset]] for name in others]
        for dataset in ("ixi", "fastmri")
    )
    *told, level = unet_p
    *told_knees, last = varnet_knees_p
    assert max(*told, *varnet_p, *unet_knees_p, *told_knees) < 0.05 <= min(level, last)
    assert unet.pop() == "0.0"
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    said = f"level under {label(MASKS['ixi'][-1])} (p = {level:.2f}), VarNet {listed(varnet)} dB; on knees "
    assert f"on brains the U-Net is {listed(unet)} dB better, and {said}" in text
    knees = f"they are {listed(unet_knees)}, and {listed(varnet_knees)} dB better"
    assert f") {knees} (the last not beyond chance, p = {last:.2f})." in text


def test_the_studys_page_says_which_trainings_had_converged() -> None:
    records = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "results/reference/runs").glob("*/*/*/seed0/run.json"))
    ]
    trained = [record for record in records if record.get("converged") is not None]
    page = (ROOT / "results/reference/README.md").read_text(encoding="utf-8")
    passed = sum(record["converged"] for record in trained)
    assert f"{passed} of {len(trained)} trainings pass the suite's test of convergence" in page
    # What the study promises of itself.
    assert passed >= 0.9 * len(trained)
