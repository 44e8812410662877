"""Splits are by person, stable, exact where they can be and refused where they cannot; files are complete."""

import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from data_prep.datasets.contract import dataset_of
from data_prep.datasets.record import Record
from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.prepare import __main__ as prepare
from data_prep.prepare.counts import count_pools
from data_prep.prepare.splits import choose_splits
from data_prep.undersample.slices import SliceStore

WANTED = {"train": 5, "val": 2, "test": 3}


def fields(subject: str, dataset: str = "ixi", /, **changes: Any) -> dict[str, Any]:
    """A subject's JSON file as the step `align` writes it."""
    return {
        "subject": subject,
        "dataset": dataset,
        "source": "embedded",
        "status": "ok",
        "reason": "",
        "site": "HH" if dataset == "ixi" else "",
        "group": f"person {subject}",
        "auxiliary_group": f"person {subject}" if dataset == "fastmri" else "",
        "slices": 2,
        "target_file": f"{subject}-T2.nii.gz",
        "auxiliary_file": f"{subject}-T1.nii.gz",
        "target_sha256": hashlib.sha256(f"{subject} target".encode()).hexdigest(),
        "auxiliary_sha256": hashlib.sha256(f"{subject} auxiliary".encode()).hexdigest(),
        "score_before": 0.25,
        "score_after": 0.5,
        "transform": [[1.0, 0.0], [0.0, 1.0]],
        "split_hint": "" if dataset == "ixi" else "train",
    } | changes


def record(subject: str, dataset: str = "ixi", **changes: Any) -> Record:
    return Record(**fields(subject, dataset, **changes))


def people(count: int, excluded: set[int] = frozenset()) -> list[Record]:
    return [
        record(f"IXI{900 + i}", **({"status": "excluded", "reason": "moved"} if i in excluded else {}))
        for i in range(count)
    ]


def counts(chosen: Mapping[str, str]) -> dict[str, int]:
    return {split: list(chosen.values()).count(split) for split in ("train", "val", "test")}


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_counts_are_exact_when_all_are_there(train: int, val: int, test: int, seed: int, spare: int) -> None:
    wanted = {"train": train, "val": val, "test": test}
    chosen = choose_splits(people(sum(wanted.values()) + spare), "ixi", wanted, seed)
    assert counts(chosen) == wanted


@given(st.sets(st.integers(0, 9), max_size=4), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_training_takes_the_shortfall_and_few_move(excluded: set[int], seed: int) -> None:
    before = choose_splits(people(10), "ixi", WANTED, seed)
    after = choose_splits(people(10, excluded), "ixi", WANTED, seed)
    assert counts(after) == {**WANTED, "train": 5 - len(excluded)}
    assert set(before) - set(after) == {f"IXI{900 + i}" for i in excluded}
    for border in ({"test"}, {"test", "val"}):
        moved = [name for name in after if (before[name] in border) != (after[name] in border)]
        assert len(moved) <= len(excluded)
        assert all(after[name] in border for name in moved), "nobody leaves test or validation"


def test_spare_subjects_stand_in_for_excluded_ones() -> None:
    chosen = choose_splits(people(13, {1, 4}), "ixi", WANTED, 2022)
    assert counts(chosen) == WANTED


def test_the_split_follows_the_seed_and_not_the_order() -> None:
    records = people(10)
    first = choose_splits(records, "ixi", WANTED, 2022)
    assert choose_splits(records[::-1], "ixi", WANTED, 2022) == first
    assert any(choose_splits(records, "ixi", WANTED, seed) != first for seed in range(3))


@given(st.lists(st.integers(1, 3), min_size=6, max_size=10), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_a_person_is_never_in_two_splits(sizes: list[int], seed: int) -> None:
    records = [
        record(f"file{10 * person + scan}", "fastmri", group=f"p{person}")
        for person, size in enumerate(sizes)
        for scan in range(size)
    ]
    records.append(record("file999", "fastmri", split_hint="val"))
    wanted = {"train": sum(sizes) - 3, "val": 3, "test": 1}
    chosen = choose_splits(records, "fastmri", wanted, seed)
    for split, count in counts(chosen).items():
        # Exact for persons of one scan; otherwise each split misses less than a person's scans.
        assert 0 <= wanted[split] - count < max(sizes)
    for person in range(len(sizes)):
        assert (
            len({chosen[r.subject] for r in records if r.group == f"p{person}" and r.subject in chosen}) <= 1
        )


def test_dropping_any_of_577_subjects_moves_one_across_each_border_at_most() -> None:
    wanted = {"train": 369, "val": 93, "test": 115}
    records = [record(f"IXI{i:03d}-Guys-{1000 + i}", group=f"IXI{i:03d}") for i in range(577)]
    before = choose_splits(records, "ixi", wanted, 2022)
    assert counts(before) == wanted
    moves = Counter()
    for dropped in range(0, 577, 7):
        gone = records[dropped].subject
        # Excluded and never listed are the same to the others.
        left_out = replace(records[dropped], status="excluded", reason="moved")
        after = choose_splits([*records[:dropped], left_out, *records[dropped + 1 :]], "ixi", wanted, 2022)
        assert counts(after) == {**wanted, "train": 368}
        moved = [(before[name], after[name]) for name in after if before[name] != after[name]]
        expected = {"train": [], "val": [("train", "val")], "test": [("train", "val"), ("val", "test")]}
        assert sorted(moved) == expected[before[gone]]
        moves[before[gone]] += 1
    assert set(moves) == {"train", "val", "test"}


def test_a_new_subject_displaces_one_across_each_border_at_most() -> None:
    wanted = {"train": 369, "val": 93, "test": 115}
    records = [record(f"IXI{i:03d}") for i in range(577)]
    before = choose_splits(records, "ixi", wanted, 2022)
    for number in range(1000, 1030):
        after = choose_splits([*records, record(f"IXI{number}")], "ixi", wanted, 2022)
        assert counts(after) == wanted
        changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
        # The newcomer, and from each border that it pushes upon one subject; the last of them falls out.
        assert len(changed) <= 4


def test_the_published_fastmri_lists_give_their_pairs() -> None:
    records = [record(f"file{i}", "fastmri") for i in range(227)]
    records += [record(f"file{i}", "fastmri", split_hint="val") for i in range(227, 272)]
    wanted = {"train": 204, "val": 23, "test": 45}
    chosen = choose_splits(records, "fastmri", wanted, 2022)
    assert counts(chosen) == wanted
    assert {name for name, split in chosen.items() if split == "test"} == {
        f"file{i}" for i in range(227, 272)
    }


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=12, max_size=24))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
def test_pairs_that_share_a_person_by_any_file_stay_together(persons: list[tuple[int, int]]) -> None:
    records = [
        record(f"file{i}", "fastmri", group=f"p{target}", auxiliary_group=f"p{auxiliary}")
        for i, (target, auxiliary) in enumerate(persons)
    ]
    records.append(record("file999", "fastmri", split_hint="val"))
    try:
        chosen = choose_splits(records, "fastmri", {"train": len(persons) - 2, "val": 2, "test": 1}, 7)
    except BadInput:
        # One group of nearly all pairs leaves validation without any.
        assume(False)
    splits: dict[str, set[str]] = {}
    for r in records:
        for person in r.persons:
            splits.setdefault(person, set()).add(chosen.get(r.subject, "none"))
    assert all(len(named) == 1 for named in splits.values())


def test_a_person_known_by_the_auxiliary_alone_may_not_be_in_two_published_splits() -> None:
    records = [record("file1", "fastmri", auxiliary_group="same"), record("file2", "fastmri")]
    records.append(record("file3", "fastmri", split_hint="val", group="same"))
    with pytest.raises(BadInput, match=r"a person would be in two splits, .*file1.*file3"):
        choose_splits(records, "fastmri", {"train": 1, "val": 1, "test": 1}, 2022)


# Counts.


def published_lists(slices: Mapping[str, int]) -> list[Record]:
    """The published numbers of pairs, with slices that add up to ``slices``."""
    records = []
    for hint, published in dataset_of("fastmri").published.items():
        pairs = published.counted
        for i in range(pairs):
            share = slices[hint] // pairs + (i < slices[hint] % pairs)
            longer = {"target_slices": share + i % 3, "auxiliary_slices": share + i % 2 * (i % 3 == 0)}
            changes = {"source": "published", "split_hint": hint, "slices": share, **longer}
            records.append(record(f"{hint}{i:03d}", "fastmri", **changes))
    return records


PAPER = {"train": 204, "val": 23, "test": 45}


def test_the_published_counts_are_met_and_said_so() -> None:
    records = published_lists({"train": 8332, "val": 1665})
    chosen = choose_splits(records, "fastmri", PAPER, 2022)
    rows = count_pools(records, "fastmri", chosen, PAPER)
    assert [(row["published_split"], row["splits"], row["used"], row["slices"]) for row in rows] == [
        ("val", "test", 45, 1665),
        ("train", "val train", 227, 8332),
    ]
    assert [row["explanation"] for row in rows] == ["as published", "as published"]


def test_every_difference_from_the_published_counts_is_explained() -> None:
    records = published_lists({"train": 8332, "val": 1664})
    # One cannot be opened, one fails later, one wants fewer slices, one is left over.
    unread = {"status": "excluded", "reason": "missing", "slices": 0}
    records[0] = replace(records[0], **unread, target_slices=None, auxiliary_slices=None)
    records[1] = replace(records[1], **unread, target_slices=40, auxiliary_slices=35)
    records[2] = replace(records[2], slices=records[2].slices - 6)
    wanted = {"train": 203, "val": 21, "test": 45}
    chosen = choose_splits(records, "fastmri", wanted, 2022)
    test, train = count_pools(records, "fastmri", chosen, wanted)
    assert test["explanation"] == "all scans together share 1664 slices, the paper's 1665"
    left_over = next(r for r in records if r.usable and r.subject not in chosen)
    why = "`reason` in manifest.csv explains it"
    said = [
        f"2 excluded: train000 ({why}), train001 ({why}, 35 slices)",
        f"1 usable but beyond the configured splits ({left_over.slices} slices)",
        "6 slices of the used scans not wanted by the configuration",
    ]
    assert train["explanation"] == "; ".join(said)
    assert (train["subjects"], train["excluded"], train["left_over"], train["used"]) == (227, 2, 1, 224)
    fewer = count_pools(records[5:], "fastmri", chosen, wanted)[1]
    said = "222 subjects, but 227 are published; 222 of 222 have both scans, the paper counts 227; "
    assert fewer["explanation"].startswith(said)


def test_a_long_list_of_excluded_subjects_is_cut() -> None:
    records = published_lists({"train": 8332, "val": 1665})
    gone = {"status": "excluded", "reason": "missing", "slices": 0, "target_slices": None}
    records = [replace(r, **gone) if i < 25 else r for i, r in enumerate(records)]
    chosen = choose_splits(records, "fastmri", PAPER, 2022)
    said = count_pools(records, "fastmri", chosen, PAPER)[1]["explanation"]
    assert said.startswith("25 excluded: train000 (")
    assert "train019 (" in said
    assert said.endswith(", 5 more, which `reason` in manifest.csv explains; train has 179 subjects of 204")


def test_nothing_is_expected_of_embedded_data() -> None:
    chosen = choose_splits(people(10), "ixi", WANTED, 2022)
    (row,) = count_pools(people(10), "ixi", chosen, WANTED)
    assert (row["subjects"], row["used"], row["slices"]) == (10, 10, 20)
    assert row["paper_slices"] == row["published_subjects"] == row["explanation"] == ""


def test_counts_are_written_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(6):
        write_subject(tmp_path, f"IXI{900 + i}", source="published")
    run(monkeypatch, tmp_path, tmp_path / "out")
    said = (
        "6 subjects, but 582 are published; 6 of 6 have both scans, the paper counts 577; all scans together "
        "share 12 slices, the paper's 57700"
    )
    with (tmp_path / "out" / "counts.csv").open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert (row["slices"], row["paper_slices"], row["explanation"]) == ("12", "57700", said)
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"test and val and train: 12 slices of 6 subjects (paper: 57700 of 577): {said}"
    )


def test_an_outlier_is_remarked_in_the_manifest_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, score in enumerate((0.9, 0.88, 0.21, 0.91, 0.86, 0.9)):
        write_subject(tmp_path, f"IXI{900 + i}", score_after=score, remark="odd" if i == 2 else "")
    run(monkeypatch, tmp_path, tmp_path / "out")
    with (tmp_path / "out" / "manifest.csv").open(newline="") as lines:
        remarks = {row["subject"]: (row["status"], row["remark"]) for row in csv.DictReader(lines)}
    said = "score 0.210 is an outlier, the dataset's median is 0.890: look at its picture"
    # It is used all the same, and keeps what else was remarked.
    assert remarks.pop("IXI902") == ("ok", f"odd; {said}")
    assert set(remarks.values()) == {("ok", "")}
    assert f"IXI902: {said}" in capsys.readouterr().out.splitlines()


def test_fastmri_tests_on_the_published_validation_files() -> None:
    records = [record(f"file{i}", "fastmri") for i in range(8)]
    records += [record(f"file{10 + i}", "fastmri", split_hint="val") for i in range(4)]
    chosen = choose_splits(records, "fastmri", {"train": 6, "val": 2, "test": 4}, 2022)
    assert {name for name, split in chosen.items() if split == "test"} == {f"file{10 + i}" for i in range(4)}
    assert counts(chosen) == {"train": 6, "val": 2, "test": 4}
    # Excluded validation files are not replaced by training files.
    records[-1] = record("file13", "fastmri", split_hint="val", status="excluded", reason="no pair")
    assert counts(choose_splits(records, "fastmri", {"train": 6, "val": 2, "test": 4}, 2022))["test"] == 3
    with pytest.raises(BadInput, match=r"datasets\.fastmri\.splits asks for 5 test.*file13: no pair"):
        choose_splits(records, "fastmri", {"train": 6, "val": 2, "test": 5}, 2022)


def test_too_few_subjects_are_refused_with_every_reason() -> None:
    with pytest.raises(
        BadInput,
        match=r"config: datasets\.ixi\.splits asks for 3 test \+ 2 val \+ 5 train.*"
        r"7, of 7 persons.*IXI903: moved; IXI905: moved",
    ):
        choose_splits(people(9, {3, 5}), "ixi", WANTED, 2022)
    with pytest.raises(BadInput, match=r"9, of 9 persons.*excluded: none"):
        choose_splits(people(9), "ixi", WANTED, 2022)
    with pytest.raises(BadInput, match=r"5, of 5 persons"):
        choose_splits(people(10, {0, 1, 2, 3, 4}), "ixi", WANTED, 2022)


def test_training_takes_at_most_its_number_and_the_others_theirs() -> None:
    wanted = {"train": 50, "val": 2, "test": 3}
    with pytest.raises(BadInput, match=r"asks for 3 test \+ 2 val \+ 50 train subjects, but 9, of 9 persons"):
        choose_splits(people(9), "ixi", wanted, 2022)
    chosen = choose_splits(people(9), "ixi", wanted, 2022, at_most=True)
    assert counts(chosen) == {"train": 4, "val": 2, "test": 3}
    # Who is where does not depend on the way of asking.
    assert chosen == choose_splits(people(9), "ixi", {**wanted, "train": 4}, 2022)
    assert counts(choose_splits(people(9), "ixi", WANTED | {"train": 2}, 2022, at_most=True))["train"] == 2
    with pytest.raises(BadInput, match=r"5, of 5 persons"):
        choose_splits(people(5), "ixi", wanted, 2022, at_most=True)


def test_validation_and_test_are_never_fewer_than_asked_for_because_training_may_be() -> None:
    records = [record(f"file{i}", "fastmri") for i in range(5)]
    records += [record(f"file{10 + i}", "fastmri", split_hint="val") for i in range(2)]
    with pytest.raises(BadInput, match=r"asks for 3 test subjects, but 2, of 2 persons"):
        choose_splits(records, "fastmri", {"train": 9, "val": 2, "test": 3}, 2022, at_most=True)


def test_a_split_may_lack_what_no_whole_person_fills() -> None:
    # Two scans of each of four persons: test and validation have room for one more scan, and nobody has one.
    records = [record(f"IXI{900 + i}", group=f"p{i // 2}") for i in range(8)]
    assert counts(choose_splits(records, "ixi", {"train": 2, "val": 3, "test": 3}, 2022)) == {
        "train": 2,
        "val": 2,
        "test": 2,
    }


def test_persons_of_several_scans_are_no_excuse_for_asking_for_more_than_there_are() -> None:
    records = [record(f"file{i}", "fastmri", group=f"p{i // 3}") for i in range(9)]
    records.append(record("file99", "fastmri", split_hint="val"))
    assert choose_splits(records, "fastmri", {"train": 6, "val": 3, "test": 1}, 2022)
    with pytest.raises(BadInput, match=r"asks for 3 val \+ 8 train subjects, but 9, of 3 persons"):
        choose_splits(records, "fastmri", {"train": 8, "val": 3, "test": 1}, 2022)


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("person", {"group": "p"}),
        ("person", {"auxiliary_group": "p"}),
        ("file", {"target_file": "same.h5"}),
        ("file", {"auxiliary_file": "same.h5"}),
        ("file content", {"target_sha256": "same"}),
        ("file content", {"auxiliary_sha256": "same"}),
    ],
)
def test_leakage_between_published_splits_is_refused(what: str, changes: dict[str, str]) -> None:
    records = [record("file1", "fastmri", **changes), record("file2", "fastmri", group="other")]
    records.append(record("file3", "fastmri", split_hint="val", **changes))
    with pytest.raises(BadInput, match=rf"datasets\.fastmri: (a )?{what} .* two splits, .*file1.*file3"):
        choose_splits(records, "fastmri", {"train": 1, "val": 1, "test": 1}, 2022)


def test_one_scan_as_target_here_and_auxiliary_there_is_refused() -> None:
    records = [record("file1", "fastmri", target_sha256="same"), record("file2", "fastmri")]
    records.append(record("file3", "fastmri", split_hint="val", auxiliary_sha256="same"))
    with pytest.raises(BadInput, match="file content same would be in two splits"):
        choose_splits(records, "fastmri", {"train": 1, "val": 1, "test": 1}, 2022)


# The command, on files.


def write_subject(folder: Path, subject: str, dataset: str = "ixi", side: int = 8, **changes: Any) -> None:
    values = fields(subject, dataset, **changes)
    draw = np.random.default_rng(int(hashlib.sha256(subject.encode()).hexdigest()[:8], 16))
    shape = (values["slices"] if values["status"] == "ok" else 0, side, side)
    target = draw.random(shape) + (1j * draw.random(shape) if dataset == "fastmri" else 0)
    with h5py.File(folder / f"{subject}.h5", "w") as file:
        file["target"] = target.astype(np.complex64 if dataset == "fastmri" else np.float32)
        file["auxiliary"] = draw.random(shape).astype(np.float32)
    (folder / f"{subject}.json").write_text(json.dumps(values, indent=1, sort_keys=True))


@pytest.fixture
def aligned(tmp_path: Path) -> Path:
    folder = tmp_path / "aligned"
    folder.mkdir()
    for i in range(6):
        write_subject(folder, f"IXI{900 + i}", slices=2 + i % 3)
    return folder


SUBJECTS = [f"IXI{900 + i}" for i in range(6)]
SMALL = {"train": 3, "val": 1, "test": 2}


def run(monkeypatch: pytest.MonkeyPatch, aligned: Path, output: Path, **changes: str) -> None:
    options = {
        "dataset": "ixi",
        "aligned": str(aligned),
        "subjects": json.dumps(SUBJECTS),
        "splits": json.dumps(SMALL),
        "seed": "2022",
        "output": str(output),
    } | changes
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    monkeypatch.setattr(sys, "argv", ["prepare", *arguments])
    call(prepare.main)


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_split_files_hold_every_slice_once(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "data" / "ixi"
    run(monkeypatch, aligned, output, configuration="abc")
    prepared = json.loads((output / "prepared.json").read_text())
    names = ["counts.csv", "manifest.csv", "prepared.json", "test.h5", "train.h5", "val.h5"]
    assert sorted(path.name for path in output.iterdir()) == names
    rows = manifest(output)
    assert [row["subject"] for row in rows] == SUBJECTS
    seen: list[str] = []
    for split, count in SMALL.items():
        members = [row["subject"] for row in rows if row["split"] == split]
        assert len(members) == count
        seen += members
        with h5py.File(output / f"{split}.h5") as file:
            assert file["target"].chunks is None
            assert file["target"].compression is None
            assert file["subject"].asstr()[0] in members
            assert file["slice"].dtype == np.int32
            assert dict(file.attrs) == {
                "dataset": "ixi",
                "source": "embedded",
                "split": split,
                "units": "arbitrary scanner units",
                "height": 8,
                "width": 8,
                "fingerprint": file.attrs["fingerprint"],
            }
            assert len(file.attrs["fingerprint"]) == 64
            assert prepared["fingerprints"][split] == file.attrs["fingerprint"]
        store = SliceStore(output / f"{split}.h5", "cpu", 1.0)
        assert list(dict.fromkeys(store.subjects)) == sorted(members)
        for subject, positions in store.volumes().items():
            assert [store.slice_indices[i] for i in positions] == list(range(len(positions)))
            target, auxiliary = store.batch(positions)
            with h5py.File(aligned / f"{subject}.h5") as source:
                np.testing.assert_array_equal(target.numpy(), source["target"][()])
                np.testing.assert_array_equal(auxiliary.numpy(), source["auxiliary"][()])
    assert sorted(seen) == SUBJECTS
    assert (prepared["configuration"], set(prepared["fingerprints"])) == ("abc", set(SMALL))


def test_manifest_has_the_agreed_columns(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_subject(aligned, "IXI900", status="excluded", reason='header "odd", no match', score_after=None)
    write_subject(aligned, "IXI901", split_hint="", score_before=None)
    run(monkeypatch, aligned, tmp_path / "out")
    text = (tmp_path / "out" / "manifest.csv").read_text()
    assert text.splitlines()[0] == (
        "dataset,source,subject,group,auxiliary_group,split,status,reason,remark,site,slices,target_slices,"
        "auxiliary_slices,target_file,auxiliary_file,target_sha256,auxiliary_sha256,score_before,score_after"
    )
    assert "\r" not in text
    first, second = manifest(tmp_path / "out")[:2]
    assert first["split"] == first["score_after"] == second["score_before"] == ""
    assert (first["status"], first["reason"]) == ("excluded", 'header "odd", no match')
    assert (second["status"], second["site"], second["score_after"]) == ("ok", "HH", "0.5")


def test_excluded_subjects_are_announced(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_subject(aligned, "IXI903", status="excluded", reason="moved")
    run(monkeypatch, aligned, tmp_path / "out")
    said = capsys.readouterr().out.splitlines()
    why = "(not there, excluded, or of a person who does not fit)"
    assert said[0] == f"ixi train: 2 subjects, 1 fewer than configured {why}"
    assert said[1:] == ["ixi val: 1 subjects", "ixi test: 2 subjects"]


def test_the_same_input_gives_the_same_bytes(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, aligned, tmp_path / "one")
    run(monkeypatch, aligned, tmp_path / "two", subjects=json.dumps(SUBJECTS[::-1]))
    for name in ("counts.csv", "manifest.csv", "train.h5", "val.h5", "test.h5"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def fingerprints(folder: Path) -> dict[str, str]:
    return {split: SliceStore(folder / f"{split}.h5", "cpu", 1.0).fingerprint for split in SMALL}


@pytest.mark.parametrize("name", ["target", "auxiliary"])
def test_the_fingerprint_notices_one_pixel_and_only_its_split(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run(monkeypatch, aligned, tmp_path / "one")
    before = fingerprints(tmp_path / "one")
    assert len(set(before.values())) == 3
    with h5py.File(aligned / "IXI904.h5", "r+") as file:
        file[name][1, 3, 3] += np.float32(1e-3)
    run(monkeypatch, aligned, tmp_path / "two")
    after = fingerprints(tmp_path / "two")
    split = next(row["split"] for row in manifest(tmp_path / "one") if row["subject"] == "IXI904")
    assert {name for name in before if before[name] != after[name]} == {split}


def test_fastmri_targets_stay_complex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subjects = [f"file900000{i}" for i in range(4)]
    for i, subject in enumerate(subjects):
        write_subject(
            tmp_path, subject, "fastmri", split_hint="val" if i == 3 else "train", score_before=None
        )
    run(
        monkeypatch,
        tmp_path,
        tmp_path / "out",
        dataset="fastmri",
        subjects=json.dumps(subjects),
        splits='{"train": 2, "val": 1, "test": 1}',
    )
    store = SliceStore(tmp_path / "out" / "test.h5", "cpu", 1.0)
    assert store.subjects == ["file9000003"] * 2
    with h5py.File(tmp_path / "file9000003.h5") as file:
        np.testing.assert_array_equal(store.batch([0, 1])[0].numpy(), file["target"][()])


def test_another_matrix_is_refused_by_file(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_subject(aligned, "IXI905", side=9)
    with pytest.raises(BadInput, match=r"IXI905\.h5: .* matrix of 9 x 9, other subjects 8 x 8"):
        run(monkeypatch, aligned, tmp_path / "out")


def broken_h5(aligned: Path, how: str) -> None:
    path = aligned / "IXI902.h5"
    if how == "gone":
        path.unlink()
    elif how == "text":
        path.write_text("text")
    else:
        with h5py.File(path, "r+") as file:
            if how == "nan":
                file["auxiliary"][0, 0, 0] = np.nan
            elif how == "short":
                target = file["target"][:1]
                del file["target"]
                file["target"] = target
            elif how == "double":
                target = file["target"][()].astype(np.float64)
                del file["target"]
                file["target"] = target
            else:
                del file[how]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("gone", "the file is missing"),
        ("text", "no HDF5 file"),
        ("nan", "`auxiliary` holds NaN"),
        ("short", "`target` has 1 slices, the JSON file says 4"),
        ("double", "`target` is float64, not float32"),
        ("target", "`target` is missing"),
        ("auxiliary", "`auxiliary` is missing"),
    ],
)
def test_broken_volumes_are_named_and_leave_no_partial_file(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, message: str
) -> None:
    broken_h5(aligned, how)
    with pytest.raises(BadInput, match=rf"IXI902\.h5: .*{message}.*run the step `align`"):
        run(monkeypatch, aligned, tmp_path / "out")
    # Splits before the broken one may be complete; nothing else is left behind.
    left = {path.name for path in (tmp_path / "out").glob("*")}
    assert left <= {"train.h5", "val.h5", "test.h5"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "fine"}, "field `status` is 'fine', not 'ok' or 'excluded'"),
        ({"dataset": "fastmri"}, "field `dataset` is 'fastmri', not 'ixi'"),
        ({"subject": "IXI1"}, "field `subject` is 'IXI1', not 'IXI901'"),
        ({"split_hint": "train"}, "field `split_hint` is 'train', not ''"),
        ({"group": ""}, "field `group` is empty"),
        ({"target_sha256": ""}, "field `target_sha256` is empty"),
        ({"slices": 0}, "field `slices` is 0"),
        ({"slices": "2"}, "field slices is '2', not a whole number"),
        ({"slices": None}, "field slices is None, not a whole number"),
        ({"slices": 4.5}, "field slices is 4.5, not a whole number"),
        ({"group": ["a"]}, "field group is .'a'., not a text"),
        ({"score_after": "good"}, "field score_after is 'good', not a number or null"),
        ({"target_slices": 2.5}, "field target_slices is 2.5, not a whole number or null"),
    ],
)
def test_broken_records_are_named(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    (aligned / "IXI901.json").write_text(json.dumps(fields("IXI901", **changes)))
    with pytest.raises(BadInput, match=rf"IXI901\.json: {message}.*run the step `align`"):
        run(monkeypatch, aligned, tmp_path / "out")


def test_missing_and_unreadable_records_are_named(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = fields("IXI901")
    del values["site"]
    for text, message in ((json.dumps(values), "field site is missing"), ("{", "not JSON")):
        (aligned / "IXI901.json").write_text(text)
        with pytest.raises(BadInput, match=rf"IXI901\.json: {message}"):
            run(monkeypatch, aligned, tmp_path / "out")
    (aligned / "IXI901.json").unlink()
    with pytest.raises(BadInput, match=r"IXI901\.json: no such file; run the step `align`"):
        run(monkeypatch, aligned, tmp_path / "out")


def test_embedded_and_published_scans_do_not_mix(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_subject(aligned, "IXI903", source="published")
    with pytest.raises(BadInput, match="embedded and published scans are mixed"):
        run(monkeypatch, aligned, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subjects": '["IXI900", "IXI900"]'}, "--subjects: IXI900 is listed twice"),
        ({"subjects": "IXI900"}, "--subjects: not JSON"),
        ({"subjects": "[]"}, "--subjects: the list is empty"),
        ({"splits": '{"train": 3, "val": 1}'}, "--splits: field test is missing"),
        ({"splits": '{"train": 3, "val": 1, "test": 0}'}, "--splits: `test` is 0"),
        (
            {"splits": '{"train": 3.5, "val": 1, "test": 1}'},
            "--splits: field train is 3.5, not a whole number",
        ),
    ],
)
def test_wrong_options_are_named(
    aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        run(monkeypatch, aligned, tmp_path / "out", **changes)
