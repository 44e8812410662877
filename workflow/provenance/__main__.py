"""Where an experiment's results come from: ``provenance.json``.

``python -m workflow.provenance --results results/X --config JSON --planned JSON --own PATTERN...`` lists
everything in the folder with its sha256; ``python -m workflow.verify results/X`` compares a folder with that
list. Shared files (``data_prep.prepare.places``) stand there too. Light: no torch here, and no path in the
list but relative ones; the configuration is written without the places of scans and without passwords
(``shareable``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from data_prep.errors import BadInput, tell
from data_prep.io.command import command
from data_prep.io.files import read_rows
from data_prep.io.json_files import check_fields, from_json, read_as, write_json
from data_prep.prepare.places import read_places, shared_files, shared_folder
from workflow.provenance.code import code_version, package_versions, source_files
from workflow.provenance.files import FILE, hash_files, leftovers, listed
from workflow.provenance.footer import config_sha256, shareable
from workflow.provenance.record import AGAIN
from workflow.provenance.runs import Planned, PlannedRuns, read_runs
from workflow.provenance.sources import ROOT

_PUBLISHED = dict.fromkeys(
    ("dataset", "target_file", "auxiliary_file", "target_sha256", "auxiliary_sha256"), str
)


def inputs(results: Path, datasets: Iterable[str]) -> list[dict[str, str]]:
    """Return what an experiment on these datasets read from elsewhere: published scans or donors' packages.

    Raises:
        BadInput: a manifest lacks a column.
    """
    found: list[dict[str, str]] = []
    manifests = (results / "data" / name / "manifest.csv" for name in sorted(datasets))
    for path in filter(Path.is_file, manifests):
        for row in read_rows(path, AGAIN, AGAIN):
            check_fields(row, ("source",), path, AGAIN)
            # Embedded scans lie in the folder itself and are listed there.
            if row["source"] == "published":
                check_fields(row, _PUBLISHED, path, AGAIN)
                found += [
                    {"dataset": row["dataset"], "file": row[f"{kind}_file"], "sha256": row[f"{kind}_sha256"]}
                    for kind in ("target", "auxiliary")
                ]
    return found + _donors(results, datasets)


def _donors(results: Path, datasets: Iterable[str]) -> list[dict[str, str]]:
    """Return the packages that maps were made from, each once: two files of maps may share one."""
    kept = dict.fromkeys(("package", "archive", "sha256"), str)
    by_package = {}
    places = (read_places(results, dataset) for dataset in datasets)
    for name in sorted({name for of in places if of for name in of.donors}):
        path = shared_folder(results) / "donors" / f"{name}.json"
        for donor in read_as(list[dict[str, Any]], path, damaged=AGAIN):
            check_fields(donor, kept, path, AGAIN)
            by_package[donor["package"]] = {name: donor[name] for name in kept}
    return list(by_package.values())


def runs(results: Path, planned: Iterable[Planned]) -> dict[str, dict[str, Any]]:
    """Return, for each planned run's folder, the code, data and masks that its ``run.json`` names.

    Raises:
        BadInput: a run is not as planned, or a file of it not as its record says, see ``read_runs``.
    """
    kept = ("code", "training_hash", "data_fingerprints", "mask_sha256", "packages", "device")
    records = read_runs(results, planned, "model.ckpt", "history.csv", "metrics.csv", "examples.npz")
    return {folder: {name: getattr(run, name) for name in kept} for folder, run in records.items()}


def record(
    results: Path,
    experiment: str,
    config: Mapping[str, Any],
    planned: Iterable[Planned] = (),
    own: Iterable[str] = ("*",),
) -> dict[str, Any]:
    """Return the content of ``provenance.json``: the same for the same files, whenever and wherever made.

    Args:
        results: folder of the experiment.
        experiment: its name.
        config: its checked configuration.
        planned: its runs.
        own: patterns of its other files; what neither fits is named as left over from another configuration.
    """
    sources = source_files()
    names = listed(results)
    datasets = sorted(config["datasets"])
    shared = sorted({name for dataset in datasets for name in shared_files(results, dataset)})
    planned = list(planned)
    left = leftovers(names, [*own, *(f"runs/{name}/*" for group in planned for name in group.runs)])
    kept = [name for name in names if name not in left and str(PurePosixPath(name).parent) not in left]
    return {
        "experiment": experiment,
        "configuration": shareable(config),
        "configuration_sha256": config_sha256(config),
        "code": asdict(code_version(sources)) | {"sources": hash_files(ROOT, sources)},
        "packages": package_versions(),
        "inputs": inputs(results, datasets),
        "runs": runs(results, planned),
        "outputs": hash_files(results, kept),
        "shared": hash_files(shared_folder(results), shared),
        "leftovers": left,
    }


@command
def write_provenance(
    results: Annotated[Path, "folder of the experiment, such as results/demo"],
    config: Annotated[str, "the checked configuration as JSON"],
    planned: PlannedRuns,
    own: Annotated[list[str], "patterns of what the plan makes beside runs"],
) -> None:
    """Write ``provenance.json``."""
    remedy = "give the JSON of a checked configuration"
    configuration = from_json(dict[str, Any], config, "--config", remedy)
    if "experiment" not in configuration:
        raise BadInput(f"--config: field experiment is missing; {remedy}")
    content = record(results, configuration["experiment"], configuration, planned, own)
    write_json(results / FILE, content)
    tell(f"{len(content['outputs'])} files, {len(content['shared'])} shared ones")
    for name in content["leftovers"]:
        tell(f"leftover of another configuration: {name}")
