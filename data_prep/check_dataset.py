r"""Check that datasets keep their contract: ``python -m data_prep.check_dataset ID``.

ID is that of a folder of ``data_prep/datasets/``, such as ``brats``; without one every dataset is checked.
Three small subjects are made up and taken through finding, aligning and splitting. Donors are made up too,
unless ``--donors`` names the folder of the real ones. With ``--root`` published
scans are checked instead, without what needs making some. A failure says what is wrong, with which file and,
if the dataset's own code stopped, in which line. The exit status is 0 only if everything holds.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np

from data_prep.contracts.checking import conclude, file_of, report, require
from data_prep.datasets.align import align, write_aligned
from data_prep.datasets.contract import Dataset, Scans, Size, Wanted, dataset_of, datasets, discover
from data_prep.datasets.misnamed import misnamed
from data_prep.datasets.record import Aligned
from data_prep.errors import BadInput
from data_prep.io.command import NAMES, WrongUse, command, exclusive
from data_prep.io.files import scratch
from data_prep.io.json_files import converted
from data_prep.phantom.toy import write_toy_donors
from data_prep.prepare.__main__ import prepare

SIZE = Size(matrix=64, slices=6, slice_spacing=6.0)
SUBJECTS = 3
SPLITS = dict.fromkeys(("train", "val", "test"), 1)
MATRIX, SLICES = 48, 5  # smaller than the scans: cropped


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

    dataset: Dataset
    root: Path
    donors: Path
    work: Path
    made: bool

    @property
    def lists(self) -> dict[str, Path]:
        """The lists of subjects that lie beside the scans."""
        files = map(self.root.joinpath, self.dataset.embedded_lists)
        return dict(zip(self.dataset.lists, files, strict=True))

    @property
    def scans(self) -> dict[str, Scans]:
        """The subjects to look at.

        Raises:
            Violation: there is none, of whom all that is checked would hold.
        """
        found = self.dataset.scans(self.root, self.lists)
        files = "target_file and auxiliary_file" + ("" if self.made else ", or at --root")
        require(bool(found), f"find sees no subject in {self.root}; look at {files}")
        return {subject: found[subject] for subject in list(found)[:SUBJECTS]}

    def files(self) -> list[list[Path]]:
        """Where the made-up subjects' two scans lie, by their numbers."""
        made = self.dataset.made_up(self.root, SPLITS, 0).values()
        return [[Path(scans.target), Path(scans.auxiliary)] for scans in made]

    def embed(self, index: int, seed: int, root: Path) -> None:
        """Make up one subject."""
        assert self.dataset.embed is not None
        scans = list(self.dataset.made_up(root, SPLITS, seed).values())[index]
        options = {"split": scans.split_hint} if scans.split_hint else {}
        own = converted(self.dataset.embed_options, options, "embed_options", "give them defaults")
        self.dataset.embed(self.donors, index, seed, SIZE, root, **asdict(own))

    def align(self, subject: str, scans: Scans) -> Aligned:
        """Take one subject through the step ``align``."""
        wanted = Wanted(self.dataset, Path(scans.target), Path(scans.auxiliary), MATRIX, SLICES)
        own = converted(self.dataset.align_options, {}, "align_options", "give them defaults")
        source = "embedded" if self.made else "published"
        return align(wanted, subject, source, scans.split_hint, asdict(own))


def make_up(candidate: Candidate) -> None:
    """Three subjects can be made up."""
    for index in range(SUBJECTS):
        candidate.embed(index, 0, candidate.root)
    if candidate.dataset.list_embedded is not None:
        candidate.dataset.list_embedded(SPLITS, candidate.root)


def finding(candidate: Candidate) -> None:
    """Every subject is found by the names of its files, and each file belongs to one scan."""
    dataset, found = candidate.dataset, candidate.dataset.find(candidate.root, candidate.lists)
    if candidate.made:
        made = sorted(dataset.made_up(candidate.root, SPLITS, 0))
        require(sorted(found) == made, f"embed made {', '.join(made)}, but find sees {', '.join(found)}")
        assert dataset.embedded_id is not None
        named = [dataset.embedded_id(index, 0) for index in range(SUBJECTS)]
        require(sorted(named) == made, f"embedded_id gives {', '.join(named)}, not {', '.join(made)}")
    for subject, scans in candidate.scans.items():
        require(scans.target != scans.auxiliary, f"{scans.target} is both scans of {subject}")
    others = {str(candidate.root / file) for told in misnamed(dataset, candidate.root) for file in told.files}
    for path in (path for scans in candidate.scans.values() for path in (scans.target, scans.auxiliary)):
        require(path not in others, f"{path} is taken, but misnamed says that it is not")


def reading(candidate: Candidate) -> None:
    """Target and auxiliary lie on one grid, are finite, not negative and not equal."""
    for subject, scans in candidate.scans.items():
        aligned = candidate.align(subject, scans)
        for name, data, dtype in (
            ("target", aligned.target, candidate.dataset.target_dtype),
            ("auxiliary", aligned.auxiliary, np.dtype(np.float32)),
        ):
            require(data.dtype == dtype, f"the {name} is {data.dtype}, not {dtype} ({subject})")
            shape = (SLICES, MATRIX, MATRIX)
            require(data.shape == shape, f"the {name} is {data.shape}, not {shape} ({subject})")
            require(bool(np.isfinite(data).all()), f"the {name} has NaN or infinity ({subject})")
            if not np.iscomplexobj(data):
                require(float(data.min()) >= 0, f"the {name} is negative somewhere ({subject})")
            require(bool(data.any()), f"the {name} holds no signal ({subject})")
        if candidate.dataset.align == Dataset.align:
            volume, _ = candidate.dataset.read(Path(scans.target), Path(scans.auxiliary))
            axes = np.sign(np.diag(volume.affine[:3, :3])).tolist()
            require(axes == [-1, -1, 1], f"axes run to {axes}, not left, posterior and superior ({subject})")
        require(bool((aligned.target != aligned.auxiliary).any()), f"both scans are one image ({subject})")


def sameness(candidate: Candidate) -> None:
    """Index and seed decide a made-up subject: equal ones, equal bytes; others, other anatomy."""
    made = candidate.files()
    places = [candidate.work / name for name in ("again", "other")]
    for place, seed in zip(places, (0, 1), strict=True):
        candidate.embed(0, seed, place)
    again, other = (
        next(iter(candidate.dataset.made_up(place, SPLITS, seed).values()))
        for place, seed in zip(places, (0, 1), strict=True)
    )
    for path, same, changed in zip(
        made[0], (again.target, again.auxiliary), (other.target, other.auxiliary), strict=True
    ):
        content = path.read_bytes()
        require(content == Path(same).read_bytes(), f"{path.name} differs when made again")
        require(content != Path(changed).read_bytes(), f"{path.name} is the same under another seed")
    require(made[0][0].read_bytes() != made[1][0].read_bytes(), "two subjects have the same target")


def road(candidate: Candidate) -> None:
    """Subjects are cropped, split by person and written as training reads them."""
    aligned, prepared = candidate.work / "aligned", candidate.work / "prepared"
    subjects = candidate.scans
    require(len(subjects) == SUBJECTS, f"{SUBJECTS} subjects are needed, one for each split")
    for subject, scans in subjects.items():
        done = candidate.align(subject, scans)
        write_aligned(done, aligned)
        back_again(candidate, done)
    got, _ = prepare(candidate.dataset.id, aligned, list(subjects), SPLITS, 0, prepared)
    require(got == SPLITS, f"three subjects make the splits {got}; is group one person?")
    seen = set()
    for split in SPLITS:
        with h5py.File(prepared / f"{split}.h5") as file:
            shape = file["target"].shape
            require(shape == (SLICES, MATRIX, MATRIX), f"{split}.h5 holds slices of {shape}")
            seen |= {name.decode() for name in file["subject"][()]}
    require(seen == set(subjects), f"the splits hold {sorted(seen)}, not {sorted(subjects)}")


def back_again(candidate: Candidate, aligned: Aligned) -> None:
    """Refuse a dataset whose slices do not come back when they are written as a volume and read."""
    subject, geometry = aligned.record.subject, aligned.record.geometry
    if geometry is None:
        require(False, f"align tells no geometry, so that no volume can be exported ({subject})")
        return
    file, slices = candidate.work / "volumes" / aligned.record.target_file, np.abs(aligned.target)
    candidate.dataset.export(file, geometry.placed(slices), geometry)
    found = geometry.taken(candidate.dataset.imported(file, geometry), slices.shape)
    require(np.array_equal(found, slices), f"slices are others when {file.name} is exported and read again")


def bad_scans(candidate: Candidate) -> None:
    """A missing, empty or cut scan is told by the name of its file."""
    subject, scans = next(iter(candidate.scans.items()))
    for which in (0, 1):
        for damage in ("missing", "empty", "cut"):
            root = candidate.work / f"{damage}{which}"
            copies = []
            for source in map(Path, (scans.target, scans.auxiliary)):
                copies.append(root / source.relative_to(candidate.root))
                copies[-1].parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copies[-1])
            path = copies[which]
            content = path.read_bytes()
            path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
            if damage == "missing":
                path.unlink()
            found = candidate.dataset.find(root, candidate.lists)
            require(subject in found, f"find does not see {subject} ({damage} scan)")
            try:
                candidate.align(subject, Scans(str(copies[0]), str(copies[1]), scans.split_hint))
            except BadInput as error:
                require(path.name in str(error), f"{damage} {path.name}: its name is not in: {error}")
            else:
                require(False, f"{damage} {path.name} is read without complaint")


CHECKS: dict[str, Callable[[Candidate], None]] = {
    check.__name__: check for check in (make_up, finding, reading, sameness, road, bad_scans)
}
_OF_MADE_UP = {"make_up", "sameness"}


def run(name: str, root: Path | None, donors: Path | None, *, briefly: bool = False) -> tuple[int, int]:
    """Check one dataset, print what was found, and return the numbers of failures and of checks.

    Raises:
        BadInput: there is no such dataset, or nothing to check it with.
    """
    dataset = dataset_of(name)
    if root is None and dataset.embed is None:
        raise BadInput(f"{name}: has no embedded form; name the folder of its scans with --root")
    if root is not None and not root.is_dir():
        raise BadInput(f"--root: {root} is no folder; give that of the scans")
    if root is not None and dataset.lists:
        raise BadInput(f"--root: {name} is published with lists; use python -m data_prep.check {root}")
    with scratch() as folder:
        if root is None and donors is None:
            (folder / "donors").mkdir()
            write_toy_donors(folder / "donors", dataset.maps)
        (folder / "work").mkdir()
        candidate = Candidate(
            dataset, root or folder / "scans", donors or folder / "donors", folder / "work", root is None
        )
        checks = [run for check, run in CHECKS.items() if candidate.made or check not in _OF_MADE_UP]
        heading = f"{name}: {dataset.label}, {dataset.auxiliary} guides {dataset.target}"
        return report(heading, checks, candidate, file_of(discover()[name][0]), briefly=briefly)


@command
def main(
    ids: Annotated[tuple[str, ...], NAMES, "dataset, e.g. brats; default: all"] = (),
    /,
    root: Annotated[Path | None, "folder of published scans, as datasets.<id>.root names it"] = None,
    donors: Annotated[Path | None, "folder of donors' maps, e.g. results/shared/donors"] = None,
) -> None:
    """Check datasets; the exit status is 1 unless all hold."""
    if root is not None and len(ids) != 1:
        raise WrongUse("--root needs one ID")
    exclusive({"--root": root, "--donors": donors})
    conclude(run(name, root, donors, briefly=not ids) for name in ids or datasets())
