"""Two results folders against each other: what is said, what is compared, what is refused."""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from faults import NobodyReads, full
from made_up_results import metric_rows, run_record, sha256
from scipy.stats import ttest_rel

from data_prep.errors import BadInput
from data_prep.io.hashes import file_sha256
from data_prep.masks.from_file import VARIABLE
from data_prep.masks.registry import families
from workflow.compare import __main__ as module
from workflow.compare.__main__ import FILES, compare
from workflow.compare.cells import cells
from workflow.compare.side import read_side

MASKS, METHODS = ("1d_uniform_6x", "2d_radial_6x"), ("zf", "unet", "manet")
Change = Callable[[dict[str, Any]], object]


def facts(name: str, **changes: Any) -> dict[str, Any]:
    """What provenance.json tells of a run."""
    mask = name.split("/")[1]
    return {
        "code": {"commit": "c" * 40, "source_sha256": sha256("sources")},
        "data_fingerprints": {"test": sha256("test")},
        "mask_sha256": sha256(mask),
        "packages": {"torch": "2.0"},
        "device": "a CPU",
        "training_hash": None,
        **changes,
    }


def write(folder: Path, scores: pd.DataFrame, change: Change = lambda told: None) -> Path:
    """Write a colleague's folder: nothing but the scores and provenance.json."""
    folder.mkdir(parents=True, exist_ok=True)
    scores.to_parquet(folder / "metrics.parquet", index=False)
    keys = scores[["dataset", "mask", "method", "seed"]].drop_duplicates().itertuples(index=False)
    told = {
        "configuration": {
            "experiment": folder.name,
            "metric_convention": "volume",
            "training": {"epochs": 1},
        },
        "code": {
            "sources": {"workflow/metrics/volume.py": sha256("v"), "methods/unet/model.py": sha256("u")}
        },
        "packages": {},
        "runs": {(name := f"{d}/{m}/{i}/seed{s}"): facts(name) for d, m, i, s in keys},
        "outputs": {"metrics.parquet": file_sha256(folder / "metrics.parquet")},
    }
    change(told)
    (folder / "provenance.json").write_text(json.dumps(told))
    return folder


def rows(volumes: int = 6) -> pd.DataFrame:
    return metric_rows("ixi", MASKS, METHODS, volumes=volumes)


def moved(scores: pd.DataFrame) -> pd.DataFrame:
    """The same runs with other scores of MANet."""
    noise = np.random.default_rng(1).normal(0.5, 0.3, len(scores))
    return scores.assign(psnr=scores["psnr"] + noise * (scores["method"] == "manet"))


def said(capsys: pytest.CaptureFixture[str], *arguments: Path, **options: Path) -> str:
    compare(*arguments, **options)
    return capsys.readouterr().out


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return write(tmp_path / "first", rows())


@pytest.mark.parametrize("convention", ["volume", "slice"])
def test_differences_are_those_of_paired_subjects_with_students_interval(
    tmp_path: Path, convention: str
) -> None:
    scores, other = rows(), moved(rows())

    def change(told: dict[str, Any]) -> None:
        told["configuration"]["metric_convention"] = convention

    found = (
        cells(*(read_side(write(tmp_path / n, s, change)) for n, s in (("a", scores), ("b", other))))
        .set_index(["mask", "method", "metric"])
        .sort_index()
    )
    assert set(found["status"]) == {"compared"}
    assert len(found) == len(MASKS) * len(METHODS) * 3
    for mask in MASKS:
        means = [
            s[(s["method"] == "manet") & (s["mask"] == mask) & (s["level"] == convention)]
            .groupby("subject")["psnr"]
            .mean()
            for s in (scores, other)
        ]
        expected = ttest_rel(means[1], means[0])
        row = found.loc[(mask, "manet", "psnr")]
        assert row["difference"] == pytest.approx((means[1] - means[0]).mean())
        assert [row["low"], row["high"]] == pytest.approx([*expected.confidence_interval()])
        assert row["volumes"] == 6
        assert (found.loc[(mask, "unet"), "difference"] == 0).all()


def test_subjects_are_paired_by_their_ids_and_not_by_the_order_of_the_rows(
    tmp_path: Path, first: Path
) -> None:
    shuffled = write(tmp_path / "b", rows().sample(frac=1, random_state=3))
    found = cells(read_side(first), read_side(shuffled))
    assert (found[["difference", "low", "high"]] == 0).all(axis=None)


def test_what_differs_in_configuration_code_data_and_masks_is_said(
    tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(told: dict[str, Any]) -> None:
        told["configuration"]["training"]["epochs"] = 50
        told["code"]["sources"]["methods/unet/model.py"] = sha256("new")
        for name, run in told["runs"].items():
            run["device"] = "another CPU"
            if "radial" in name:
                run["mask_sha256"] = sha256("drawn again")

    text = said(capsys, first, write(tmp_path / "b", moved(rows()), change))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "configuration training.epochs 1 50" in lines
    assert f"code methods/unet/model.py {sha256('u')[:12]} {sha256('new')[:12]}" in lines
    assert "runs device a CPU another CPU" in lines
    assert any(line.startswith("masks of ixi 2d_radial_6x") for line in lines)
    assert "IXI: the masks are other realisations, which differ too: 2D-Radial-6×." in lines
    # Its name is no difference, and neither is what both have.
    assert "experiment" not in text
    assert "1d_uniform" not in text
    assert "computed by other code" not in text


def test_equal_experiments_differ_in_nothing(
    tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, first, write(tmp_path / "b", rows()))
    assert "Nothing differs in configuration, code, data or masks." in text


def test_other_conventions_and_other_code_of_metrics_are_said(
    tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(told: dict[str, Any]) -> None:
        told["configuration"]["metric_convention"] = "slice"
        told["code"]["sources"]["workflow/metrics/volume.py"] = sha256("new")

    text = said(capsys, first, write(tmp_path / "b", rows(), change))
    assert "Metric conventions differ (volume, slice): volumes are compared." in text
    assert "Scores were computed by other code: workflow/metrics/volume.py." in text


def test_other_test_subjects_are_said_and_not_compared(
    tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write(tmp_path / "b", rows(volumes=4))
    text = said(capsys, first, other)
    assert "IXI: not compared, because the test subjects are others: 4 in both, 2 in a alone, 0 in b" in text
    assert text.rstrip().endswith("Nothing could be compared.")
    found = cells(read_side(first), read_side(other))
    assert set(found["status"]) == {"other test data"}
    assert found["difference"].isna().all()


def of_other_slices(told: dict[str, Any]) -> None:
    for run in told["runs"].values():
        run["data_fingerprints"]["test"] = sha256("prepared otherwise")


def write_manifest(folder: Path, scan: str) -> None:
    path = folder / "data" / "ixi" / "manifest.csv"
    path.parent.mkdir(parents=True)
    lines = [f"IXI{900 + i},test,{sha256(f'{scan}{i}')},{sha256('T1')}" for i in range(6)]
    path.write_text("\n".join(["subject,split,target_sha256,auxiliary_sha256", *lines, ""]))


@pytest.mark.parametrize(
    ("scans", "status"),
    [(("T2", "T2"), "compared"), (("T2", "another"), "other test data"), (("T2",), "other test data")],
    ids=["same scans", "other scans", "no manifest"],
)
def test_equal_ids_are_not_enough_for_equal_subjects(
    tmp_path: Path, first: Path, scans: tuple[str, ...], status: str
) -> None:
    other = write(tmp_path / "b", rows(), of_other_slices)
    for folder, scan in zip((first, other), scans, strict=False):
        write_manifest(folder, scan)
    assert set(cells(read_side(first), read_side(other))["status"]) == {status}


def test_what_cannot_be_compared_tells_why(tmp_path: Path, first: Path) -> None:
    other = rows()
    other.loc[(other["method"] == "unet") & (other["mask"] == MASKS[0]), ["ssim", "psnr", "nmse"]] = np.nan
    other = other[(other["method"] != "manet") | (other["mask"] != MASKS[0])]
    blank = (other["mask"] == MASKS[1]) & (other["subject"] == "IXI900") & (other["method"] == "zf")
    other.loc[blank, "blank"] = 1
    found = cells(read_side(first), read_side(write(tmp_path / "b", other)))
    status = found.drop_duplicates(["mask", "method"]).set_index(["mask", "method"])["status"]
    assert status[MASKS[0], "unet"] == "diverged in b"
    assert status[MASKS[0], "manet"] == "missing in b"
    assert status[MASKS[1], "zf"] == "blank slices differ"
    assert status[MASKS[1], "manet"] == "compared"
    tested = found[found["status"] == "compared"]
    assert (tested["tests"] == len(tested)).all()


def test_runs_tell_where_there_is_no_provenance(
    tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, folder = rows(), tmp_path / "b"
    names = [f"ixi/{mask}/{method}/seed0" for mask in MASKS for method in METHODS]
    scores.attrs["runs"] = {name: sha256(name) for name in names}
    folder.mkdir()
    scores.to_parquet(folder / "metrics.parquet")
    for name in names:
        own = facts(name) | {"outputs": {"metrics.csv": sha256(name)}}
        path = folder / "runs" / name / "run.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(run_record(**own)))
    text = said(capsys, first, folder)
    assert "b has no provenance.json: configurations and sources are not compared" in text
    assert set(cells(read_side(first), read_side(folder))["status"]) == {"compared"}
    # Scores of other evaluations than the runs' are nobody's.
    path.write_text(json.dumps(run_record(**own | {"outputs": {"metrics.csv": sha256("newer")}})))
    with pytest.raises(
        BadInput, match=r"metrics\.parquet: holds other scores of runs/ixi/2d_radial_6x/manet"
    ):
        compare(first, folder)


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)


def test_a_mask_from_a_file_has_the_name_that_tables_give_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    scores = metric_rows("ixi", ("1d_uniform_6x",), METHODS, volumes=2).assign(mask="my_mask_4x")
    text = said(capsys, write(tmp_path / "a", scores), write(tmp_path / "b", scores))
    families.cache_clear()
    assert "IXI, My-Mask-4×, 2 test volumes" in text


def test_words_of_others_stay_words(tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(told: dict[str, Any]) -> None:
        told["configuration"] |= {"<script>x</script>": "\x1b[2J", "=1+1": "y" * 10**5, "a\nb": 1}

    output = tmp_path / "out"
    text = said(capsys, first, write(tmp_path / "b", rows(), change), to=output)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 400
    page = (output / "comparison.html").read_text()
    assert len(page) < 10**5
    assert "script" not in Tags(page).found
    assert "&lt;script&gt;" in page
    assert str(tmp_path) not in page
    assert "'=1+1" in (output / "differences.csv").read_text()
    assert {path.name for path in output.iterdir()} == {"cells.csv", "comparison.html", "differences.csv"}


# ---- what is refused ----------------------------------------------------------------------------------


def test_neither_a_reader_that_left_nor_a_full_disk_loses_the_other(
    tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, output = write(tmp_path / "b", moved(rows())), tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", NobodyReads())
        with pytest.raises(BrokenPipeError):
            compare(first, other, to=output)
    assert {path.name for path in output.iterdir()} == set(FILES)
    monkeypatch.setattr(module, "write_comparison", full)
    with pytest.raises(OSError, match="No space left"):
        compare(first, other, to=output)
    assert "b − a" in capsys.readouterr().out


def test_files_of_two_comparisons_are_not_mixed(
    tmp_path: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, output = write(tmp_path / "b", moved(rows())), tmp_path / "out"
    compare(first, other, to=output)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    write_one = Path.write_text

    def fill(path: Path, text: str, **options: Any) -> int:
        return full() if "<html" in text else write_one(path, text, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", fill)
        with pytest.raises(OSError, match="No space left"):
            compare(other, first, to=output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def no_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def no_scores(folder: Path) -> None:
    (folder / "metrics.parquet").unlink()


def damaged_scores(folder: Path) -> None:
    (folder / "metrics.parquet").write_bytes(b"PAR1" * 9)


def of_other_types(folder: Path) -> None:
    write(folder, rows().assign(psnr="high"))


def no_id(folder: Path) -> None:
    write(folder, rows().assign(method="../../../etc"))


def twice(folder: Path) -> None:
    write(folder, pd.concat([rows(), rows()]))


def other_scores(folder: Path) -> None:
    moved(rows()).to_parquet(folder / "metrics.parquet")


def no_record(folder: Path) -> None:
    (folder / "provenance.json").unlink()


def untold(folder: Path) -> None:
    write(folder, rows(), lambda told: told["runs"].popitem())


def malformed(folder: Path) -> None:
    write(folder, rows(), lambda told: told["runs"].update(x=facts("a/b/c") | {"mask_sha256": 3}))


def nothing_shared(folder: Path) -> None:
    write(folder, metric_rows("ixi", MASKS, ["another"]))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (no_folder, r"b: no such folder; give the results"),
        (no_scores, r"b/metrics\.parquet: no such file; run workflow\.statistics\.gather first"),
        (damaged_scores, r"b/metrics\.parquet: not a Parquet file"),
        (of_other_types, r"b/metrics\.parquet: a column is not of its type"),
        (no_id, r"b/metrics\.parquet: method '\.\./\.\./\.\./etc' is no id"),
        (twice, r"b/metrics\.parquet: a slice or volume of a run is there twice"),
        (other_scores, r"b/metrics\.parquet: this is not the file that provenance\.json beside it lists"),
        (no_record, r"b/runs/ixi/1d_uniform_6x/zf/seed0/run\.json: no such file"),
        (untold, r"b/provenance\.json: does not tell of runs/ixi/2d_radial_6x/manet/seed0"),
        (malformed, r"b/provenance\.json: field runs\[\.\.\.\]\.\w+ is "),
        (nothing_shared, r"have no method in common; give two experiments"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_wrong_folders_are_refused_in_one_sentence(
    tmp_path: Path, first: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    other = write(tmp_path / "b", rows())
    spoil(other)
    with pytest.raises(BadInput, match=sentence) as refused:
        compare(first, other)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("depth", [300, 800, 940, 100_000])
def test_deep_nesting_ends_in_no_traceback(tmp_path: Path, first: Path, depth: int) -> None:
    other = write(tmp_path / "b", rows())
    path = other / "provenance.json"
    deep = '"deep": ' + '{"x": ' * depth + "1" + "}" * depth
    path.write_text(path.read_text().replace('"experiment": "b"', deep))
    with suppress(BadInput):
        compare(first, other)


def test_one_folder_and_an_output_that_is_a_file_are_refused(tmp_path: Path, first: Path) -> None:
    other = write(tmp_path / "b", rows())
    (tmp_path / "link").symlink_to(first)
    with pytest.raises(BadInput, match="are one folder; give two experiments"):
        compare(first, tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"--to: .*file is no folder; give one to write into"):
        compare(first, other, to=tmp_path / "file")


def test_neither_of_the_two_is_written_into(tmp_path: Path, first: Path) -> None:
    other = write(tmp_path / "b", moved(rows()))
    (tmp_path / "disk").mkdir()
    (other / "runs").symlink_to(tmp_path / "disk")
    for to in (first, other / "tables", other / "runs" / "ixi"):
        with pytest.raises(BadInput, match=r"--to: .* lies within .*, whose files are listed"):
            compare(first, other, to=to)
    assert {path.name for path in first.iterdir()} == {"metrics.parquet", "provenance.json"}
    assert not [*(tmp_path / "disk").iterdir()]
