"""The contract of a dataset, and every dataset by name."""

import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from data_prep import datasets as package
from data_prep.contracts.discovery import entries_of, entry_named
from data_prep.datasets.geometry import Geometry
from data_prep.datasets.record import Aligned, Measured, Record
from data_prep.errors import BadInput
from data_prep.io.command import Choices
from data_prep.io.files import matching
from data_prep.io.json_files import from_json
from data_prep.words import SENTENCE, check_words

SUBJECT = "[A-Za-z0-9_-]+"
FIELD = "{subject}"
Status = Literal["ok", "suspicious", "excluded", "refused"]


@dataclass(frozen=True)
class Later:
    """A function of another module, which is imported when it is called.

    So planning stays light, and each step depends on the file of its own function only.

    Attributes:
        place: module and name, e.g. ``data_prep.datasets.brats.embedded:embed``.
    """

    place: str

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return self.place.partition(":")[0]

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Import the function and call it."""
        return pkgutil.resolve_name(self.place)(*arguments, **options)


@dataclass(frozen=True)
class Size:
    """Of embedded scans.

    Attributes:
        matrix: pixels along both in-plane axes.
        slices: axial slices.
        slice_spacing: mm; None: the dataset's own.
    """

    matrix: int
    slices: int
    slice_spacing: float | None = None


@dataclass(frozen=True)
class Scans:
    """The two files that a subject's target and auxiliary come from, and the published split (its pool)."""

    target: str
    auxiliary: str
    split_hint: str = ""


@dataclass(frozen=True)
class Wanted:
    """What the step ``align`` is asked for.

    Attributes:
        dataset: whose scans these are.
        target, auxiliary: paths of a subject's scans.
        matrix: height and width of the slices to write; None: as the target scan is, a square.
        slices: number of central slices; None: all that both scans have.
    """

    dataset: "Dataset"
    target: Path
    auxiliary: Path
    matrix: int | None
    slices: int | None


@dataclass(frozen=True)
class Finding:
    """What the check of a folder says of one subject.

    Attributes:
        subject: its id, as the manifest has it.
        status: ``ok``; ``suspicious``, which the run takes and a person should look at; ``excluded``, which
            ``bad_scans: stop`` refuses and ``exclude`` leaves out; ``refused``, at which both stop.
        reason: one sentence; empty if ok.
        files: the files it is about, relative to the folder.
        pool: the published split, if there are several.
    """

    subject: str
    status: Status
    reason: str = ""
    files: tuple[str, ...] = ()
    pool: str = ""


@dataclass(frozen=True)
class Published:
    """What is published of a pool and what the paper counts of it.

    It counts the jobs of scans that are not there yet and explains differences; nothing is excluded by it.

    Attributes:
        subjects: of whom a scan is published.
        counted, slices: by the paper.
        holes: subjects whose published scans cannot be used -> why, in a few words.
    """

    subjects: int
    counted: int
    slices: int
    holes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Download:
    """How the published scans are downloaded.

    Attributes:
        module: of the command, which takes ``--root``, ``--archives`` and ``--record``.
        folders: what it leaves below the root.
    """

    module: str
    folders: tuple[str, ...]


@dataclass(frozen=True)
class NoOptions:
    """Of a dataset whose step has none."""


def check_brain_size(what: str, size: Size, spacing: float, most_slices: int) -> None:
    """Refuse sizes of embedded brains that the donors cannot fill.

    Args:
        what: the scans, for the message.
        size: of the scans.
        spacing: mm between slices.
        most_slices: that the dataset has.

    Raises:
        BadInput: naming the first size that is out of range.
    """
    checks: dict[str, tuple[float, float, float]] = {
        "matrix": (size.matrix, 64, 256),
        "slices": (size.slices, 4, most_slices),
        "slice spacing": (spacing, 1.0, 10.0),
        "slices times slice spacing": (size.slices * spacing, 0, 180.0),
    }
    for name, (value, low, high) in checks.items():
        if not low <= value <= high:
            raise BadInput(f"{what}: {name} is {value}; choose {low:g} to {high:g}")


@dataclass(frozen=True)
class Dataset:
    """One dataset; the ``DATASET`` of its folder's ``dataset.py``.

    What is not said is as for scans of two contrasts on one grid, measured by simulation. A function that
    needs more than the standard library and numpy is given as ``Later``.

    Attributes:
        id: key below ``datasets`` of a configuration, and folder of its results, e.g. ``brats``.
        label: what tables print, e.g. BraTS.
        target, auxiliary: names of the contrasts, e.g. T2 and T1.
        target_file, auxiliary_file: where a subject's scans lie below the root, with ``{subject}`` for the
            id, e.g. ``{subject}/{subject}_t2.nii.gz``.
        order: position among the datasets in lists and tables.
        measured: whether k-space was measured, noise and all: targets are complex then, and nothing is
            added. Else it is simulated from magnitudes, with noise.
        drawn_masks: whether masks are drawn for each subject, as families with ``drawn`` are; else frozen.
        own_persons: whether target and auxiliary each name their person.
        pools: published split of a pool of subjects -> the splits that it fills, in this order.
        published: pool -> what is published of it.
        lists: keys of its configuration that name files which list its subjects, by pool.
        locate: (root, files of ``lists`` by key) -> the scans of every subject of whom there is one, sorted;
            one of the two may be missing. By the names of the files if not given.
        misnamed: root -> files that end as scans do and are not taken because of their names, by subject; by
            the names of the files if neither this nor ``locate`` is given.
        example: what its two scans are called, for messages; the patterns of the files if not given.
        other_forms: pattern of what may lie in a folder instead of the scans -> what that is and what to do,
            with ``{path}`` for it and ``{root}`` for the folder above; see ``data_prep.datasets.forms``.
        read: (target's path, auxiliary's path) -> two volumes on one grid, (width, height, slice), axes to
            left, posterior and superior; raises BadInput where that cannot be.
        group: subject id -> the person, who is never divided between splits.
        describe: (subject, target, auxiliary) -> fields of the subject's record that names and headers tell.
        align: (wanted, record) -> the aligned subject; raises BadInput if it cannot be used. By ``read`` if
            not given.
        align_options: dataclass of what else it takes, by key of the dataset's configuration.
        export: (path, volume, geometry) writes a reconstructed volume, float32 in the scan's own axes, in the
            form of the target's file, or the one that users of the dataset exchange; NIfTI if not given.
        imported: (path, geometry) -> what ``export`` wrote; raises BadInput where a file is broken or on
            another grid.
        kspace: (undersampled k-space, auxiliary or None) -> the slices of a scan that was undersampled when
            it was taken; None if its files hold no k-space.
        check: (dataset, folder, slices, deep, lists) -> a finding for each subject, and counts by name.
        embed: (folder of donors' maps, index, seed, size, root) writes the scans of one made-up subject in
            the published form; None if the dataset has no embedded form.
        embed_options: dataclass of what else it takes; ``split``, the published one, if there are several.
        embedded_id: (index, seed) -> id of that subject, which no published one has.
        embedded_files: all that ``embed`` writes below the root, the target first and the auxiliary second,
            in Snakemake's patterns, if it is more than the scans.
        embedded: (root, subjects by split) -> the scans of the made-up subjects, if there are several pools.
        list_embedded: (subjects by split, root) writes the ``embedded_lists`` of the published form.
        embedded_lists: their names, below the root.
        maps: donors' maps that ``embed`` reads, names of ``data_prep.phantom.donors.MAPS``.
        check_size: raises BadInput for sizes that ``embed`` cannot fill.
        twins: path of a scan -> other files of the same scan, of which nobody knows which is meant.
        truth: pattern of the embedded subjects' side files below the root, if they have some.
        lesions, report: modules of the commands that bring known lesions onto the slices, and that report on
            the registration, from those files; empty if there is none.
        download: how the published scans are downloaded; None if that is up to the user.
        descent: what embedded subjects have in common, for captions.
    """

    id: str
    label: str
    target: str
    auxiliary: str
    target_file: str
    auxiliary_file: str
    order: int = 100
    measured: bool = False
    drawn_masks: bool = False
    own_persons: bool = False
    pools: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"": ("test", "val", "train")})
    published: Mapping[str, Published] = field(default_factory=dict)
    lists: tuple[str, ...] = ()
    locate: Callable[[Path, Mapping[str, Path]], dict[str, Scans]] | None = None
    misnamed: Callable[[Path], Mapping[str, Sequence[Path]]] | None = None
    example: str = ""
    other_forms: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[Path, Path], Any] = Later("data_prep.datasets.registered:read_registered")
    group: Callable[[str], str] = lambda subject: subject
    describe: Callable[[str, Path, Path], Mapping[str, Any]] | None = None
    align: Callable[..., Aligned] = Later("data_prep.datasets.registered:align")
    align_options: type[Any] = NoOptions
    export: Callable[[Path, Any, Geometry], None] = Later("data_prep.datasets.nifti:write_volume")
    imported: Callable[[Path, Geometry], Any] = Later("data_prep.datasets.nifti:read_volume")
    kspace: Callable[[Path, Path | None], Measured] | None = None
    check: Callable[..., tuple[list[Finding], dict[str, str]]] = Later("data_prep.datasets.registered:check")
    embed: Callable[..., None] | None = None
    embed_options: type[Any] = NoOptions
    embedded_id: Callable[[int, int], str] | None = None
    embedded_files: tuple[str, ...] = ()
    embedded: Callable[[Path, Mapping[str, int]], dict[str, Scans]] | None = None
    list_embedded: Callable[[Mapping[str, int], Path], None] | None = None
    embedded_lists: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    check_size: Callable[[Size], None] = lambda size: None
    twins: Callable[[Path], Sequence[Path]] = lambda path: ()
    truth: str = ""
    lesions: str = ""
    report: str = ""
    download: Download | None = None
    descent: str = "all are made up by one program"

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            BadInput: a field is malformed.
        """
        if not re.fullmatch("[a-z][a-z0-9_]*", self.id):
            raise BadInput(f"DATASET: id is {self.id!r}; use a-z, 0-9 and _")
        for name in ("label", "target", "auxiliary"):
            check_words(f"DATASET: {name}", getattr(self, name))
        check_words("DATASET: descent", self.descent, SENTENCE)
        for name in ("target_file", "auxiliary_file", *(("truth",) if self.truth else ())):
            file = getattr(self, name)
            if FIELD not in file or set("{}") & set(file.replace(FIELD, "")):
                wrong = f"without {FIELD}" if FIELD not in file else f"with more in braces than {FIELD}"
                raise BadInput(f"DATASET: {name} is {file!r}, {wrong}; put {FIELD} in and no other field")
        if (self.embed is None) != (self.embedded_id is None):
            raise BadInput("DATASET: embed and embedded_id belong together; define both or none")

    @property
    def target_dtype(self) -> np.dtype[Any]:
        """Complex numbers for measured k-space, magnitudes for all else."""
        return np.dtype(np.complex64 if self.measured else np.float32)

    @property
    def form(self) -> str:
        """What its two scans are called."""
        return self.example or f"{self.target_file} and {self.auxiliary_file}"

    @property
    def embedded_patterns(self) -> tuple[str, ...]:
        """All that ``embed`` writes of one subject, in Snakemake's patterns below the root."""
        return self.embedded_files or (self.target_file, self.auxiliary_file)

    def files(self, root: Path, subject: str) -> tuple[Path, Path]:
        """Return where target and auxiliary of a subject lie by the names of the files."""
        first, second = (file.format(subject=subject) for file in (self.target_file, self.auxiliary_file))
        return root / first, root / second

    def find(self, root: Path, lists: Mapping[str, Path] | None = None) -> list[str]:
        """Return the subjects of whom there is a scan below ``root``, sorted; the other scan may be missing.

        Raises:
            BadInput: the folder does not exist.
        """
        return list(self.scans(root, lists))

    def scans(self, root: Path, lists: Mapping[str, Path] | None = None) -> dict[str, Scans]:
        """Return the scans of the subjects of ``find``; see ``locate``."""
        if self.locate is not None:
            return self.locate(root, lists or {})
        return scans_by_names(root, [(self.target_file, self.auxiliary_file)])

    def made_up(self, root: Path, splits: Mapping[str, int], seed: int) -> dict[str, Scans]:
        """Return the scans of the embedded subjects that fill the splits, in the order of their numbers."""
        if self.embedded is not None:
            return self.embedded(root, splits)
        assert self.embedded_id is not None
        subjects = (self.embedded_id(index, seed) for index in range(sum(splits.values())))
        return {
            subject: Scans(*(path.as_posix() for path in self.files(root, subject))) for subject in subjects
        }

    def described(self, record: Record, target: Path, auxiliary: Path) -> Mapping[str, Any]:
        """Return the fields of a subject's record that are known before its scans are read.

        Raises:
            BadInput: a name or a header cannot be read.
        """
        if self.describe is not None:
            return self.describe(record.subject, target, auxiliary)
        # With their folders: names alone may be the same for every subject.
        named = {
            name: "/".join(path.parts[-len(Path(file).parts) :])
            for name, file, path in (
                ("target_file", self.target_file, target),
                ("auxiliary_file", self.auxiliary_file, auxiliary),
            )
        }
        return {"group": self.group(record.subject), **named}


def scans_by_names(root: Path, forms: Sequence[tuple[str, str]]) -> dict[str, Scans]:
    """Find scans by the patterns of their names.

    Args:
        root: folder of the scans.
        forms: patterns of target and auxiliary, as ``Dataset.target_file``; where both lie in one folder,
            ``*`` may stand for a folder of any name.

    Returns:
        The scans of every subject of whom there is one, sorted; one that is missing is where it should be.

    Raises:
        BadInput: the folder does not exist, or a scan is there twice.
    """
    if not root.is_dir():
        raise BadInput(f"{root}: no such folder; point it at the folder that holds {forms[0][0]}")
    found: dict[tuple[str, int], Path] = {}
    missing: dict[tuple[str, int], Path] = {}
    patterns = patterns_of(forms)
    for path in searched(root, forms):
        name = path.relative_to(root).as_posix()
        for which, form, pattern in patterns:
            if (match := pattern.fullmatch(name)) is None:
                continue
            subject = match["subject"]
            if (other := found.setdefault((subject, which), path)) != path:
                raise BadInput(f"{path}: {other} is the same scan of {subject}; keep one of the two")
            beside = form[1 - which].replace(FIELD, subject)
            missing[subject, 1 - which] = (
                path.with_name(Path(beside).name) if "*" in beside else root / beside
            )
    located = {**missing, **found}
    return {
        subject: Scans(*(located[subject, which].as_posix() for which in (0, 1)))
        for subject in sorted({subject for subject, _ in found})
    }


def searched(root: Path, forms: Sequence[tuple[str, str]]) -> Iterator[Path]:
    """Yield what lies in the folders that scans of some forms may lie in."""
    # Every folder is looked into once: on file servers that is what takes time.
    folders = {Path(file.replace(FIELD, "*")).parent for form in forms for file in form}
    for folder in sorted(folders):
        yield from matching(root, (folder / "*").as_posix())


def patterns_of(forms: Sequence[tuple[str, str]]) -> list[tuple[int, tuple[str, str], re.Pattern[str]]]:
    """Return what names of targets (0) and auxiliaries (1) below the root match, with their forms."""
    return [(which, form, _pattern(form[which])) for form in forms for which in (0, 1)]


def _pattern(file: str) -> re.Pattern[str]:
    """Return what a scan's name below the root matches; the id is the same wherever it stands."""
    parts = [re.escape(part).replace(r"\*", "[^/]+") for part in file.split(FIELD)]
    return re.compile(f"{parts[0]}(?P<subject>{SUBJECT}){'(?P=subject)'.join(parts[1:])}")


@cache
def discover() -> dict[str, tuple[str, Dataset]]:
    """Return every dataset with its module, by id, in the order of lists and tables.

    Raises:
        BadInput: a file defines no dataset, or one whose id another has; the message names the file.
    """
    found = entries_of(package, "DATASET", Dataset, "id", "docs/adding_a_dataset.md", "dataset.py")
    return dict(sorted(found.items(), key=lambda entry: (entry[1][1].order, entry[0])))


def datasets() -> tuple[str, ...]:
    """Return the ids of all datasets."""
    return tuple(discover())


DatasetId = Annotated[str, Choices(datasets)]


def dataset_of(name: str) -> Dataset:
    """Return a dataset by id.

    Raises:
        BadInput: there is no such folder.
    """
    return entry_named(name, discover(), "dataset")


def read_options(dataset: Dataset, step: str, text: str) -> Any:
    """Return the dataset's own options of the step ``align`` or ``embed`` from the JSON of ``--options``.

    Raises:
        BadInput: they are others, or not of their types.
    """
    remedy = f"see {step}_options of data_prep/datasets/{dataset.id}/dataset.py"
    return from_json(getattr(dataset, f"{step}_options"), text, "--options", remedy)
