"""The verdict on a folder of scans, as exit code, table and CSV."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_prep.datasets.contract import Dataset, Finding
from data_prep.errors import printable
from data_prep.io.files import write_rows

COLUMNS = ("dataset", "subject", "status", "reason", "files")
# Exit codes by verdict; 2 is argparse's own.
USABLE, NOT_USABLE, WITH_EXCLUSIONS = 0, 1, 3
_WORST_FIRST = ("refused", "excluded", "suspicious", "ok")
_MOST_LINES, _NAMED = 60, 3


def exit_code(findings: Sequence[Finding], dataset: Dataset) -> int:
    """Return 0 if every subject can be used, 3 if some are to be excluded, 1 if even then the run stops."""
    if refused(findings) or empty(findings, dataset):
        return NOT_USABLE
    return WITH_EXCLUSIONS if any(finding.status == "excluded" for finding in findings) else USABLE


def refused(findings: Sequence[Finding]) -> str:
    """Say how many stop the run, whatever ``bad_scans`` is; empty if none does."""
    count = sum(finding.status == "refused" for finding in findings)
    return f"the run stops at {count}, with bad_scans: exclude too" if count else ""


def empty(findings: Sequence[Finding], dataset: Dataset) -> str:
    """Say which published split leaves splits empty; empty if none does."""
    for pool, splits in dataset.pools.items():
        usable = sum(finding.status != "excluded" for finding in findings if finding.pool == pool)
        if usable < len(splits):
            return (
                f"{usable or 'none'}{f' of {pool}' if pool else ''} can be taken, to fill {', '.join(splits)}"
            )
    return ""


def verdict(findings: Sequence[Finding], dataset: Dataset) -> str:
    """Return the verdict as a sentence."""
    counts = Counter(finding.status for finding in findings)
    taken = counts["ok"] + counts["suspicious"]
    look = f" Look at {counts['suspicious']} suspicious ones first." if counts["suspicious"] else ""
    return {
        USABLE: f"Usable: all {taken}.{look}",
        WITH_EXCLUSIONS: f"Usable with bad_scans: exclude: {taken} of {len(findings)}.{look}",
        NOT_USABLE: f"Not usable: {refused(findings) or empty(findings, dataset)}.",
    }[exit_code(findings, dataset)]


def print_report(
    console: Console, folder: Path, dataset: Dataset, findings: Sequence[Finding], summary: Mapping[str, str]
) -> None:
    """Print the counts, what is wrong and with which subjects, and the verdict."""
    counts = Table(title=_plain(f"{dataset.label} in {folder}"), title_justify="left", show_header=False)
    counts.add_column("what")
    counts.add_column("number", justify="right")
    for name, value in summary.items():
        counts.add_row(_plain(name), _plain(value))
    console.print(counts)
    groups = _groups(dataset, findings)
    if groups:
        table = Table(title="Refused, excluded and suspicious", title_justify="left")
        table.add_column("subjects")
        table.add_column("number", justify="right")
        table.add_column("status", no_wrap=True)
        table.add_column("reason")
        for status, reason, subjects in groups[:_MOST_LINES]:
            # Not by colour alone: the word says it too.
            style = "yellow" if status == "suspicious" else "bold red"
            names = ", ".join(subjects[:_NAMED]) + (" ..." if len(subjects) > _NAMED else "")
            said = f"[{style}]{status}[/{style}]"
            table.add_row(_plain(names), str(len(subjects)), said, _plain(reason))
        console.print(table)
        if len(groups) > _MOST_LINES:
            console.print(f"... and {len(groups) - _MOST_LINES} more; --csv FILE lists all")
        elif any(len(subjects) > _NAMED for *_, subjects in groups):
            console.print("--csv FILE lists every subject")
    console.print(_plain(verdict(findings, dataset)))


def _groups(dataset: Dataset, findings: Sequence[Finding]) -> list[tuple[str, str, list[str]]]:
    """Return status, reason and the subjects of which they say the same, the worst first."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    times = Counter(stem for finding in findings for stem in _stems(finding))
    for finding in sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.status)):
        if finding.status != "ok":
            known = dataset.published.get(finding.pool)
            published = known.holes.get(finding.subject) if known else None
            reason = finding.reason + (f" ({published})" if published else "")
            general = reason
            # Names that are the subject's alone: its id, and files such as those of a pair of persons.
            for name in (finding.subject, *(stem for stem in _stems(finding) if times[stem] == 1)):
                general = general.replace(name, "*")
            groups.setdefault((finding.status, general), {})[finding.subject] = reason
    # Of a single subject the whole reason, names included.
    return [
        (status, general if len(own) > 1 else next(iter(own.values())), list(own))
        for (status, general), own in groups.items()
    ]


def _stems(finding: Finding) -> set[str]:
    return {Path(file).name.split(".")[0] for file in finding.files} - {""}


def _plain(text: str) -> Text:
    """Return a text that neither the terminal nor rich takes for more than it says."""
    return Text(printable(text))


def write_csv(path: Path, dataset: str, findings: Sequence[Finding]) -> None:
    """Write every finding, ok ones too; several files are separated by semicolons."""
    rows = ({"dataset": dataset, **asdict(found), "files": ";".join(found.files)} for found in findings)
    write_rows(path, COLUMNS, ({name: row[name] for name in COLUMNS} for row in rows))
