"""The report of the GPU bench as Markdown."""

from collections.abc import Mapping
from typing import Any

MISSING = "–"


def markdown(report: Mapping[str, Any]) -> str:
    """Return the tables of all parts; a row that was not taken says why."""
    parts: Mapping[str, Any] = report["parts"]
    rows = [row for part in parts.values() for row in part["rows"].values()]
    taken = sum("values" in row for row in rows)
    told = f"{taken} of {len(rows)} rows were taken"
    if "seconds" in report:
        told += f", in {report['seconds']:.0f} s of {60 * report['minutes']:.0f}"
    lines = ["# What this GPU was measured to do", "", f"By `python -m tests.bench --gpu`: {told}.", ""]
    if report["device"] == "cpu":
        lines += [
            "**A rehearsal on a CPU, with tiny networks and slices: its figures say nothing of a GPU.**",
            "",
        ]
    if wrong := failed_checks(parts):
        lines += [f"**What should hold and does not:** {'; '.join(wrong)}.", ""]
    for part in parts.values():
        spent = f" ({part['seconds']:.0f} s)" if "seconds" in part else ""
        lines += [f"## {part['title']}{spent}", "", *table(part["rows"]), ""]
    return "\n".join(lines)


def failed_checks(parts: Mapping[str, Any]) -> list[str]:
    """Name the checks that came out as no."""
    return [
        f"{part['title']}, {name}: {column}"
        for part in parts.values()
        for name, row in part["rows"].items()
        for column, value in row.get("values", {}).items()
        if value == "NO"
    ]


def table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the lines of one table; where there is a single row, its values stand below each other."""
    taken = {name: row["values"] for name, row in rows.items() if "values" in row}
    if len(rows) == 1 and taken:
        ((name, values),) = taken.items()
        return [
            f"| {name} | |",
            "|---|---|",
            *(f"| {key} | {cell(value)} |" for key, value in values.items()),
        ]
    columns = list(dict.fromkeys(column for values in taken.values() for column in values))
    lines = (
        [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
        if columns
        else ["| | |", "|---|---|"]
    )
    for name, row in rows.items():
        if "values" in row:
            cells = [cell(row["values"].get(column)) for column in columns]
        else:
            cells = [f"not run: {row['reason'].replace('|', '/')}", *[""] * (len(columns) - 1)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def cell(value: Any) -> str:
    """Return a value with three digits that count, or more if it is large."""
    if value is None:
        return MISSING
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
