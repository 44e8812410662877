"""What is published tells of no place, login or patient, and what still does is named, file by file."""

import bz2
import csv
import gzip
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
import zlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from made_up_results import write_record
from matplotlib.figure import Figure

from data_prep.datasets.record import Record
from data_prep.errors import BadInput
from data_prep.io.json_files import write_json
from data_prep.io.private import without_folders, without_login, without_logins
from data_prep.prepare.counts import write_manifest
from data_prep.prepare.splits import choose_splits
from workflow.provenance import contents
from workflow.provenance.__main__ import record
from workflow.provenance.footer import config_sha256
from workflow.provenance.private import Names, private_words
from workflow.provenance.sharing import find_private

ROOT = Path(__file__).parents[3]
NAMES = Names(("reading-room-7",), ("annab", "Anna Berg"))
LOGIN = "https://anna:hush@archive.example/IXI-T1.tar"
CONFIG = {
    "experiment": "tiny",
    "seed": 1,
    "datasets": {
        "ixi": {
            "source": "published",
            "root": "/home/anna/IXI",
            "archives": {"T1": {"url": LOGIN, "md5": "0" * 32}},
        },
        "fastmri": {
            "root": "/home/anna/knees",
            "train_pairs": "/home/anna/t.csv",
            "val_pairs": "/home/anna/v.csv",
        },
    },
}


# What is written.


def test_the_list_of_results_tells_no_place_and_no_password(tmp_path: Path) -> None:
    content = record(tmp_path, "tiny", CONFIG)
    assert not any(word in json.dumps(content) for word in ("anna", "hush", str(tmp_path), str(ROOT)))
    archives = content["configuration"]["datasets"]["ixi"]["archives"]
    assert archives["T1"]["url"] == "https://archive.example/IXI-T1.tar"
    # The hash can be made again from what is published, and no password can be guessed from it.
    assert content["configuration_sha256"] == config_sha256(CONFIG) == config_sha256(content["configuration"])
    canonical = json.dumps(
        content["configuration"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert content["configuration_sha256"] == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LOGIN, "https://archive.example/IXI-T1.tar"),
        ("http://anna@host:80/a", "http://host:80/a"),
        ("see ftp://a:p@ss@host/x, and so on", "see ftp://host/x, and so on"),
        (
            "https://host/a?file=1&X-Amz-Signature=ab&api_key=cd",
            "https://host/a?file=1&X-Amz-Signature=&api_key=",
        ),
        ("https://host/people/anna@home", "https://host/people/anna@home"),
        ("pixels @2x, keys=1", "pixels @2x, keys=1"),
    ],
)
def test_an_address_is_left_without_its_login(text: str, expected: str) -> None:
    assert without_login(text) == expected
    assert without_logins({"a": [text, 1, None]}) == {"a": [expected, 1, None]}


def test_a_message_names_scans_without_their_folders() -> None:
    names = {
        Path("/home/anna/IXI/IXI-T2/a-T2.nii.gz"): "a-T2.nii.gz",
        Path("/home/anna/IXI/IXI-T1/a.nii"): "T1/a.nii",
    }
    text = (
        "/home/anna/IXI/IXI-T2/a-T2.nii.gz: it lies beside /home/anna/IXI/IXI-T2/a.nii, and "
        "/home/anna/IXI/IXI-T1/a.nii is no scan"
    )
    assert without_folders(text, names) == "a-T2.nii.gz: it lies beside a.nii, and T1/a.nii is no scan"
    assert without_folders("x 1/2 y", {Path("1"): "1"}) == "x 1/2 y"


def pair(number: int, source: str = "published", **changes: Any) -> Record:
    fields = {
        "dataset": "fastmri",
        "source": source,
        "subject": f"file{number}",
        "group": f"patient {number}",
        "auxiliary_group": f"patient {number}",
        "split_hint": "train",
        "status": "ok",
        "reason": "",
        "site": "",
        "slices": 1,
        "target_file": f"file{number}.h5",
        "auxiliary_file": f"file1{number}.h5",
        "target_sha256": f"a{number}",
        "auxiliary_sha256": f"b{number}",
        "score_before": None,
        "score_after": None,
    }
    return Record(**{**fields, **changes})


def rows_of(path: Path, records: list[Record]) -> list[dict[str, str]]:
    write_manifest(path, records, {})
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_manifest_numbers_patients_and_says_no_more_than_which_scans_are_of_one(tmp_path: Path) -> None:
    records = [
        pair(1),
        pair(2, auxiliary_group="Meier, 1950"),
        pair(3, group="Meier, 1950"),
        pair(4, group=""),
    ]
    rows = rows_of(tmp_path / "manifest.csv", records)
    assert [(row["group"], row["auxiliary_group"]) for row in rows] == [
        ("person-1", "person-1"),
        ("person-2", "person-3"),
        ("person-3", "person-4"),
        ("", "person-5"),
    ]
    # Not a hash either, which whoever knows the ids could make.
    text = (tmp_path / "manifest.csv").read_text()
    assert "Meier" not in text
    assert "patient" not in text
    # The order of the numbers is that of the subjects: it says nothing of the ids.
    other = [pair(1, group="zz", auxiliary_group="zz"), pair(2, group="aa", auxiliary_group="aa")]
    assert [row["group"] for row in rows_of(tmp_path / "other.csv", other)] == ["person-1", "person-2"]


@pytest.mark.parametrize(
    "kept",
    [
        {"source": "embedded", "group": "embedded-knee-00003"},
        {"subject": "IXI012-HH-1211", "group": "IXI012", "auxiliary_group": ""},
        {"subject": "Brats17_TCIA_101_1", "group": "Brats17_TCIA_101", "auxiliary_group": ""},
    ],
)
def test_persons_whom_the_subject_names_or_who_are_made_up_keep_their_ids(
    tmp_path: Path, kept: dict[str, str]
) -> None:
    (row,) = rows_of(tmp_path / "manifest.csv", [pair(1, **kept)])
    assert row["group"] == kept["group"]


def test_an_id_that_is_in_the_subjects_by_chance_is_none_that_it_names(tmp_path: Path) -> None:
    (row,) = rows_of(
        tmp_path / "manifest.csv", [pair(1, subject="file1000123", group="123", auxiliary_group="")]
    )
    assert row["group"] == "person-1"


def test_splits_go_by_the_ids_themselves_as_before() -> None:
    records = [
        *map(pair, range(8)),
        pair(8, group="patient 2"),
        *(pair(n, split_hint="val") for n in (20, 21)),
    ]
    chosen = choose_splits(records, "fastmri", {"train": 5, "val": 3, "test": 2}, 2022)
    # As they were when manifests named the patients.
    assert [chosen.get(f"file{number}", "") for number in (*range(9), 20, 21)] == [
        *("train", "val", "train", "train", "", "val", "train", "val", "train", "test", "test"),
    ]


def test_leakage_is_told_by_the_subjects_and_not_by_the_patient() -> None:
    records = [pair(1), pair(2), pair(3, group="patient 1", split_hint="val")]
    with pytest.raises(
        BadInput, match=r"a person would be in two splits, .*subject file1.*subject file3"
    ) as caught:
        choose_splits(records, "fastmri", {"train": 1, "val": 1, "test": 1}, 2022)
    assert "patient 1" not in str(caught.value)


# What is found.


def write_png(path: Path) -> None:
    Figure().savefig(path, metadata={"Software": None, "Comment": "made by annab"})


def write_pdf(path: Path) -> None:
    Figure().savefig(path, metadata={"Creator": None, "Author": "Anna Berg"})


def write_figure_text(path: Path) -> None:
    figure = Figure()
    figure.text(0.1, 0.5, "from /home/anna/scans")
    figure.savefig(path)


def write_h5(path: Path, **attributes: Any) -> None:
    with h5py.File(path, "w") as file:
        file["target"] = np.zeros(3)
        file["target"].attrs.update(attributes)


def write_linked_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["target"] = h5py.ExternalLink("/home/anna/other.h5", "target")


def write_text_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["note"] = ["from /home/anna/scans"]


def write_parquet(path: Path) -> None:
    pd.DataFrame({"patient_id": ["123"], "ssim": [0.5]}).to_parquet(path)


def write_parquet_attrs(path: Path) -> None:
    frame = pd.DataFrame({"ssim": [0.5]})
    frame.attrs["from"] = "/home/anna/scans"
    frame.to_parquet(path)


def write_columns(**columns: Any) -> Any:
    return lambda path: pd.DataFrame(columns).to_parquet(path)


def write_tar(path: Path) -> None:
    content = b"A" * 2**20 + b"\n/home/anna/study\n"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("notes")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def write_compound_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["subjects"] = np.zeros(2, [("patient", "i4"), ("score", "f4")])


def write_int_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["study/patient_id"] = np.array([4711, 4712])


def write_long_pdf(path: Path) -> None:
    text = zlib.compress(b"1 0 m\n" * 2**18 + b"(/home/anna/scans)")
    path.write_bytes(b"%PDF-1.4\n1 0 obj\n<< >>\nstream\n" + text + b"\nendstream\nendobj\n")


def write_data_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("study/data/notes.txt", "of reading-room-7")


CARRIED = b64encode(gzip.compress(b"of reading-room-7")).decode()
LONG = b"subject,score\n" + (b"a" * 999 + b",1\n") * 1700 + b"path,/home/anna/study\n"  # 1.7 MB


def write_nifti(path: Path) -> None:
    image = nibabel.Nifti1Image(np.random.default_rng(3).integers(0, 999, (64, 64, 9), np.int16), np.eye(4))
    image.header["descrip"] = b"/home/anna/mr/4711"
    nibabel.save(image, path)


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("report/report.html", "<p>of reading-room-7</p>")


def write_text(text: str) -> Any:
    return lambda path: path.write_text(text)


PRIVATE = {
    "logs/train.log": (write_text("ready\nreading /home/anna/scans/a.h5 now\n"), "absolute path", "line 2"),
    "logs/align.log": (write_text("File C:\\\\Users\\\\anna\\\\a.h5"), "absolute path", "line 1"),
    "benchmarks/train.tsv": (write_text("s\thost\n1.0\treading-room-7\n"), "host", "reading-room-7"),
    ".snakemake/log/a.snakemake.log": (write_text("host: elsewhere\nBuilding DAG"), "host", "elsewhere"),
    ".snakemake/metadata/cmVz": (
        write_text('{"shellcmd": "python --root=/data/IXI"}'),
        "absolute path",
        "shellcmd",
    ),
    "report.html": (
        write_text('<a href="data:text/plain;base64,L2hvbWUvYW5uYS9zY2Fucw==">log</a>'),
        "absolute path",
        "/home/anna/scans",
    ),
    "carried.html": (
        write_text(f'<a href="data:application/gzip;base64,{CARRIED}">'),
        "host",
        "application/gzip within",
    ),
    "report.zip": (write_zip, "host", "report/report.html"),
    "ro-crate-metadata.json": (
        write_text('{"@graph": [{"localPath": "/srv/IXI"}]}'),
        "absolute path",
        "@graph[0]",
    ),
    "raw/fetched_ixi.json": (
        write_text(json.dumps({"T1": {"from": LOGIN}})),
        "address with a login",
        "T1.from",
    ),
    "tables/a.tex": (
        write_text("% of anna's\n\\footnote{https://host/a?access_token=abc}"),
        "address with a login",
        "",
    ),
    "runs/a/run.json": (write_text('{"notes": ["on reading-room-7"]}'), "host", "notes[0]"),
    "runs/b/run.json": (write_text('{"hostname": "elsewhere"}'), "host or user", "hostname"),
    "data/a/manifest.csv": (write_text("patient_id,split\n4711,test\n"), "id of a patient", "patient_id"),
    "data/b/manifest.csv": (
        write_text("source,subject,group\npublished,file1,4711\n"),
        "id of a patient",
        "line 2, column group",
    ),
    "aligned/a.json": (
        write_text('{"source": "published", "subject": "file1", "auxiliary_group": "4711"}'),
        "id of a patient",
        "auxiliary_group",
    ),
    "data/c/test.h5": (
        lambda path: write_h5(path, patient_id="4711"),
        "id of a patient",
        "attribute target.patient_id",
    ),
    "data/d/test.h5": (
        lambda path: write_h5(path, origin="/home/anna/a.h5"),
        "absolute path",
        "target.origin",
    ),
    "data/e/test.h5": (write_linked_h5, "absolute path", "link target"),
    "data/f/test.h5": (write_text_h5, "absolute path", "dataset note"),
    "metrics.parquet": (write_parquet, "id of a patient", "column patient_id"),
    "trust/probes.parquet": (write_parquet_attrs, "absolute path", "/home/anna/scans"),
    "runs/c/examples.npz": (
        lambda path: np.savez(path, target=np.zeros(9), subject=np.array(["/home/anna/a"])),
        "absolute path",
        "subject.npy",
    ),
    "runs/d/model.ckpt": (
        lambda path: torch.save(
            {"state_dict": {"w": torch.zeros(9)}, "spec": {"root": "/home/anna/IXI"}}, path
        ),
        "absolute path",
        "/home/anna/IXI",
    ),
    "runs/e/state.pkl": (
        lambda path: path.write_bytes(pickle.dumps(["/home/anna/IXI"])),
        "absolute path",
        "pickle",
    ),
    "runs/f/examples.npz": (
        lambda path: np.savez(path, target=np.array([{}], object)),
        "not looked into",
        "an array of object",
    ),
    "figures/a.png": (write_png, "user", "Comment"),
    "figures/b.pdf": (write_pdf, "user", "Anna Berg"),
    "figures/c.svg": (write_figure_text, "absolute path", "/home/anna/scans"),
    "figures/d.pdf": (
        lambda path: path.write_bytes(b"%PDF-1.4\n<x:xmpmeta>annab</x:xmpmeta>"),
        "user",
        "annab",
    ),
    "raw/ixi/a.nii.gz": (write_nifti, "absolute path", "/home/anna/mr/4711"),
    "raw/b.nii": (write_nifti, "absolute path", "/home/anna/mr/4711"),
    "packed/long.csv.gz": (lambda path: path.write_bytes(gzip.compress(LONG)), "absolute path", "line 1702"),
    "packed/two.gz": (
        # Packed in two parts, one behind the other.
        lambda path: path.write_bytes(gzip.compress(b"ready\n") + gzip.compress(b"/home/anna/a\n")),
        "absolute path",
        "line 2",
    ),
    "packed/cut.gz": (lambda path: path.write_bytes(gzip.compress(LONG)[:-9]), "not looked into", "ended"),
    "packed/a.txt.bz2": (
        lambda path: path.write_bytes(bz2.compress(b"/home/anna/a")),
        "not looked into",
        "packed by bzip2",
    ),
    "packed/a.tar": (write_tar, "not looked into", "a tar archive"),
    "packed/a.zip": (write_data_zip, "host", "study/data/notes.txt"),
    "other/long.bin": (
        lambda path: path.write_bytes(b"\0\1" * 2**19 + b"/home/anna/scans"),
        "not looked into",
        "1048592 bytes of an unknown form",
    ),
    "other/wide.bin": (
        lambda path: path.write_bytes(b"\0\1\xff" + "/home/anna/scans/a".encode("utf-16-le")),
        "absolute path",
        "among bytes",
    ),
    "texts/utf16.csv": (
        lambda path: path.write_text("patient_id,split\n4711,test\n", encoding="utf-16"),
        "id of a patient",
        "patient_id",
    ),
    "texts/utf32.txt": (
        lambda path: path.write_text("of /home/anna/scans", encoding="utf-32"),
        "absolute path",
        "line 1",
    ),
    "texts/latin.csv": (
        lambda path: path.write_text("patient_id,name\n4711,Jürgen\n4712,Anna\n", encoding="latin-1"),
        "id of a patient",
        "line 2",
    ),
    "texts/a.json": (write_text('{"patient_id": [4711, 4712]}'), "id of a patient", "patient_id"),
    "tables/int.parquet": (
        write_columns(patient_id=[4711, 4712], ssim=[0.5, 0.6]),
        "id of a patient",
        "patient_id",
    ),
    "tables/date.parquet": (
        write_columns(birth=pd.to_datetime(["1950-01-02"])),
        "id of a patient",
        "1950-01-02",
    ),
    "tables/list.parquet": (
        write_columns(patient_id=[["Meier", "Berg"]], ssim=[0.5]),
        "id of a patient",
        "'Berg' (column patient_id)",
    ),
    "tables/struct.parquet": (
        write_columns(study=[{"hostname": "elsewhere"}]),
        "host or user",
        "column study.hostname",
    ),
    "tables/bytes.parquet": (write_columns(note=[b"/home/anna/a"]), "absolute path", "column note"),
    "data/g/test.h5": (write_compound_h5, "not looked into", "dataset subjects"),
    "data/h/test.h5": (write_int_h5, "id of a patient", "dataset study/patient_id"),
    "runs/h/patient_id.npy": (
        lambda path: np.save(path, np.array([4711])),
        "id of a patient",
        "numbers",
    ),
    "runs/i/state.pkl": (
        lambda path: path.write_bytes(pickle.dumps([b"/home/anna/scans"])),
        "absolute path",
        "among bytes",
    ),
    "figures/e.pdf": (write_long_pdf, "absolute path", "/home/anna/scans"),
    "raw/other.bin": (
        lambda path: path.write_bytes(b"\0\1\xff" + b"/home/anna/scans/a" + b"\0\xfe"),
        "absolute path",
        "among bytes",
    ),
    "runs/g/tensorboard/events.out.tfevents.1700000000.elsewhere.1.0": (write_text(""), "host", "its name"),
    "runs/annab/a.csv": (write_text("ssim\n1\n"), "user", "its name"),
    "runs/link.csv": (lambda path: path.symlink_to("/home/anna/a.csv"), "absolute path", "link"),
    "runs/pipe": (os.mkfifo, "not looked into", "no regular file"),
    "runs/broken.npz": (lambda path: path.write_bytes(b"PK\3\4 and no more"), "not looked into", "zip"),
}


@pytest.mark.parametrize("file", PRIVATE)
def test_what_is_private_is_named_whatever_the_form_of_the_file(tmp_path: Path, file: str) -> None:
    write, kind, place = PRIVATE[file]
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    found, count = find_private(tmp_path, NAMES)
    assert count == 1
    assert {entry.file for entry in found} == {file}
    assert [place in entry.example for entry in found if entry.kind == kind] == [True], found
    assert "hush" not in str(found)


def test_what_is_too_long_is_looked_into_as_far_as_it_goes_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_MOST", 2**21)
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(b"/home/anna/a\n" + b"a" * 2**21))
    np.save(tmp_path / "a.npy", np.array(["a" * 2**17] * 5))
    found, _ = find_private(tmp_path, NAMES)
    assert [(entry.file, entry.kind) for entry in found] == [
        ("a.log.gz", "absolute path"),
        ("a.log.gz", "not looked into"),
        ("a.npy", "not looked into"),
    ]


def test_archives_within_archives_end_somewhere(tmp_path: Path) -> None:
    content = b"of reading-room-7"
    for depth in range(1, 5):
        content = gzip.compress(content)
        (tmp_path / f"{depth}.gz").write_bytes(content)
    found, _ = find_private(tmp_path, NAMES)
    kinds = {entry.file: entry.kind for entry in found}
    assert kinds == {"1.gz": "host", "2.gz": "host", "3.gz": "not looked into", "4.gz": "not looked into"}


def test_what_the_workflow_means_to_be_shared_has_nothing_of_the_kind(tmp_path: Path) -> None:
    """Texts that look like paths but are none: slashes in addresses, tags, units, media types, JavaScript."""
    (tmp_path / "index.html").write_text(
        '<html><td>a/b</td><p>1/ms and text/html; see <a href="runs/ixi/zf/run.json">it</a> at '
        'https://example.org/a/b.html#c</p><img src="data:image/png;base64,/9j/4AAQ/home/AAAA"/>'
        '<script>x.replace(/_a_/g,"").match(/apple/i); y = a /b/ c; k.key=1</script></html>'
    )
    (tmp_path / "table_1.tex").write_text("\\begin{tabular}{l/r} 0.97 \\\\ \\midrule $k/2$ \\end{tabular}")
    rows_of(tmp_path / "manifest.csv", [pair(1), pair(2)])
    write_h5(tmp_path / "test.h5", source="published", fingerprint="ab" * 32)
    write_h5(tmp_path / "embedded.h5", patient_id="embedded-knee-00001")
    pd.DataFrame({"subject": ["file1"], "ssim": [0.5]}).to_parquet(tmp_path / "metrics.parquet")
    (tmp_path / "metrics.csv.gz").write_bytes(gzip.compress(b"subject,ssim\n" + b"a,1\n" * 2000))
    torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "model.ckpt")
    np.savez(tmp_path / "examples.npz", target=np.zeros((2, 3)), subject=np.array(["file1"]))
    for suffix in ("png", "pdf", "svg"):
        Figure().savefig(
            tmp_path / f"figure_1.{suffix}", metadata={"Date": None} if suffix == "svg" else None
        )
    (tmp_path / "link.pdf").symlink_to("figure_1.pdf")
    write_record(tmp_path, "ixi/1d_uniform_6x/zf/seed0", device="Processor 9000 @ 3.00GHz")
    (tmp_path / "data" / "ixi" / "manifest.csv").write_text("dataset,source\nixi,embedded\n")
    write_json(tmp_path / "provenance.json", record(tmp_path, "tiny", CONFIG))
    found, _ = find_private(tmp_path, NAMES)
    assert found == []


def test_pixels_of_a_documents_pictures_are_no_texts(tmp_path: Path) -> None:
    packed = zlib.compress(b"(/home/anna/scans)")
    for name, kind in (("picture", b"/Subtype /Image /DecodeParms << /Colors 3 >>"), ("text", b"")):
        head = b"%PDF-1.4\n1 0 obj\n<< " + kind + b" /Filter /FlateDecode >>\nstream\n"
        (tmp_path / f"{name}.pdf").write_bytes(head + packed + b"\nendstream\nendobj\n")
    assert [entry.file for entry in find_private(tmp_path, NAMES)[0]] == ["text.pdf"]


def test_a_word_within_another_is_no_name() -> None:
    assert list(private_words("savannabar reading-room-77", NAMES)) == []
    assert list(private_words("of ANNAB.", NAMES)) == [("user", "annab")]


def test_the_command_lists_a_line_each_and_tells_by_its_status(tmp_path: Path) -> None:
    def verify() -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "workflow.verify", "--share", str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    (tmp_path / "a.csv").write_text("ssim\n0.5\n")
    done = verify()
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing of that kind found in 1 files" in done.stdout
    (tmp_path / "b\n\x1b[2K.log").write_text(f"/home/anna/a\n/home/anna/b\n{LOGIN}\n")
    done = verify()
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        r"b\n\x1b[2K.log: absolute path '/home/anna/a' (line 1) and 1 more",
        r"b\n\x1b[2K.log: address with a login 'https://archive.example/IXI-T1.tar' (line 3)",
    ]
    assert "1 of 2 files tell of places or persons" in done.stderr


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere: no such folder"):
        find_private(tmp_path / "nowhere")
