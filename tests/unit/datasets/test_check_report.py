"""The verdict on a folder of scans, as exit code, table and CSV."""

import csv
import io
from pathlib import Path

import pytest
from faults import full
from rich.console import Console

from data_prep import check as module
from data_prep.datasets.contract import Finding, Status, dataset_of
from data_prep.datasets.folder import exit_code, print_report, verdict, write_csv

IXI, FASTMRI = dataset_of("ixi"), dataset_of("fastmri")


def findings(*statuses: Status) -> list[Finding]:
    return [
        Finding(f"IXI{i:03d}", status, "" if status == "ok" else f"why [{i}]", (f"{i}-T1.nii", f"{i}-T2.nii"))
        for i, status in enumerate(statuses)
    ]


@pytest.mark.parametrize(
    ("statuses", "code", "sentence"),
    [
        (("ok", "ok", "ok"), 0, "Usable: all 3."),
        (("ok", "ok", "suspicious"), 0, "Usable: all 3. Look at 1 suspicious ones first."),
        (("ok", "ok", "excluded", "suspicious"), 3, "Usable with bad_scans: exclude: 3 of 4. Look at 1"),
        # One for each split is the least.
        (("ok", "ok", "ok", "refused"), 1, "Not usable: the run stops at 1, with bad_scans: exclude too."),
        (("ok", "ok", "excluded"), 1, "Not usable: 2 can be taken, to fill test, val, train."),
        (("excluded", "excluded"), 1, "Not usable: none can be taken"),
        ((), 1, "Not usable: none can be taken"),
    ],
)
def test_the_exit_code_and_the_sentence_follow_from_the_findings(
    statuses: tuple[Status, ...], code: int, sentence: str
) -> None:
    assert exit_code(findings(*statuses), IXI) == code
    assert verdict(findings(*statuses), IXI).startswith(sentence)


@pytest.mark.parametrize(
    ("pools", "code", "sentence"),
    [
        ({"train": "ok ok ok", "val": "ok ok ok"}, 0, "Usable: all 6."),
        ({"train": "ok ok excluded", "val": "ok excluded"}, 3, "Usable with bad_scans: exclude: 3 of 5."),
        # Three of six could be used, and the run would stop for want of a test split.
        ({"train": "ok ok ok", "val": "excluded excluded excluded"}, 1, "Not usable: none of val can be"),
        ({"train": "ok ok ok"}, 1, "Not usable: none of val can be taken, to fill test."),
        (
            {"train": "ok excluded", "val": "ok"},
            1,
            "Not usable: 1 of train can be taken, to fill val, train.",
        ),
    ],
)
def test_every_published_split_must_fill_its_own(pools: dict[str, str], code: int, sentence: str) -> None:
    found = [
        Finding(f"file{pool}{i}", status, pool=pool)
        for pool, statuses in pools.items()
        for i, status in enumerate(statuses.split())
    ]
    assert exit_code(found, FASTMRI) == code
    assert verdict(found, FASTMRI).startswith(sentence)


def test_the_table_shows_what_is_wrong_and_no_more() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100)
    print_report(console, Path("a[1]:x:"), IXI, findings("ok", "excluded", "suspicious"), {"T1 scans": "3"})
    text = stream.getvalue()
    # Brackets and colons are text, not rich's markup and names of pictures.
    assert "IXI in a[1]:x:" in text
    assert "T1 scans" in text
    assert "IXI000" not in text
    lines = [line for line in text.splitlines() if "IXI00" in line]
    assert len(lines) == 2
    assert "excluded" in lines[0]
    assert "why [1]" in lines[0]
    assert "suspicious" in lines[1]


def printed(found: list[Finding]) -> str:
    stream = io.StringIO()
    print_report(Console(file=stream, width=140), Path("a"), IXI, found, {})
    return stream.getvalue()


def test_a_long_list_is_cut_and_says_so() -> None:
    text = printed(findings(*["excluded"] * 75))
    assert "and 15 more; --csv FILE lists all" in text


def test_what_is_wrong_with_many_subjects_is_said_once() -> None:
    names = [f"IXI{number:03d}-HH-{1000 + number}" for number in range(1, 76)]
    found = [
        Finding(name, "excluded", f"T1/{name}-T1.nii: no such file; add it", (f"T2/{name}-T2.nii",))
        for name in names
    ]
    # The same of another scan, and a word of one subject alone, stay apart.
    other = "T2/IXI001-HH-1001-T2.nii: no such file; add it"
    found.append(Finding("IXI001-HH-1001", "excluded", other))
    found.append(Finding("IXI200-Guys-1", "suspicious", "IXI200-Guys-1: unknown site"))
    lines = [line.split("│")[1:-1] for line in printed(found).splitlines() if line.startswith("│ IXI")]
    assert [[cell.strip() for cell in line] for line in lines] == [
        [", ".join(names[:3]) + " ...", "75", "excluded", "T1/*-T1.nii: no such file; add it"],
        ["IXI001-HH-1001", "1", "excluded", other],
        ["IXI200-Guys-1", "1", "suspicious", "IXI200-Guys-1: unknown site"],
    ]
    assert "--csv FILE lists every subject" in printed(found)


def test_the_csv_has_every_subject(tmp_path: Path) -> None:
    write_csv(tmp_path / "found.csv", "ixi", findings("ok", "excluded"))
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok", "excluded"]
    assert rows[1] == {
        "dataset": "ixi",
        "subject": "IXI001",
        "status": "excluded",
        "reason": "why [1]",
        "files": "1-T1.nii;1-T2.nii",
    }


def test_neither_a_reader_that_left_nor_a_full_disk_loses_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = tmp_path / "IXI"
    for name in ("IXI-T1/IXI012-HH-1211-T1.nii.gz", "IXI-T2/IXI012-HH-1211-T2.nii.gz"):
        (scans / name).parent.mkdir(parents=True)
        (scans / name).touch()
    found = tmp_path / "found.csv"
    with monkeypatch.context() as patched:
        patched.setattr(module, "print_report", full)
        with pytest.raises(OSError, match="No space left"):
            module.main(scans, csv=found)
    assert "excluded" in found.read_text()
    monkeypatch.setattr(module, "write_csv", full)
    with pytest.raises(OSError, match="No space left"):
        module.main(scans, csv=found)
    assert "Not usable" in capsys.readouterr().out
