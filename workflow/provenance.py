"""Where an experiment's results come from: the footer of every table, and ``provenance.json``.

``python -m workflow.provenance --results results/X --config JSON`` lists everything in the
folder with its sha256; ``python -m workflow.verify results/X`` compares a folder with that list.
Light: no torch here, and no path in the list but relative ones.
"""

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Console
from rich.progress import track

from data_prep.errors import BadInput, run_command
from data_prep.json_files import check_fields, read_json, read_json_list
from workflow.runs import code_version, package_versions, write_json
from workflow.sources import ROOT

FILE = "provenance.json"
SHORT = 12  # digits of a hash in print
# Differ from run to run, can be deleted, or are made from the results afterwards.
_LEFT_OUT_FOLDERS = {"logs", "benchmarks", "resume", "tensorboard"}
_LEFT_OUT_FILES = {FILE, "report.html", "report.zip", "ro-crate-metadata.json"}
_SOURCE_FOLDERS = ("data_prep", "methods", "workflow")
_SOURCE_FILES = ("Snakefile", "requirements.txt", "environment.yml")
# Where scans lie differs from machine to machine; what they hold stands in the manifest.
_PLACES = ("root", "train_pairs", "val_pairs")
_PUBLISHED = dict.fromkeys(
    ("dataset", "target_file", "auxiliary_file", "target_sha256", "auxiliary_sha256"), str
)
_AGAIN = "delete it and run the workflow again"


# ---- hashes ---------------------------------------------------------------------------------------


def file_sha256(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Return name -> sha256 of files below ``root``, showing progress on a terminal."""
    with ThreadPoolExecutor(4) as pool:
        hashes = pool.map(lambda name: file_sha256(root / name), names)
        console = Console(stderr=True)
        shown = track(
            hashes, "Hashing", len(names), console=console, transient=True, disable=not console.is_terminal
        )
        return dict(zip(names, shown, strict=True))


def config_sha256(config: Mapping[str, Any]) -> str:
    """Return the sha256 of a checked configuration without the folders of scans."""
    datasets = {
        name: {key: value for key, value in dataset.items() if key not in _PLACES}
        for name, dataset in config["datasets"].items()
    }
    return _json_sha256({**config, "datasets": datasets})


def _json_sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# ---- a table's footer -----------------------------------------------------------------------------


def footer(
    results: Path,
    experiment: str,
    dataset: str,
    masks: Mapping[str, str],
    runs: Iterable[str],
    configuration: str,
) -> str:
    """Return the sentence below a table that says what it was made from.

    Args:
        results: folder of the experiment, with ``runs/``, ``masks/`` and ``data/``.
        experiment: its name.
        dataset: such as ``ixi``.
        masks: mask -> the name to print.
        runs: paths of the table's runs below ``runs/``; those that are not there are passed over.
        configuration: what ``config_sha256`` returns.

    Raises:
        BadInput: a record is missing or damaged.
    """
    files = [results / "runs" / run / "run.json" for run in runs]
    needed = {"code.commit": str | None, "code.source_sha256": str}
    versions = [read_json(path, damaged=_AGAIN, fields=needed)["code"] for path in files if path.is_file()]
    commits = sorted({version["commit"][:SHORT] for version in versions if version["commit"]})
    sources = _json_sha256(sorted({version["source_sha256"] for version in versions}))
    manifest = file_sha256(results / "data" / dataset / "manifest.csv")
    sampled = []
    for mask, name in masks.items():
        path = results / "masks" / dataset / f"{mask}.json"
        found = read_json(path, damaged=_AGAIN, fields={"sha256": str})
        sampled.append(f"{name} {found['sha256'][:SHORT]}")
    return (
        f"Provenance (first {SHORT} digits of each hash): experiment {experiment}; "
        f"code {', '.join(commits) or 'outside a git checkout'}, sources {sources[:SHORT]}; "
        f"configuration {configuration[:SHORT]}; data manifest {manifest[:SHORT]}; "
        f"masks {', '.join(sampled)}."
    )


# ---- the list -------------------------------------------------------------------------------------


def listed(results: Path) -> list[str]:
    """Return the files of a results folder that belong to its results, as relative paths in order."""
    return sorted(_walk(results, ()))


def _walk(folder: Path, parts: tuple[str, ...]) -> Iterator[str]:
    for path in folder.iterdir():
        # A leading dot marks what a killed process left behind.
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.name not in _LEFT_OUT_FOLDERS:
                yield from _walk(path, (*parts, path.name))
        elif parts or path.name not in _LEFT_OUT_FILES:
            yield PurePosixPath(*parts, path.name).as_posix()


def source_files() -> list[str]:
    """Return the files of the repository that the workflow is made of, relative to its root."""
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in _SOURCE_FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return sorted([*found, *(name for name in _SOURCE_FILES if (ROOT / name).is_file())])


def inputs(results: Path) -> list[dict[str, str]]:
    """Return what the experiment read from outside its folder: published scans, or the donors' packages.

    Raises:
        BadInput: a manifest lacks a column.
    """
    found: list[dict[str, str]] = []
    for path in sorted(results.glob("data/*/manifest.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            check_fields(row, ("source",), path, _AGAIN)
            # Embedded scans lie in the folder itself and are listed there.
            if row["source"] == "published":
                check_fields(row, _PUBLISHED, path, _AGAIN)
                found += [
                    {"dataset": row["dataset"], "file": row[f"{kind}_file"], "sha256": row[f"{kind}_sha256"]}
                    for kind in ("target", "auxiliary")
                ]
    return found + _donors(results / "raw" / "donors")


def _donors(folder: Path) -> list[dict[str, str]]:
    """Return the packages that maps were made from, each once: two files of maps may share one."""
    kept = dict.fromkeys(("package", "archive", "sha256"), str)
    records = [
        record
        for path in sorted(folder.glob("[!.]*.json"))
        for record in read_json_list(path, damaged=_AGAIN, fields=kept)
    ]
    by_package = {record["package"]: record for record in records}
    return [{key: record[key] for key in kept} for record in by_package.values()]


def runs(results: Path) -> dict[str, dict[str, Any]]:
    """Return, for each run folder, the code, data and masks that its ``run.json`` names."""
    kept = ("code", "training_hash", "data_fingerprints", "mask_sha256", "packages", "device")
    return {
        path.parent.relative_to(results / "runs").as_posix(): {
            key: value for key, value in read_json(path).items() if key in kept
        }
        for path in sorted((results / "runs").rglob("run.json"))
    }


def record(results: Path, experiment: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``provenance.json``: the same for the same files, whenever and wherever made."""
    sources = source_files()
    return {
        "experiment": experiment,
        "configuration": dict(config),
        "configuration_sha256": config_sha256(config),
        "code": code_version(sources) | {"sources": hash_files(ROOT, sources)},
        "packages": package_versions(),
        "inputs": inputs(results),
        "runs": runs(results),
        "outputs": hash_files(results, listed(results)),
    }


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.provenance", description=__doc__)
    parser.add_argument(
        "--results", required=True, type=Path, help="folder of the experiment, such as results/demo"
    )
    parser.add_argument("--config", required=True, help="the checked configuration as JSON")
    arguments = parser.parse_args()
    try:
        config = json.loads(arguments.config)
        experiment = config["experiment"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise BadInput(f"--config: no configuration ({error}); give the JSON of a checked one") from error
    content = record(arguments.results, experiment, config)
    write_json(arguments.results / FILE, content)
    sys.stdout.write(f"{len(content['outputs'])} files\n")


if __name__ == "__main__":
    run_command(main)
