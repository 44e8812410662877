"""The list of all files with their hashes, and the command that compares a folder with it."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults import spoil
from made_up_results import planned, write_record

from data_prep.errors import BadInput
from data_prep.io.json_files import converted, write_json
from data_prep.phantom.donors import MAPS
from data_prep.prepare.places import Places
from workflow.provenance.__main__ import inputs, record
from workflow.provenance.code import source_files
from workflow.provenance.files import hash_files, listed
from workflow.provenance.footer import config_sha256, data_sha256, footer
from workflow.provenance.runs import Planned
from workflow.verify import compare

ROOT = Path(__file__).parents[3]
CONFIG = {"experiment": "tiny", "seed": 1, "datasets": {"ixi": {"root": "/data/IXI", "matrix": 64}}}
RUN = "ixi/1d_uniform_6x/zf/seed0"
PLANNED = [converted(Planned, one, "", "") for one in planned("ixi", ["1d_uniform_6x"], ["zf"])]
FILES = {
    "metrics.parquet": "numbers",
    "tables/table_1.csv": "a,b",
    "data/ixi/manifest.csv": "dataset,source\nixi,embedded\n",
}
# Written by the helper.
RECORDS = ("data/ixi/prepared.json", "masks/ixi/1d_uniform_6x.json", f"runs/{RUN}/run.json")
LEFT_OUT = (
    *(
        "report.html",
        "logs/train.log",
        "benchmarks/train.tsv",
        "runs/ixi/1d_uniform_6x/manet/seed0/resume/state.pt",
    ),
    *(".metrics.a.partial/partial.parquet", "runs/.hidden/file"),
)


@pytest.fixture
def results(tmp_path):
    """A small results folder with its list."""
    folder = tmp_path / "results" / "tiny"
    for name, text in [*FILES.items(), *((name, "") for name in LEFT_OUT)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    write_record(folder, RUN)
    write_json(folder / "provenance.json", record(folder, "tiny", CONFIG, PLANNED))
    return folder


def test_every_file_is_listed_with_its_hash_but_what_differs_from_run_to_run(results):
    found = json.loads((results / "provenance.json").read_text())
    assert found["outputs"] == {
        name: hashlib.sha256((results / name).read_bytes()).hexdigest() for name in (*FILES, *RECORDS)
    }
    written = json.loads((results / "runs" / RUN / "run.json").read_text())
    kept = ("code", "data_fingerprints", "device", "mask_sha256", "packages")
    own = {name: written[name] for name in kept} | {"training_hash": None}
    assert found["runs"] == {"ixi/1d_uniform_6x/zf/seed0": own}
    assert (
        found["code"]["sources"]["workflow/provenance/__main__.py"]
        == hashlib.sha256((ROOT / "workflow" / "provenance" / "__main__.py").read_bytes()).hexdigest()
    )
    named = {"Snakefile", "requirements/run.txt", "workflow/rules/tables.smk", "methods/manet/method.yaml"}
    assert named <= set(source_files())


def test_the_same_folder_elsewhere_gives_the_same_list(results, tmp_path):
    moved = Path(shutil.copytree(results, tmp_path / "moved"))
    write_json(moved / "provenance.json", record(moved, "tiny", CONFIG, PLANNED))
    text = (moved / "provenance.json").read_bytes()
    assert text == (results / "provenance.json").read_bytes()
    assert str(tmp_path).encode() not in text


def test_an_untouched_folder_agrees_wherever_it_lies(results, tmp_path):
    assert not any(compare(results).values())
    assert not any(compare(Path(shutil.move(results, tmp_path / "moved"))).values())


def test_what_differs_is_named(results):
    (results / "metrics.parquet").write_text("Numbers")
    (results / "tables" / "table_1.csv").unlink()
    (results / "tables" / "table_2.csv").touch()
    (results / "logs" / "train.log").write_text("another time")
    assert compare(results) == {
        "changed": ["metrics.parquet"],
        "missing": ["tables/table_1.csv"],
        "extra": ["tables/table_2.csv"],
        "leftover": [],
        "absent": [],
    }


def test_the_command_tells_by_its_exit_status(results):
    def verify(folder):
        command = [sys.executable, "-m", "workflow.verify", str(folder)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    done = verify(results)
    assert (done.returncode, done.stderr) == (0, "")
    assert "all 6 files are as listed" in done.stdout
    (results / "tables" / "table_1.csv").write_text("")
    done = verify(results)
    assert done.returncode == 1
    assert done.stdout == "changed  tables/table_1.csv\n"
    assert "1 changed, 0 missing, 0 extra" in done.stderr
    assert "Traceback" not in done.stderr


def verified(folder, *options):
    command = [sys.executable, "-m", "workflow.verify", *options, str(folder)]
    # Whoever opens a pipe waits for ever.
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_pipes_devices_and_loops_are_named_and_never_read(results):
    (results / "metrics.parquet").unlink()
    os.mkfifo(results / "metrics.parquet")
    os.mkfifo(results / "pipe")
    (results / "device").symlink_to("/dev/zero")
    (results / "system").symlink_to("/proc")
    (results / "tables" / "loop").symlink_to(results)
    (results / "again").symlink_to(results / "tables")
    (results / "self").symlink_to("self")
    done = verified(results)
    assert done.returncode == 1
    extra = ("again", "device", "pipe", "self", "system", "tables/loop")
    assert done.stdout.splitlines() == ["changed  metrics.parquet", *(f"extra    {name}" for name in extra)]
    with pytest.raises(BadInput, match="again: it is no regular file; remove it"):
        record(results, "tiny", CONFIG)


@pytest.mark.parametrize("written", [(), (0,), (2**40, 2**41)])
def test_a_file_that_claims_what_nobody_wrote_is_not_read_to_its_end(tmp_path, written):
    path = tmp_path / "metrics.parquet"
    with path.open("wb") as file:
        for place in written:
            file.seek(place)
            file.write(b"some")
        file.truncate(2**42)
    if path.stat().st_blocks * 512 > 2**30:
        pytest.skip("this file system keeps no holes")
    with pytest.raises(BadInput, match=r"metrics\.parquet: nobody has written 43980\d{8} bytes of it"):
        hash_files(tmp_path, [path.name])


def test_a_file_with_a_small_hole_is_read(tmp_path):
    path = tmp_path / "test.h5"
    with path.open("wb") as file:
        file.truncate(2**20)
    assert hash_files(tmp_path, [path.name]) == {path.name: hashlib.sha256(bytes(2**20)).hexdigest()}


def test_a_list_that_is_a_pipe_is_not_waited_for(results):
    (results / "provenance.json").unlink()
    os.mkfifo(results / "provenance.json")
    done = verified(results)
    assert done.returncode == 1
    assert "provenance.json: it is a pipe or a device and no file" in done.stderr


def test_runs_on_another_disk_count_as_those_of_the_folder(results, tmp_path):
    moved = shutil.move(results / "runs", tmp_path / "other disk")
    (results / "runs").symlink_to(moved)
    assert listed(results) == sorted((*FILES, *RECORDS))
    assert not any(compare(results).values())


def test_a_name_does_not_leave_its_line(results):
    forged = "x\x1b[1A\x1b[2Kall files are as listed\r\u202egnp"
    (results / forged).touch()
    (results / f"{forged}\nextra   other").touch()
    done = verified(results)
    said = r"x\x1b[1A\x1b[2Kall files are as listed\r\u202egnp"
    assert done.stdout.splitlines() == [f"extra    {said}", rf"extra    {said}\nextra   other"]
    done = verified(results / forged)
    assert done.stderr.splitlines() == [
        f"error: {results}/{said.replace(chr(92) + 'r', ' ')}: no such folder; give the results of an "
        "experiment, such as results/demo"
    ]


def test_a_part_of_a_folder_agrees_unless_what_is_there_differs(results):
    """As in Git, where results/reference holds its small files and its page."""
    for name in ("runs/ixi/1d_uniform_6x/zf/seed0/run.json", "data/ixi/manifest.csv"):
        (results / name).unlink()
    for name in ("README.md", "weights/unet.ckpt", "gpu/h200/report.md"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).touch()
    done = verified(results, "--part")
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 files are as listed, 2 others are not here" in done.stdout
    assert verified(results).returncode == 1
    (results / "metrics.parquet").write_text("Numbers")
    done = verified(results, "--part")
    assert (done.returncode, done.stdout) == (1, "changed  metrics.parquet\n")


def test_a_part_without_any_file_of_the_list_is_refused(results):
    for path in results.rglob("*"):
        if path.is_file() and path.name != "provenance.json":
            path.unlink()
    done = verified(results, "--part")
    assert done.returncode != 0
    assert "none of the files that its provenance.json lists is here" in done.stderr


def test_a_part_and_what_is_private_are_not_looked_for_at_once(results):
    done = verified(results, "--share", "--part")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("error: argument --part: not allowed with argument --share\n")


def test_verifying_says_what_it_does_not_cover(results):
    assert "not covered: who made the list" in verified(results).stdout


def test_a_file_that_cannot_be_read_now_has_not_changed(results):
    spoil(results / "metrics.parquet")
    with pytest.raises(OSError, match="Input/output error") as caught:
        compare(results)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(results / "metrics.parquet"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"provenance\.json: no such file"),
        ("{", r"provenance\.json: not JSON"),
        ("[]", r"provenance\.json: not a JSON object"),
        ("{}", "field outputs"),
        ('{"outputs": {"a": 1}}', "field outputs"),
        ('{"outputs": {"../a": ""}}', "outside the folder"),
        ('{"outputs": {"/etc/hosts": ""}}', "outside the folder"),
    ],
)
def test_a_damaged_list_is_refused(results, text, message):
    path = results / "provenance.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput, match=message):
        compare(results)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere: no such folder"):
        compare(tmp_path / "nowhere")


def test_published_scans_and_donors_are_inputs(results):
    (results / "data" / "fastmri").mkdir()
    (results / "data" / "fastmri" / "manifest.csv").write_text(
        "dataset,source,target_file,auxiliary_file,target_sha256,auxiliary_sha256\n"
        "fastmri,published,file1.h5,file0.h5,aa,bb\n"
    )
    (results.parent / "shared" / "donors").mkdir(parents=True)
    for dataset, maps in (("ixi", tuple(MAPS)[:2]), ("fastmri", tuple(MAPS)[2:])):
        write_json(results / "data" / dataset / "shared.json", Places("raw/a", "aligned/a", "data/a", maps))
    packages = [
        {"package": name, "archive": f"{name}.whl", "sha256": sha256, "licence": "MIT"}
        for name, sha256 in (("p", "cc"), ("q", "dd"))
    ]
    # As data_prep.phantom.donors writes them: a record beside each file of maps, one package in two of them.
    for maps, made_from in zip(MAPS, (packages, packages[1:], []), strict=True):
        (results.parent / "shared" / "donors" / f"{maps}.json").write_text(json.dumps(made_from))
    assert inputs(results, ["ixi", "fastmri"]) == [
        {"dataset": "fastmri", "file": "file1.h5", "sha256": "aa"},
        {"dataset": "fastmri", "file": "file0.h5", "sha256": "bb"},
        {"package": "p", "archive": "p.whl", "sha256": "cc"},
        {"package": "q", "archive": "q.whl", "sha256": "dd"},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not JSON"),
        ("{}", r"the whole is \{\}, not a list"),
        ("[1]", r"field \[0\] is 1, not an object"),
        ('[{"package": "p"}]', "field archive is missing"),
    ],
)
def test_a_damaged_record_of_donors_is_named(results, text, message):
    path = results.parent / "shared" / "donors" / "knee.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    write_json(results / "data" / "ixi" / "shared.json", Places("raw/a", "aligned/a", "data/a", ("knee",)))
    with pytest.raises(BadInput, match=rf"knee\.json: {message}.*; delete it and run the workflow again"):
        inputs(results, ["ixi", "fastmri"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({}, "field code.commit is missing"),
        (None, "field code is None, not an object"),
        ({"commit": 3}, "field code.commit is 3, not a text or null"),
        ({"commit": None}, "field code.source_sha256 is missing"),
    ],
)
def test_a_record_that_a_footer_cannot_use_is_named(results, code, message):
    write_record(results, "ixi/1d_uniform_6x/zf/seed0", code=code)
    with pytest.raises(BadInput, match=rf"run\.json: {message}; delete it and run the workflow again"):
        footer(results, "tiny", "ixi", [], PLANNED, "c" * 64)


def test_the_configurations_hash_ignores_where_scans_lie_and_nothing_else():
    def hashed(**changes):
        return config_sha256({**CONFIG, "datasets": {"ixi": {**CONFIG["datasets"]["ixi"], **changes}}})

    assert hashed(root="/elsewhere") == config_sha256(CONFIG)
    assert hashed(matrix=65) != config_sha256(CONFIG)
    assert config_sha256({**CONFIG, "seed": 2}) != config_sha256(CONFIG)


def test_data_is_known_by_what_its_slices_depend_on():
    def hashed(seed=1, **changes):
        dataset = {**CONFIG["datasets"]["ixi"], "masks": ["a"], "noise": 0.1, **changes}
        return data_sha256({"seed": seed, "datasets": {"ixi": dataset}}, "ixi")

    assert hashed(root="/elsewhere", masks=["a", "b"], noise=0.2) == hashed()
    assert len({hashed(), hashed(matrix=65), hashed(slices=3), hashed(seed=2)}) == 4


def test_what_another_configuration_left_is_named_and_not_listed(results):
    """Runs and tables: the list disowns them, and so does the comparison with it."""
    other = "ixi/1d_uniform_6x/unet/seed0"
    write_record(results, other)
    (results / "tables" / "table_2.csv").touch()
    own = [f"runs/{RUN}/*", "tables/table_1.*", "data/ixi/*", "masks/ixi/1d_uniform_6x.*", "metrics.*"]
    found = record(results, "tiny", CONFIG, PLANNED, own)
    assert list(found["runs"]) == [RUN]
    assert found["leftovers"] == [f"runs/{other}", "tables/table_2.csv"]
    assert list(found["outputs"]) == sorted((*FILES, *RECORDS))
    write_json(results / "provenance.json", found)
    (results / "runs" / other / "metrics.csv").touch()
    (results / "tables" / "table_3.csv").touch()
    left = [f"runs/{other}", "tables/table_2.csv"]
    differs = {"changed": [], "missing": [], "extra": ["tables/table_3.csv"], "leftover": left, "absent": []}
    assert compare(results) == differs
    (results / "tables" / "table_3.csv").unlink()
    command = [sys.executable, "-m", "workflow.verify", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, said, _ = done.stdout.splitlines()
    assert lines == [f"leftover {name}" for name in left]
    assert "files are as listed; 2 leftovers of another configuration are no" in said


@pytest.fixture
def sharing(results):
    """The small folder beside shared files: its own, and those of a subject that another experiment uses."""
    places = Places("raw/ixi-1", "aligned/ixi-2", "data/ixi-3", ("knee",))
    write_json(results / "data" / "ixi" / "shared.json", places)
    columns = "dataset,source,subject,target_file,auxiliary_file"
    rows = "ixi,embedded,IXI1,IXI-T2/IXI1-T2.nii.gz,IXI-T1/IXI1-T1.nii.gz"
    (results / "data" / "ixi" / "manifest.csv").write_text(f"{columns}\n{rows}\n")
    own = [
        *("donors/knee.npz", "raw/ixi-1/IXI-T2/IXI1-T2.nii.gz", "raw/ixi-1/truth/IXI1.truth.json"),
        *("aligned/ixi-2/IXI1.h5", "data/ixi-3/train.h5"),
    ]
    others = [
        *("donors/brain.npz", "raw/ixi-1/IXI-T2/IXI10-T2.nii.gz", "aligned/ixi-2/IXI10.h5"),
        *("aligned/ixi-2/.making", "aligned/ixi-4/IXI1.h5", "data/ixi-5/train.h5"),
    ]
    (results.parent / "shared" / "donors").mkdir(parents=True)
    (results.parent / "shared" / "donors" / "knee.json").write_text("[]")
    for name in (*own, *others):
        (results.parent / "shared" / name).parent.mkdir(parents=True, exist_ok=True)
        (results.parent / "shared" / name).write_text(name)
    write_json(results / "provenance.json", record(results, "tiny", CONFIG, PLANNED))
    return results, sorted([*own, "donors/knee.json"])


def test_an_experiments_shared_files_are_listed_and_no_others(sharing):
    results, own = sharing
    found = json.loads((results / "provenance.json").read_text())["shared"]
    assert list(found) == own
    assert found["data/ixi-3/train.h5"] == hashlib.sha256(b"data/ixi-3/train.h5").hexdigest()
    done = verified(results)
    assert done.returncode == 0, done.stderr
    count = len(own) + len(FILES) + len(RECORDS) + 1
    assert f"all {count} files are as listed" in done.stdout


def test_a_shared_file_that_was_changed_or_is_gone_is_named(sharing):
    results, _ = sharing
    (results.parent / "shared" / "data" / "ixi-3" / "train.h5").write_text("other")
    (results.parent / "shared" / "aligned" / "ixi-2" / "IXI1.h5").unlink()
    done = verified(results)
    assert done.returncode == 1
    changed, missing = done.stdout.splitlines()
    assert changed.split() == ["changed", "../shared/data/ixi-3/train.h5"]
    assert missing.split() == ["missing", "../shared/aligned/ixi-2/IXI1.h5"]


def test_a_copy_without_the_shared_folders_is_whole_and_says_what_was_not_compared(sharing, tmp_path):
    results, _ = sharing
    shutil.copytree(results, tmp_path / "elsewhere" / "tiny")
    done = verified(tmp_path / "elsewhere" / "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not covered: 4 folders of shared/, which are not here" in done.stdout
    assert f"all {len(FILES) + len(RECORDS) + 1} files are as listed" in done.stdout


@pytest.mark.parametrize("place", ["../x", "/etc", "a/b/c", ".x"])
def test_a_place_outside_the_shared_folder_is_refused(sharing, place):
    results, _ = sharing
    write_json(results / "data" / "ixi" / "shared.json", Places("raw/a", place, "data/a"))
    with pytest.raises(BadInput, match=r"shared\.json: .* is no folder of results/shared; delete it and run"):
        record(results, "tiny", CONFIG, PLANNED)


def test_a_run_behind_a_link_is_listed_like_others(results, tmp_path):
    folder = results / "runs" / "ixi" / "1d_uniform_6x"
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    found = record(results, "tiny", CONFIG, PLANNED)
    assert list(found["runs"]) == [RUN]
    assert f"runs/{RUN}/run.json" in found["outputs"]
    assert not any(compare(results).values())


def test_verifying_loads_nothing_heavy():
    heavy = ("torch", "pandas", "matplotlib", "numpy")
    code = f"import sys, workflow.verify; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_link_to_a_file_counts_as_the_file(results):
    target = results / "tables" / "table_1.csv"
    moved = target.rename(results / "logs" / "table_1.csv")
    target.symlink_to(moved)
    assert listed(results) == sorted((*FILES, *RECORDS))
    assert not any(compare(results).values())


@pytest.mark.parametrize("left", [[1], 5, None, [["x"]], ["../x"], ["/etc/passwd"]])
def test_leftovers_that_are_none_are_refused_in_one_sentence(results, left):
    path = results / "provenance.json"
    write_json(path, json.loads(path.read_text()) | {"leftovers": left})
    for module in ("workflow.verify", "workflow.summary"):
        command = [sys.executable, "-m", module, str(results)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert re.fullmatch(r"error: .*provenance\.json: .*\n", done.stderr)
