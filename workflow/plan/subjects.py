"""Subjects of an experiment and where their scans lie; no scan is read."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import Dataset, Scans, dataset_of
from data_prep.datasets.forms import advice, fault, nothing_in, unfilled
from data_prep.datasets.misnamed import misnamed
from data_prep.datasets.record import AGAIN, Record
from data_prep.errors import BadInput, visible
from data_prep.io.json_files import canonical, read_as
from data_prep.prepare.places import SHARED, Places
from workflow.plan.config import split_numbers
from workflow.provenance.footer import data_sha256

Config = Mapping[str, Any]
_DIGITS = 10  # of a hash in a folder's name


class Subjects(Mapping[str, dict[str, Scans]]):
    """Per dataset: subject id -> scans; placeholders where published scans are not there yet.

    What is made of scans lies below ``root``, in folders that are named by all that their files depend on,
    so that every experiment that asks for the same finds it there.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._datasets: dict[str, Config] = config["datasets"]
        self._seed = config["seed"]
        self._strict = config["bad_scans"] == "stop"
        self.root = f"results/{SHARED}"

    @cached_property
    def places(self) -> dict[str, Places]:
        """Per dataset: its folders below ``root``."""
        return {name: _places(self._config, dataset_of(name)) for name in self._datasets}

    def folder(self, kind: str, dataset: str) -> str:
        """Return where files of a dataset lie, by the names of ``Places``: raw, aligned or data."""
        return f"{self.root}/{getattr(self.places[dataset], kind)}"

    @property
    def folders(self) -> list[str]:
        """Every folder that other experiments may use too."""
        found = {f"{self.root}/donors" for places in self.places.values() if places.donors}
        for name, places in self.places.items():
            found |= {f"{self.root}/{folder}" for folder in (places.aligned, places.data)}
            if self.embedded(name) or self._datasets[name].get("download"):
                found.add(f"{self.root}/{places.raw}")
        return sorted(found)

    @cached_property
    def _found(self) -> dict[str, dict[str, Scans]]:
        return {name: self._find(dataset_of(name)) for name in self._datasets}

    def __getitem__(self, dataset: str) -> dict[str, Scans]:
        """Return the scans of a dataset's subjects."""
        return self._found[dataset]

    def __iter__(self) -> Iterator[str]:
        """Yield the datasets."""
        return iter(self._found)

    def __len__(self) -> int:
        """Count the datasets."""
        return len(self._found)

    def _find(self, dataset: Dataset) -> dict[str, Scans]:
        configured = self._datasets[dataset.id]
        if configured["source"] == "embedded":
            numbers = split_numbers(configured["splits"])
            return dataset.made_up(Path(self.folder("raw", dataset.id)), numbers, self._seed)
        root, lists = self._root(dataset), self._lists(dataset)
        there = all(path.is_file() for path in lists.values()) and (configured["root"] or lists)
        if not there or not (lists or root.is_dir()) or self._not_fetched(dataset):
            # Stand-ins, so that a dry run can count the jobs.
            published = sum(pool.subjects for pool in dataset.published.values())
            count = published or sum(split_numbers(configured["splits"]).values())
            hint = tuple(dataset.pools)[-1]
            return {f"{dataset.id}-missing-{i:04d}": Scans("", "", hint) for i in range(1, count + 1)}
        # A subject without one of the scans is a bad scan like any other, not one to pass over in silence.
        found = dataset.scans(root, lists)
        if not found:
            raise BadInput(f"config: datasets.{dataset.id}.root: {nothing_in(root, [dataset], lists)}")
        for path in (path for scans in found.values() for path in (scans.target, scans.auxiliary)):
            # Snakemake takes braces for wildcards, wherever they come from, and refuses line breaks.
            if "{" in path or "}" in path or visible(path) != path:
                raise BadInput(
                    f"config: datasets.{dataset.id}.root: {path}: braces and characters that cannot be seen "
                    "are not taken in paths of scans; rename that folder, or name it by a link"
                )
        return found

    def _root(self, dataset: Dataset) -> Path:
        return Path(self._datasets[dataset.id]["root"] or "")

    def _lists(self, dataset: Dataset) -> dict[str, Path]:
        return {key: Path(self._datasets[dataset.id][key] or "") for key in dataset.lists}

    def at_most(self, dataset: str) -> bool:
        """Tell whether the training split of a dataset may have fewer subjects than its number."""
        return isinstance(self._datasets[dataset]["splits"]["train"], Mapping)

    def embedded(self, dataset: str) -> bool:
        """Tell whether a dataset is configured, and its scans are made here."""
        return dataset in self._datasets and self._datasets[dataset]["source"] == "embedded"

    def scan_inputs(self, dataset: str, subject: str) -> list[str]:
        """Return the scans that a subject's alignment waits for, target and auxiliary.

        Published scans that are not there are left out: nothing can make them, and the alignment says so
        or excludes the subject.
        """
        scans = self[dataset][subject]
        both = (scans.target, scans.auxiliary)
        return [path for path in both if self.embedded(dataset) or Path(path).is_file()]

    def truth(self, dataset: str) -> list[str]:
        """Return the side files of embedded subjects; none for published scans."""
        pattern = dataset_of(dataset).truth
        if not self.embedded(dataset) or not pattern:
            return []
        return [
            f"{self.folder('raw', dataset)}/{pattern.format(subject=subject)}" for subject in self[dataset]
        ]

    @property
    def with_lesions(self) -> str | None:
        """The dataset whose embedded subjects have known lesions, if it is configured."""
        return next(
            (name for name in self._datasets if self.embedded(name) and dataset_of(name).lesions), None
        )

    @property
    def reported(self) -> list[str]:
        """Datasets whose registration is reported on."""
        return [name for name in self._datasets if dataset_of(name).report]

    @property
    def listed(self) -> list[str]:
        """Datasets beside whose embedded scans lists of subjects are written, as published."""
        return [name for name in self._datasets if self.embedded(name) and dataset_of(name).list_embedded]

    def lists(self, dataset: str) -> list[str]:
        """Return those lists of a dataset: beside the splits that they tell of, as others share the scans."""
        return [f"{self.folder('data', dataset)}/{file}" for file in dataset_of(dataset).embedded_lists]

    def align_arguments(self, dataset: str, subject: str) -> list[str]:
        """Return what the step ``align`` is told of a subject, as words of its command."""
        scans = self[dataset][subject]
        options = {
            # By path and not by input: a scan that is missing is the step's to report.
            "target": scans.target,
            "auxiliary": scans.auxiliary,
            "source": self._datasets[dataset]["source"],
            "split-hint": scans.split_hint,
        }
        return _words(options | _wanted(dataset_of(dataset), self._datasets[dataset]))

    def embed_arguments(self, dataset: str, target: str) -> list[str]:
        """Return what the step ``embed`` is told of the subject of a target scan, as words of its command."""
        scans = list(self[dataset].values())
        index = [one.target for one in scans].index(target)
        hint = scans[index].split_hint
        return _words(
            {
                "index": index,
                **_size(self._config, dataset),
                "options": canonical({"split": hint} if hint else {}),
            }
        )

    def fetched(self) -> list[str]:
        """Return what downloading leaves: donors of the embedded datasets, records of downloaded ones."""
        donors = {donor for name in self._datasets if self.embedded(name) for donor in dataset_of(name).maps}
        records = [self._record(name) for name, dataset in self._datasets.items() if dataset.get("download")]
        return [*(f"{self.root}/donors/{name}.json" for name in sorted(donors)), *records]

    def _record(self, dataset: str) -> str:
        return f"{self.folder('raw', dataset)}/fetched.json"

    def too_few(self) -> str | None:
        """Return which published dataset has fewer subjects in its folder than its splits ask for.

        Names are counted and no scan is opened, so that a dry run can tell.
        """
        there = (dataset_of(name) for name in self._datasets if not self.embedded(name))
        said = (self._too_few(dataset) for dataset in there if self._not_there(dataset) is None)
        return next(filter(None, said), None)

    def missing_scans(self) -> str | None:
        """Return what to mend where published scans are asked for but cannot be found."""
        for name in self._datasets:
            if not self.embedded(name):
                dataset = dataset_of(name)
                problem = (
                    self._not_there(dataset)
                    or self._unfilled(dataset)
                    or self._too_few(dataset)
                    or (_bad_scan(self, dataset, self._root(dataset)) if self._strict else None)
                )
                if problem is not None:
                    return problem
        return None

    def _not_there(self, dataset: Dataset) -> str | None:
        configured, name = self._datasets[dataset.id], dataset.id
        if absent := self._not_fetched(dataset):
            record = Path(self._record(name))
            # Snakemake goes by the record, not by the scans.
            again = f"delete {record}, as they were there once, and " if record.is_file() else ""
            return (
                f"config: datasets.{name}.download is true, but {absent} is not there yet; {again}run "
                "the target `fetch` first, with the same --configfile: snakemake fetch --cores 1 "
                "--configfile FILE"
            )
        for key in ("root", *dataset.lists):
            value = configured[key]
            there = Path.is_dir if key == "root" else Path.is_file
            if value is None or not there(Path(value)):
                kind = "folder" if key == "root" else "file"
                state = f"is no {kind}" if value and Path(value).exists() else "does not exist"
                shown = "is not set" if value is None else f"names {value}, which {state}"
                return (
                    f"config: datasets.{name}.{key} {shown}; point it at your copy of the published "
                    f"data, or set datasets.{name}.source to embedded"
                )
        return None

    def _not_fetched(self, dataset: Dataset) -> Path | None:
        """Return the first folder still to be downloaded; none if the scans are there in another form."""
        if dataset.download is None or not self._datasets[dataset.id].get("download"):
            return None
        root = self._root(dataset)
        folders = (root / folder for folder in dataset.download.folders)
        absent = next((folder for folder in folders if not folder.is_dir()), None)
        if absent and root.is_dir() and not unfilled(dataset, dataset.scans(root)):
            return None
        return absent

    def _unfilled(self, dataset: Dataset) -> str | None:
        """Return which split would have no subject with both scans."""
        root = self._root(dataset)
        if not (said := unfilled(dataset, self[dataset.id])):
            return None
        found = advice(root, [dataset], self._lists(dataset))
        return f"config: datasets.{dataset.id}.root: in {root}, {said}; expected are {dataset.form}; {found}"

    def _too_few(self, dataset: Dataset) -> str | None:
        """Return why the splits cannot be filled, whatever the alignments bring."""
        place, found, root = f"config: datasets.{dataset.id}", self[dataset.id], self._root(dataset)
        numbers = split_numbers(self._datasets[dataset.id]["splits"])
        for pool, splits in dataset.pools.items():
            members = [subject for subject, scans in found.items() if scans.split_hint == pool]
            asked, at_least = sum(numbers[split] for split in splits), ""
            if "train" in splits and self.at_most(dataset.id):
                # One for training will do; the others lack some where persons of several scans do not fit.
                persons = Counter(map(dataset.group, members)).values()
                asked += 1 - numbers["train"] - (len(splits) - 1) * (max(persons, default=1) - 1)
                at_least = "at least "
            if asked > len(members):
                of = f"of {pool} " if pool else ""
                return (
                    f"{place}.splits: {' + '.join(splits)} add up to {at_least}{asked}, but there are "
                    f"{len(members)} subjects {of}in {root}; lower the numbers or add scans"
                )
        return None


def misnamed_scans(config: Config) -> str | None:
    """Return which published scans of a configuration are not taken because of their names, if any."""
    published = {name: of for name, of in config["datasets"].items() if of["source"] != "embedded"}
    roots = {name: Path(of["root"]) for name, of in published.items() if of["root"]}
    said = (_misnamed(dataset_of(name), root) for name, root in roots.items() if root.is_dir())
    return next(filter(None, said), None)


def _misnamed(dataset: Dataset, root: Path) -> str | None:
    if not (found := misnamed(dataset, root)):
        return None
    more = f" (and files of {len(found) - 1} more)" if found[1:] else ""
    return f"{root / found[0].files[0]}{more}: {found[0].reason}"


def _bad_scan(subjects: Subjects, dataset: Dataset, root: Path) -> str | None:
    """Return which scan is misnamed, or why the first subject that lacks one or was excluded is refused."""
    if said := _misnamed(dataset, root):
        return f"{said}, or set bad_scans to exclude to go on without it"
    for subject, scans in subjects[dataset.id].items():
        if said := fault(dataset, subject, scans):
            return f"{said}, or set bad_scans to exclude to go on without the subject"
        record = Path(f"{subjects.folder('aligned', dataset.id)}/{subject}.json")
        if record.is_file():
            aligned = read_as(Record, record, damaged=AGAIN)
            if not aligned.usable:
                return (
                    f"{record}: the subject was excluded ({aligned.reason}), but bad_scans is stop; "
                    "mend the scan and delete this file, or set bad_scans to exclude again"
                )
    return None


def _places(config: Config, dataset: Dataset) -> Places:
    """Name each step's folder by what its files depend on, the folders before it included."""
    configured = config["datasets"][dataset.id]
    scans: dict[str, Any] = {"source": configured["source"]}
    embedded = configured["source"] == "embedded"
    if embedded:
        scans |= _size(config, dataset.id)
        if dataset.embedded is not None or len(dataset.pools) > 1:
            # Which pool a made-up subject is of, and so what it is, depends on how many each has.
            numbers = split_numbers(configured["splits"])
            scans["pools"] = [sum(numbers[split] for split in of) for of in dataset.pools.values()]
    else:
        scans |= {key: str(Path(configured[key] or "")) for key in ("root", *dataset.lists)}
    raw = _named(dataset.id, scans)
    aligned = _named(dataset.id, [raw, _wanted(dataset, configured)])
    data = _named(dataset.id, [aligned, data_sha256(config, dataset.id)])
    return Places(f"raw/{raw}", f"aligned/{aligned}", f"data/{data}", dataset.maps if embedded else ())


def _wanted(dataset: Dataset, configured: Config) -> dict[str, Any]:
    """Return what the configuration asks of every aligned subject of a dataset."""
    own = fields(dataset.align_options)
    return {
        "matrix": configured["matrix"],
        "slices": configured["slices"],
        "options": canonical({key.name: configured[key.name] for key in own if key.name in configured}),
    }


def _size(config: Config, dataset: str) -> dict[str, Any]:
    """Return what the configuration asks of every embedded subject of a dataset."""
    configured = config["datasets"][dataset]
    return {
        "seed": config["seed"],
        "matrix": configured["matrix"],
        "slices": configured["acquired_slices"],
        "slice-spacing": configured.get("slice_spacing"),
    }


def _named(dataset: str, settings: Any) -> str:
    """Return a folder's name: readable, and another for other settings."""
    return f"{dataset}-{hashlib.sha256(canonical(settings).encode()).hexdigest()[:_DIGITS]}"


def _words(options: Mapping[str, Any]) -> list[str]:
    """Return options as words of a command, without those that are empty."""
    given = {name: value for name, value in options.items() if value not in (None, "", "{}")}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]
