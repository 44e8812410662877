r"""Check that further datasets keep their contract: ``python -m data_prep.check_dataset ID``.

ID is that of a file of ``data_prep/further_datasets/``, such as ``brats``; without one every dataset is
checked. Three small subjects are made up and taken through finding, reading, cropping and splitting. Donors
of brains are made up too, unless ``--donors`` names the folder of the real ones. With ``--root`` published
scans are checked instead, without what needs making some. A failure says what is wrong, with which file and,
if the dataset's own code stopped, in which line. The exit status is 0 only if everything holds.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from data_prep.contracts.checking import conclude, report, require
from data_prep.datasets.align import align, begin, write
from data_prep.datasets.contract import FurtherDataset, Size, further, further_dataset
from data_prep.errors import BadInput, run_command
from data_prep.phantom.toy import write_toy_donors
from data_prep.prepare.__main__ import prepare

SIZE = Size(matrix=64, slices=6, slice_spacing=6.0)
SUBJECTS = 3
MATRIX, SLICES = 48, 4  # smaller than the scans: cropped


@dataclass(frozen=True)
class Candidate:
    """A dataset under check.

    Attributes:
        dataset: as discovered.
        root: its scans.
        donors: folder of donors' maps.
        work: an empty folder to write into.
        made: whether the scans were made up here.
    """

    dataset: FurtherDataset
    root: Path
    donors: Path
    work: Path
    made: bool

    @property
    def subjects(self) -> list[str]:
        """The subjects to look at."""
        return self.dataset.find(self.root)[:SUBJECTS]

    def embed(self, index: int, seed: int, root: Path) -> None:
        """Make up one subject."""
        assert self.dataset.embed is not None
        self.dataset.embed(self.donors, index, seed, SIZE, root)


def finding(candidate: Candidate) -> None:
    """Every subject is found by the names of its files, and each file belongs to one scan."""
    dataset, found = candidate.dataset, candidate.dataset.find(candidate.root)
    require(bool(found), f"find sees no subject in {candidate.root}; look at target_file and auxiliary_file")
    if candidate.made:
        assert dataset.embedded_id is not None
        made = sorted(dataset.embedded_id(index, 0) for index in range(SUBJECTS))
        require(found == made, f"embed made {', '.join(made)}, but find sees {', '.join(found)}")
    for subject in candidate.subjects:
        target, auxiliary = dataset.files(candidate.root, subject)
        require(target != auxiliary, f"{target} is both scans of {subject}")


def reading(candidate: Candidate) -> None:
    """Target and auxiliary lie on one grid, are finite, not negative and not equal."""
    for subject in candidate.subjects:
        volumes = candidate.dataset.read(*candidate.dataset.files(candidate.root, subject))
        for name, volume in zip(("target", "auxiliary"), volumes, strict=True):
            data = volume.data
            require(data.dtype == np.float32, f"the {name} is {data.dtype}, not float32 ({subject})")
            require(data.ndim == 3, f"the {name} is {data.shape}, not (width, height, slice) ({subject})")
            require(bool(np.isfinite(data).all()), f"the {name} has NaN or infinity ({subject})")
            require(float(data.min()) >= 0, f"the {name} is negative somewhere ({subject})")
            require(float(data.max()) > 0, f"the {name} holds no signal ({subject})")
        target, auxiliary = volumes
        shapes = f"{target.data.shape} and {auxiliary.data.shape}"
        require(target.data.shape == auxiliary.data.shape, f"the two are {shapes} ({subject})")
        require(bool((target.data != auxiliary.data).any()), f"both scans are one image ({subject})")
        axes = np.sign(np.diag(target.affine[:3, :3])).tolist()
        require(axes == [-1, -1, 1], f"axes run to {axes}, not left, posterior and superior ({subject})")


def sameness(candidate: Candidate) -> None:
    """Index and seed decide a made-up subject: equal ones, equal bytes; others, other anatomy."""
    dataset, places = candidate.dataset, [candidate.work / name for name in ("again", "other")]
    candidate.embed(0, 0, places[0])
    candidate.embed(0, 1, places[1])
    assert dataset.embedded_id is not None
    first, other = dataset.embedded_id(0, 0), dataset.embedded_id(0, 1)
    files = zip(
        dataset.files(candidate.root, first),
        dataset.files(places[0], first),
        dataset.files(places[1], other),
        strict=True,
    )
    for path, again, changed in files:
        require(path.read_bytes() == again.read_bytes(), f"{path.name} differs when made again")
        require(path.read_bytes() != changed.read_bytes(), f"{path.name} is the same under another seed")
    second = dataset.files(candidate.root, dataset.embedded_id(1, 0))
    pair = dataset.files(candidate.root, first)
    require(pair[0].read_bytes() != second[0].read_bytes(), "two subjects have the same target")


def road(candidate: Candidate) -> None:
    """Subjects are cropped, split by person and written as training reads them."""
    aligned, prepared = candidate.work / "aligned", candidate.work / "prepared"
    subjects = candidate.subjects
    require(len(subjects) == SUBJECTS, f"{SUBJECTS} subjects are needed, one for each split")
    for subject in subjects:
        files = candidate.dataset.files(candidate.root, subject)
        record = begin(candidate.dataset, subject, "embedded" if candidate.made else "published", *files)
        pair = align(candidate.dataset, *files, MATRIX, SLICES, record)
        write(pair, candidate.dataset, aligned)
    wanted = dict.fromkeys(("train", "val", "test"), 1)
    got, _ = prepare(candidate.dataset.id, aligned, subjects, wanted, 0, prepared)
    require(got == wanted, f"three subjects make the splits {got}; is group one person?")
    seen = set()
    for split in wanted:
        with h5py.File(prepared / f"{split}.h5") as file:
            shape = file["target"].shape
            require(shape == (SLICES, MATRIX, MATRIX), f"{split}.h5 holds slices of {shape}")
            seen |= {name.decode() for name in file["subject"][()]}
    require(seen == set(subjects), f"the splits hold {sorted(seen)}, not {subjects}")


def bad_scans(candidate: Candidate) -> None:
    """A missing, empty or cut scan is told by the name of its file."""
    subject = candidate.subjects[0]
    for which in (0, 1):
        for damage in ("missing", "empty", "cut"):
            root = candidate.work / f"{damage}{which}"
            paths = candidate.dataset.files(root, subject)
            for source, copy in zip(candidate.dataset.files(candidate.root, subject), paths, strict=True):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
            path = paths[which]
            content = path.read_bytes()
            path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
            if damage == "missing":
                path.unlink()
            require(candidate.dataset.find(root) == [subject], f"find does not see {subject} ({damage} scan)")
            try:
                candidate.dataset.read(*paths)
            except BadInput as error:
                require(path.name in str(error), f"{damage} {path.name}: its name is not in: {error}")
            else:
                require(False, f"{damage} {path.name} is read without complaint")


CHECKS: dict[str, Callable[[Candidate], None]] = {
    check.__name__: check for check in (finding, reading, sameness, road, bad_scans)
}
_OF_MADE_UP = {"sameness"}


def run(name: str, root: Path | None, donors: Path | None) -> tuple[int, int]:
    """Check one dataset, print what was found, and return the numbers of failures and of checks.

    Raises:
        BadInput: there is no such dataset, or nothing to check it with.
    """
    dataset = further_dataset(name)
    if root is None and dataset.embed is None:
        raise BadInput(f"{name}: has no embedded form; name the folder of its scans with --root")
    path = Path(__file__).parent.parent / f"{further()[name][0].replace('.', '/')}.py"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if root is None and donors is None:
            (folder / "donors").mkdir()
            write_toy_donors(folder / "donors", dataset.maps)
        (folder / "work").mkdir()
        candidate = Candidate(
            dataset, root or folder / "scans", donors or folder / "donors", folder / "work", root is None
        )
        checks = [check for check in CHECKS if candidate.made or check not in _OF_MADE_UP]
        runs: dict[str, Callable[[], None]] = {}
        if candidate.made:
            runs["Three subjects can be made up"] = partial(make_up, candidate)
        for check in checks:
            runs[(CHECKS[check].__doc__ or check).rstrip(".")] = partial(CHECKS[check], candidate)
        return report(f"{name}: {dataset.label}, {dataset.auxiliary} guides {dataset.target}", runs, path)


def make_up(candidate: Candidate) -> None:
    """Write the subjects that the checks look at."""
    for index in range(SUBJECTS):
        candidate.embed(index, 0, candidate.root)


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.check_dataset",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("id", nargs="*", help="further dataset, e.g. brats; default: all")
    parser.add_argument("--root", type=Path, help="folder of published scans, as datasets.<id>.root names it")
    parser.add_argument("--donors", type=Path, help="folder of donors' maps, e.g. results/demo/raw/donors")
    options = parser.parse_args()
    if options.root is not None and len(options.id) != 1:
        parser.error("--root needs one ID")
    conclude([run(name, options.root, options.donors) for name in options.id or further()])


if __name__ == "__main__":
    run_command(main)
