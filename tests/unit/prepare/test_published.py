"""The paper's configuration runs on what is published, with its holes, and names each difference."""

import csv
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib.figure import Figure
from published_tree import HOLES, PAIRS, SHORT, UNLIKE, WITHOUT_T1, WITHOUT_T2, write_fastmri, write_ixi

from data_prep import check
from data_prep.datasets.align import align, write_aligned
from data_prep.datasets.contract import Scans, Wanted, dataset_of
from data_prep.datasets.record import Aligned, Record
from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.prepare.__main__ import prepare
from data_prep.prepare.counts import count_pools
from data_prep.prepare.splits import choose_splits
from methods.registry import discover
from workflow.plan.config import check_config, split_numbers
from workflow.plan.plan import Plan

ROOT = Path(__file__).parents[3]
WHY_IXI = (
    "577 of 582 have both scans, the paper counts 577; 6 excluded: IXI014-HH-1236 (its published T2 has 28 "
    "slices), IXI116-Guys-0739 (published without T2), IXI182-Guys-0792 (published without T2), "
    "IXI309-IOP-0897 (published without T2), IXI500-Guys-1017 (published without T2), IXI580-IOP-1157 "
    "(published without T1); train has 368 subjects of 369"
)
WHY_TRAIN = (
    "1 excluded: file1000632 (its field of view is 160 mm, that of its PD, file1000116, 150 mm, 37 slices); "
    "train has 203 subjects of 204"
)


def paper(tree: Path | None, **changes: Any) -> Plan:
    """The shipped configuration, its keys for the scans filled in."""
    content = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    ixi, fastmri = content["datasets"]["ixi"], content["datasets"]["fastmri"]
    if tree is not None:
        ixi["root"], fastmri["root"] = str(tree / "IXI"), str(tree / "fastMRI")
        for split in PAIRS:
            fastmri[f"{split}_pairs"] = str(tree / "fastMRI" / f"singlecoil_{split}_split_less.csv")
    for name, keys in changes.items():
        content["datasets"][name] |= keys
    return Plan(check_config(content, discover()), discover())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All subjects and pairs, by their headers."""
    root = tmp_path_factory.mktemp("published")
    write_ixi(root / "IXI")
    write_fastmri(root / "fastMRI")
    return root


def test_the_folders_are_usable_but_for_the_known_holes(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for name in ("IXI", "fastMRI"):
        monkeypatch.setattr("sys.argv", ["check", str(tree / name), "--csv", str(tree / "found.csv")])
        with pytest.raises(SystemExit, match="3"):
            call(check.main)
        with (tree / "found.csv").open(newline="") as lines:
            found |= {(name, row["subject"]): row["status"] for row in csv.DictReader(lines)}
    assert {subject for (_, subject), status in found.items() if status != "ok"} == {*HOLES, UNLIKE[1]}
    assert Counter(name for (name, _), status in found.items() if status == "ok") == {
        "IXI": 576,
        "fastMRI": 271,
    }
    said = " ".join(capsys.readouterr().out.split())
    for sentence in ("576 of 582.", "271 of 272.", "8295 (8332 published)", "1665 (1665 published)"):
        assert sentence in said


def test_jobs_are_as_many_without_the_scans_as_with_them(tree: Path) -> None:
    nowhere, here = paper(None), paper(tree)
    assert here.subjects.missing_scans() is None
    for name, count in (("ixi", 582), ("fastmri", 272)):
        assert len(nowhere.subjects[name]) == len(here.subjects[name]) == count
    assert nowhere.runs == here.runs


def wanted(plan: Plan, name: str, scans: Scans) -> Wanted:
    configured = plan.config["datasets"][name]
    files = (Path(scans.target), Path(scans.auxiliary))
    return Wanted(dataset_of(name), *files, configured["matrix"], configured["slices"])


def aligned(plan: Plan, name: str, subject: str) -> Aligned:
    scans = plan.subjects[name][subject]
    options = {"register": True} if name == "fastmri" else {}
    return align(wanted(plan, name, scans), subject, "published", scans.split_hint, options, exclude=True)


def as_if_aligned(plan: Plan, name: str, subject: str) -> Record:
    """The record of a subject that can be used, by its headers."""
    scans = plan.subjects[name][subject]
    ways = wanted(plan, name, scans)
    describe = ways.dataset.describe
    assert describe is not None
    told = describe(subject, ways.target, ways.auxiliary)
    slices = min(told.get("target_slices", 100), told.get("auxiliary_slices", 100))
    named = {"target_file": ways.target.name, "auxiliary_file": ways.auxiliary.name}
    hashes = {"target_sha256": f"of {ways.target}", "auxiliary_sha256": f"of {ways.auxiliary}"}
    fixed = {"dataset": name, "source": "published", "status": "ok", "reason": "", "site": ""}
    scores = {"score_before": 0.5, "score_after": 0.9}
    parts = fixed | scores | named | hashes | dict(told)
    return Record(subject=subject, split_hint=scans.split_hint, slices=slices, **parts)


@pytest.mark.parametrize(
    ("name", "splits", "explained"),
    [
        ("ixi", {"train": 368, "val": 93, "test": 115}, [WHY_IXI]),
        ("fastmri", {"train": 203, "val": 23, "test": 45}, ["as published", WHY_TRAIN]),
    ],
)
def test_training_gives_way_and_every_difference_from_the_paper_is_named(
    tree: Path, name: str, splits: dict[str, int], explained: list[str]
) -> None:
    plan = paper(tree)
    records = [
        aligned(plan, name, subject).record
        if subject in (*HOLES, UNLIKE[1])
        else as_if_aligned(plan, name, subject)
        for subject in plan.subjects[name]
    ]
    numbers = split_numbers(plan.config["datasets"][name]["splits"])
    chosen = choose_splits(records, name, numbers, plan.config["seed"], plan.subjects.at_most(name))
    assert Counter(chosen.values()) == splits
    rows = count_pools(records, name, chosen, numbers)
    assert [row["explanation"] for row in rows] == explained
    assert sum(row["used"] for row in rows) == sum(splits.values())
    assert sum(row["paper_subjects"] for row in rows) == {"ixi": 577, "fastmri": 272}[name]


def test_a_list_without_the_pair_that_does_not_fit_will_do(tree: Path, tmp_path: Path) -> None:
    lines = (tree / "fastMRI" / "singlecoil_train_split_less.csv").read_text().splitlines(keepends=True)
    (tmp_path / "train.csv").write_text("".join(line for line in lines if UNLIKE[0] not in line))
    keys = {"train_pairs": str(tmp_path / "train.csv")}
    plan = paper(tree, fastmri=keys)
    assert len(plan.subjects["fastmri"]) == 271
    assert plan.subjects.missing_scans() is None
    # Who asks for exactly so many is refused before the first job, and by `prepare`.
    exact = paper(tree, fastmri=keys | {"splits": {"train": 204, "val": 23, "test": 45}})
    message = exact.subjects.missing_scans()
    assert message is not None
    assert "fastmri.splits: val + train add up to 227, but there are 226 subjects of train" in message
    records = [as_if_aligned(plan, "fastmri", subject) for subject in plan.subjects["fastmri"]]
    numbers = {"train": 204, "val": 23, "test": 45}
    with pytest.raises(BadInput, match=r"asks for 23 val \+ 204 train subjects, but 226, of 226 persons"):
        choose_splits(records, "fastmri", numbers, 2022)
    assert Counter(choose_splits(records, "fastmri", numbers, 2022, True).values())["train"] == 203


def take(plan: Plan, name: str, subject: str, output: Path) -> None:
    """The step `align`, with an empty picture in place of a third of its time."""
    write_aligned(replace(aligned(plan, name, subject), picture=Figure), output / name)


@pytest.mark.parametrize(
    ("subjects", "pairs", "splits"),
    [
        pytest.param(
            9,
            (4, 1),
            {
                "ixi": {"train": {"at_most": 2}, "val": 1, "test": 1},
                "fastmri": {"train": {"at_most": 3}, "val": 1, "test": 1},
            },
            id="some",
        ),
        pytest.param(582, (None, None), None, id="all", marks=pytest.mark.long),
    ],
)
def test_scans_in_the_published_names_go_all_the_way(
    tmp_path: Path, subjects: int, pairs: tuple[int | None, int | None], splits: dict[str, Any] | None
) -> None:
    """At 32 x 32; slices are the paper's 100, and three of each knee."""
    write_ixi(tmp_path / "IXI", subjects, side=20, field=240.0)
    write_fastmri(tmp_path / "fastMRI", pairs, full_size=False)
    own = {name: {"matrix": 32} | ({"splits": splits[name]} if splits else {}) for name in ("ixi", "fastmri")}
    plan = paper(tmp_path, **own)
    assert plan.subjects.missing_scans() is None
    everyone = [(name, subject) for name in plan.subjects for subject in plan.subjects[name]]
    with ProcessPoolExecutor(2, get_context("fork")) as workers:
        list(workers.map(take, *zip(*((plan, *one, tmp_path / "aligned") for one in everyone), strict=True)))
    excluded = {}
    for name, dataset in plan.config["datasets"].items():
        numbers = split_numbers(dataset["splits"])
        output, at_most = tmp_path / "data" / name, plan.subjects.at_most(name)
        folder, found = tmp_path / "aligned" / name, list(plan.subjects[name])
        got, rows = prepare(name, folder, found, numbers, plan.config["seed"], output, at_most)
        assert got == numbers | {"train": numbers["train"] - 1}
        with (output / "manifest.csv").open(newline="") as lines:
            excluded |= {
                row["subject"]: row["reason"] for row in csv.DictReader(lines) if row["status"] != "ok"
            }
        assert f"train has {got['train']} subjects of {numbers['train']}" in rows[-1]["explanation"]
        assert all(subject in rows[-1]["explanation"] for subject in excluded if subject in found)
    assert set(excluded) == {*HOLES, UNLIKE[1]}
    for subject in (*WITHOUT_T2, WITHOUT_T1):
        assert "no such file" in excluded[subject]
    assert "28 axial slices, but 100 are wanted" in excluded[SHORT]
    assert "field of view (150.0, 150.0) mm is not that of" in excluded[UNLIKE[1]]
