"""The sentence below a table that says what it was made from."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data_prep.datasets.contract import dataset_of
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import canonical, read_json
from data_prep.io.private import without_logins
from data_prep.masks.registry import label
from workflow.provenance.record import AGAIN
from workflow.provenance.runs import Planned, read_runs

SHORT = 12  # digits of a hash in print


def shareable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked configuration without folders and lists of scans, and without users and passwords.

    Where scans lie differs from machine to machine; what they hold stands in the manifest.
    """
    datasets = {name: _without_places(name, dataset) for name, dataset in config["datasets"].items()}
    kept: dict[str, Any] = without_logins({**config, "datasets": datasets})
    return kept


def config_sha256(config: Mapping[str, Any]) -> str:
    """Return the sha256 of what is shareable of a checked configuration, or of all of it that was."""
    return _json_sha256(shareable(config))


def data_sha256(config: Mapping[str, Any], dataset: str) -> str:
    """Return the sha256 of all in a checked configuration that a dataset's prepared slices depend on."""
    asked = _without_places(dataset, config["datasets"][dataset])
    return _json_sha256(
        {key: value for key, value in asked.items() if key not in _LATER} | {"seed": config["seed"]}
    )


# Of a dataset's configuration, what is used when its slices are there, or before its scans are.
_LATER = ("masks", "mask_files", "noise", "phase", "download", "archives")


def _without_places(name: str, dataset: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in dataset.items() if key not in ("root", *dataset_of(name).lists)}
    if "mask_files" in kept:
        # What they hold stands in the masks' records.
        kept["mask_files"] = sorted(kept["mask_files"])
    return kept


def _json_sha256(value: Any) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def footer(
    results: Path,
    experiment: str,
    dataset: str,
    masks: Iterable[str],
    planned: Iterable[Planned],
    configuration: str,
    among: str = "runs",
) -> str:
    """Return the sentence below a table that says what it was made from.

    Args:
        results: folder of the experiment, with ``runs/``, ``masks/`` and ``data/``.
        experiment: its name.
        dataset: id.
        masks: those shown.
        planned: the table's runs, see ``read_runs``.
        configuration: what ``config_sha256`` returns.
        among: folder of the runs, see ``read_runs``.

    Raises:
        BadInput: a record is missing, damaged or of another configuration.
    """
    versions = [record.code for record in read_runs(results, planned, among=among).values()]
    commits = sorted({version.commit[:SHORT] for version in versions if version.commit})
    sources = _json_sha256(sorted({version.source_sha256 for version in versions}))
    manifest = file_sha256(results / "data" / dataset / "manifest.csv")
    sampled = []
    for mask in masks:
        path = results / "masks" / dataset / f"{mask}.json"
        found = read_json(path, damaged=AGAIN, fields={"sha256": str})
        sampled.append(f"{label(mask)} {found['sha256'][:SHORT]}")
    return (
        f"Provenance (first {SHORT} digits of each hash): experiment {experiment}; "
        f"code {', '.join(commits) or 'outside a git checkout'}, sources {sources[:SHORT]}; "
        f"configuration {configuration[:SHORT]}; data manifest {manifest[:SHORT]}; "
        f"masks {', '.join(sampled)}."
    )
