"""Whether a folder of a further dataset can be used, by the functions of the step ``align_further``."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_prep.datasets.contract import further_dataset
from data_prep.errors import BadInput
from data_prep.io.files import replacing

Status = Literal["ok", "suspicious", "excluded"]
COLUMNS = ("dataset", "subject", "status", "reason", "files")
# Exit codes by verdict; 2 is argparse's own.
USABLE, NOT_USABLE, WITH_EXCLUSIONS = 0, 1, 3
_MOST_LINES = 60


@dataclass(frozen=True)
class Finding:
    """One subject (IXI) or pair (fastMRI).

    Attributes:
        subject: its id, as the manifest has it.
        status: ``ok``; ``suspicious``, which the run takes and a person should look at; ``excluded``, which
            ``bad_scans: stop`` refuses and ``bad_scans: exclude`` leaves out.
        reason: one sentence; empty if ok.
        files: the files it is about, relative to the folder.
    """

    subject: str
    status: Status
    reason: str = ""
    files: tuple[str, ...] = ()


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 0 if every subject can be used, 3 if some are to be excluded, 1 if none can be used."""
    excluded = sum(finding.status == "excluded" for finding in findings)
    if excluded == len(findings):
        return NOT_USABLE
    return WITH_EXCLUSIONS if excluded else USABLE


def verdict(findings: Sequence[Finding]) -> str:
    """Return the verdict as a sentence."""
    counts = Counter(finding.status for finding in findings)
    taken = counts["ok"] + counts["suspicious"]
    look = f" Look at {counts['suspicious']} suspicious ones first." if counts["suspicious"] else ""
    return {
        USABLE: f"Usable: all {taken}.{look}",
        WITH_EXCLUSIONS: f"Usable with bad_scans: exclude: {taken} of {len(findings)}.{look}",
        NOT_USABLE: "Not usable: nothing here can be taken.",
    }[exit_code(findings)]


def print_report(
    console: Console, title: str, findings: Sequence[Finding], summary: Mapping[str, str]
) -> None:
    """Print the counts, every subject that is not ok with its reason, and the verdict."""
    counts = Table(title=escape(title), title_justify="left", show_header=False)
    counts.add_column("what")
    counts.add_column("number", justify="right")
    for name, value in summary.items():
        counts.add_row(escape(name), escape(value))
    console.print(counts)
    wanting = sorted(
        (finding for finding in findings if finding.status != "ok"), key=lambda finding: finding.status
    )
    if wanting:
        table = Table(title="Excluded and suspicious", title_justify="left")
        table.add_column("subject", no_wrap=True)
        table.add_column("status", no_wrap=True)
        table.add_column("reason")
        for finding in wanting[:_MOST_LINES]:
            # Not by colour alone: the word says it too.
            style = "bold red" if finding.status == "excluded" else "yellow"
            table.add_row(
                escape(finding.subject), f"[{style}]{finding.status}[/{style}]", escape(finding.reason)
            )
        console.print(table)
        if len(wanting) > _MOST_LINES:
            console.print(f"... and {len(wanting) - _MOST_LINES} more; --csv FILE lists all")
    console.print(verdict(findings))


def write_csv(path: Path, dataset: str, findings: Sequence[Finding]) -> None:
    """Write every finding, ok ones too; several files are separated by semicolons."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as output:
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow(COLUMNS)
        for finding in findings:
            row = (dataset, finding.subject, finding.status, finding.reason, ";".join(finding.files))
            writer.writerow(row)


def findings(name: str, folder: Path, slices: int, deep: bool = False) -> list[Finding]:
    """Return one finding for each subject of whom there is a scan, sorted.

    Args:
        name: the dataset's id.
        folder: as ``datasets.<name>.root``.
        slices: axial slices wanted of each scan.
        deep: read every voxel too; else only missing scans are found.

    Raises:
        BadInput: the folder does not exist or holds no scan.
    """
    dataset = further_dataset(name)
    subjects = dataset.find(folder)
    if not subjects:
        raise BadInput(
            f"{folder}: no scan like {dataset.target_file} here; point it at the folder that holds them"
        )
    return [_finding(name, folder, subject, slices, deep) for subject in subjects]


def summary(name: str, folder: Path, found: Sequence[Finding]) -> dict[str, str]:
    """Count subjects and persons; numbers of subjects that can be used stand last."""
    status = Counter(finding.status for finding in found)
    group = further_dataset(name).group
    return {
        "subjects": str(len(found)),
        "persons": str(len({group(finding.subject) for finding in found})),
        **{state: str(status[state]) for state in ("ok", "suspicious", "excluded")},
    }


def _finding(name: str, folder: Path, subject: str, slices: int, deep: bool) -> Finding:
    dataset = further_dataset(name)
    target, auxiliary = dataset.files(folder, subject)
    there = tuple(path.relative_to(folder).as_posix() for path in (target, auxiliary) if path.is_file())
    try:
        for path in (target, auxiliary):
            if not path.is_file():
                raise BadInput(f"{path}: no such file; add it or leave the subject out")
        if deep:
            have = min(volume.data.shape[2] for volume in dataset.read(target, auxiliary))
            if have < slices:
                raise BadInput(
                    f"{target}: {have} axial slices, but {slices} are wanted; set datasets.{name}.slices "
                    "lower or leave the scan out"
                )
    except BadInput as error:
        return Finding(subject, "excluded", str(error).replace(f"{folder}/", ""), there)
    return Finding(subject, "ok", files=there)
