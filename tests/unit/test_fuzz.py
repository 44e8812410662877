"""Whatever is done to a file, it is read as it says or refused by name; tests/fuzz.py has the oracle."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_prep.datasets.fastmri.pairs import PairEntry
from data_prep.errors import BadInput
from data_prep.io.yaml_files import read_yaml
from tests.fuzz import KINDS, hunt, originals, run_case

ROOT = Path(__file__).parents[2]

# Cases of make test-all, 18,500 together; the first FEW of each kind in make test.
CASES = {
    "nifti": 2500,
    "nifti_gz": 500,
    "position": 1500,
    "hdf5": 2500,
    "split": 1500,
    "xml": 1500,
    "pairs": 1500,
    "npz": 1500,
    "checkpoint": 1500,
    "tar": 1500,
    "json": 1500,
    "method": 600,
    "config": 400,
}
FEW = 40


def failures(kind: str, first: int, count: int) -> list[str]:
    results = list(hunt(kind, first, count))
    assert [number for number, _ in results] == list(range(first, first + count))
    return [f"case {number}: {said}" for number, said in results if said not in ("read", "refused")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_mutated_files(kind: str) -> None:
    assert failures(kind, 0, FEW) == []


@pytest.mark.parametrize("number", [1404, 1650, 2058])
def test_texts_that_claim_gigabytes_and_names_that_are_no_text(number: int) -> None:
    """Found by ``test_many_mutated_files``."""
    assert failures("hdf5", number, 1) == []


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_many_mutated_files(kind: str) -> None:
    assert sum(CASES.values()) >= 10_000
    assert failures(kind, FEW, CASES[kind]) == []


def judged(tmp_path: Path, read: Any) -> set[str]:
    """What the harness says of a reader of pair lists, over some cases."""
    kind = KINDS["pairs"]
    seeds = kind.seeds()
    unchanged = originals(kind, seeds)
    return {run_case(replace(kind, read=read), i, seeds, unchanged, tmp_path) for i in range(5)}


def test_the_harness_notices_a_reader_that_reads_wrongly(tmp_path: Path) -> None:
    def wrong(path: Path) -> list[PairEntry]:
        return [PairEntry("file1", "file2", 0.5)]

    # Or cannot read the file at all, where the product should have refused it.
    assert all(said.startswith("read, but a second reading ") for said in judged(tmp_path, wrong))


def test_the_harness_notices_what_does_not_name_the_file(tmp_path: Path) -> None:
    def vague(path: Path) -> None:
        raise BadInput("something is wrong with a file")

    def broken(path: Path) -> None:
        raise ZeroDivisionError(path.name)

    assert all("does not name the file" in said for said in judged(tmp_path, vague))
    assert judged(tmp_path, broken) == {"ZeroDivisionError: pairs.csv"}


# In a process of its own: a test worker has had gigabytes at its peak, which a reader would have to pass.
TAKES_MORE = """
import json, sys
from dataclasses import replace
from pathlib import Path
from data_prep.errors import BadInput
from tests.fuzz import FEW_BYTES, KINDS, most_memory, originals, run_case

kept = []

def greedy(path):
    kept.append(b"x" * (0 if kept else most_memory() + FEW_BYTES * 2))
    raise BadInput(f"{path}: not taken")

def wordy(path):
    with (path.parent / "unpacked").open("wb") as file:
        file.truncate(2**30)
    raise BadInput(f"{path}: not taken")

kind = KINDS["pairs"]
seeds = kind.seeds()
unchanged = originals(kind, seeds)
said = [
    [run_case(replace(kind, read=read), i, seeds, unchanged, Path(sys.argv[1])) for i in range(3)]
    for read in (greedy, wordy)
]
print(json.dumps(said))
"""


def test_the_harness_notices_what_takes_more_than_the_file_holds(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKES_MORE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    greedy, wordy = json.loads(done.stdout)
    assert "bytes of memory" in greedy[0]
    assert greedy[1:] == ["refused", "refused"]
    assert all("writes 1073" in said for said in wordy)


def test_yaml_bombs_doubled_keys_and_endless_nesting_are_refused_by_name(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    for text, said in (
        (bomb, "an alias, near line 2, is not taken"),
        ("seed: 1\nother: 2\nseed: 3\n", "the key 'seed' is there twice"),
        ("[" * 100_000, "not valid YAML"),
        ("when: 2022-13-45\n", "not valid YAML .*month"),
        ("a: \t\x00", "not valid YAML"),
        ("#" * 2**21, "larger than"),
        ("a: 1" + ":59" * 300_000, "a number of 900001 digits"),
    ):
        path = tmp_path / "some.yaml"
        path.write_text(text)
        with pytest.raises(BadInput, match=rf"some\.yaml: .*{said}") as error:
            read_yaml(path)
        assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(BadInput, match=r"some\.yaml: no such file"):
        read_yaml(path)
    path.mkdir()
    with pytest.raises(BadInput, match=r"some\.yaml: it is a folder and no file; give a file of it"):
        read_yaml(path)
