"""How well the IXI subjects were registered: a table and a figure over all of them.

The score is the mutual information of T2 and T1, with the headers' alignment and after registration. Where
a folder of truth files is given (embedded subjects), the error is the distance between where the estimated
and the true transform send points of the brain, averaged over the points.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.errors import BadInput, run_command
from data_prep.files import replacing

WANTED_MM = 0.5


@dataclass(frozen=True)
class Row:
    """One subject's line of the table; errors in mm, None where there is no truth or no registration."""

    subject: str
    status: str
    score_before: float | None
    score_after: float | None
    error_before_mm: float | None = None
    error_after_mm: float | None = None
    worst_after_mm: float | None = None


def read_rows(aligned: Path, truth: Path | None) -> list[Row]:
    """Read all subjects' records, and their truth if its folder is given, sorted by subject.

    Raises:
        BadInput: no record, or one that is broken, or a truth file that is missing or broken.
    """
    records = [_read_json(path) for path in sorted(aligned.glob("*.json"))]
    if not records:
        raise BadInput(f"{aligned}: no records of aligned subjects; run the step `align` first")
    return [_row(record, aligned, truth) for record in records]


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as CSV; scores in bits, errors in mm, empty where unknown."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(astuple(row) for row in rows)


def draw_figure(rows: Sequence[Row], path: Path) -> None:
    """Draw scores, and errors where they are known, subject by subject."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    used = [row for row in rows if row.score_after is not None]
    known = [row for row in used if row.error_after_mm is not None]
    panels = 2 if known else 1
    width = float(np.clip(2.2 + 0.16 * len(used), 4.8, 12.0))
    figure = Figure(figsize=(width, 2.2 * panels + 0.8), dpi=300, layout="constrained")
    axes = figure.subplots(panels, 1, squeeze=False, sharex=True)[:, 0]
    _draw_pairs(axes[0], used, ("score_before", "score_after"), "Mutual information (bits)")
    axes[0].set_ylim(bottom=0)
    left_out = len(rows) - len(used)
    note = f" ({left_out} excluded)" if left_out else ""
    figure.suptitle(f"Registration of T1 to T2, {len(used)} subjects{note}", fontsize=9)
    axes[0].legend(
        fontsize=7, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0
    )
    if known:
        _draw_pairs(axes[1], known, ("error_before_mm", "error_after_mm"), "Mean error over the brain (mm)")
        axes[1].set_yscale("log")
        axes[1].axhline(WANTED_MM, color="#c0392b", linewidth=0.9, linestyle="--")
        axes[1].annotate(
            f"{WANTED_MM:g} mm",
            (1.0, WANTED_MM),
            xycoords=("axes fraction", "data"),
            xytext=(-3, 2),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            color="#c0392b",
        )
        axes[1].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes[1].yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes[1].yaxis.set_minor_formatter(lambda value, _: f"{value:g}")
        axes[1].tick_params(axis="y", which="minor", labelsize=7)
    with replacing(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


def _draw_pairs(axes: Any, rows: Sequence[Row], names: tuple[str, str], label: str) -> None:
    x = np.arange(len(rows))
    before, after = (np.array([getattr(row, name) for row in rows]) for name in names)
    axes.vlines(x, before, after, color="0.8", linewidth=1.0, zorder=1)
    hollow = {"facecolor": "white", "edgecolor": "#d1731c", "linewidth": 1.1}
    axes.scatter(x, before, s=16, label="header alignment", **hollow)
    axes.scatter(x, after, s=18, color="#12897b", label="registered")
    axes.set_ylabel(label, fontsize=8)
    axes.tick_params(labelsize=7)
    if len(rows) <= 60:
        axes.set_xticks(x, [row.subject.split("-")[0] for row in rows], rotation=90, fontsize=6.5)
    else:
        axes.set_xlabel("Subject, in order of id", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)


def _row(record: dict[str, Any], aligned: Path, truth: Path | None) -> Row:
    missing = [
        name
        for name in ("subject", "status", "score_before", "score_after", "transform")
        if name not in record
    ]
    if missing:
        raise BadInput(
            f"{aligned}: a record has no field `{missing[0]}`; delete the folder and run the step `align` "
            "again"
        )
    subject, estimate = record["subject"], record["transform"]
    row = Row(subject, record["status"], record["score_before"], record["score_after"])
    if truth is None or estimate is None:
        return row
    from data_prep.registration import point_errors

    path = truth / f"{subject}.truth.json"
    known = _read_json(path)
    if not {"t2_to_t1", "brain_points_t2_mm"} <= known.keys():
        raise BadInput(
            f"{path}: no transform or no brain points in it; delete it and generate the subject again"
        )
    true, points = np.array(known["t2_to_t1"]), np.array(known["brain_points_t2_mm"])
    before = point_errors(np.eye(4), true, points)
    after = point_errors(np.array(estimate), true, points)
    errors = (round(float(value), 3) for value in (before.mean(), after.mean(), after.max()))
    return Row(row.subject, row.status, row.score_before, row.score_after, *errors)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BadInput(f"{path}: no such file; generate the subject again, or leave --truth out")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}: not JSON; delete it and run the step that writes it again") from error
    return content


def main() -> None:
    """Write ``registration.csv`` and ``registration.png``."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.registration_report", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--aligned", type=Path, required=True, help="folder of the aligned subjects' records")
    parser.add_argument("--truth", type=Path, help="folder of <subject>.truth.json (embedded subjects only)")
    parser.add_argument("--output", type=Path, required=True, help="folder, e.g. results/demo/data/ixi")
    options = parser.parse_args()
    rows = read_rows(options.aligned, options.truth)
    write_table(rows, options.output / "registration.csv")
    draw_figure(rows, options.output / "registration.png")
    errors = [row.error_after_mm for row in rows if row.error_after_mm is not None]
    if errors:
        print(f"{len(errors)} subjects: median error {np.median(errors):.3f} mm, worst {max(errors):.3f} mm")


if __name__ == "__main__":
    run_command(main)
