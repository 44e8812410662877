"""How well the IXI subjects were registered: a table and a figure over all of them.

The score is the mutual information of T2 and T1, with the headers' alignment and after registration. Where
a folder of truth files is given (embedded subjects), the error is the distance between where the estimated
and the true transform send points of the brain, averaged over the points.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from data_prep.datasets.record import Record, Subjects, read_record
from data_prep.errors import reading
from data_prep.io.command import command
from data_prep.io.files import replacing, write_rows
from data_prep.io.json_files import read_json
from data_prep.registration.score import outliers, point_errors

WANTED_MM = 0.5
_BEFORE, _AFTER, _WANTED = "#d1731c", "#12897b", "#c0392b"
_MOST_PIXELS = 2**24  # of a subject's picture
_STYLE: Any = {
    "font.size": 7,
    "figure.titlesize": 9,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Row:
    """One subject's line of the table.

    Errors in mm are None where there is no truth or no registration; the remark is that of an outlier.
    """

    subject: str
    status: str
    score_before: float | None
    score_after: float | None
    error_before_mm: float | None = None
    error_after_mm: float | None = None
    worst_after_mm: float | None = None
    remark: str = ""


def read_rows(aligned: Path, subjects: Sequence[str], truth: Path | None) -> list[Row]:
    """Read the subjects' records, and their truth if its folder is given, sorted by subject.

    Raises:
        BadInput: a record is missing or broken, or a truth file is.
    """
    # By name: the folder may hold subjects of an earlier configuration.
    rows = [_row(read_record(aligned, "ixi", name), truth) for name in sorted(subjects)]
    odd = outliers({row.subject: row.score_after for row in rows})
    return [replace(row, remark=odd.get(row.subject, "")) for row in rows]


def _row(record: Record, truth: Path | None) -> Row:
    row = Row(record.subject, record.status, record.score_before, record.score_after)
    if truth is None or record.transform is None:
        return row
    known = read_json(
        truth / f"{row.subject}.truth.json",
        "generate the subject again, or leave --truth out",
        "delete it and generate the subject again",
        ("t2_to_t1", "brain_points_t2_mm"),
    )
    true, points = np.array(known["t2_to_t1"]), np.array(known["brain_points_t2_mm"])
    before = point_errors(np.eye(4), true, points)
    after = point_errors(np.array(record.transform), true, points)
    mean_before, mean_after, worst = (round(float(x), 3) for x in (before.mean(), after.mean(), after.max()))
    return replace(row, error_before_mm=mean_before, error_after_mm=mean_after, worst_after_mm=worst)


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as CSV; scores in bits, errors in mm, empty where unknown."""
    write_rows(path, [field.name for field in fields(Row)], map(asdict, rows))


def draw_figure(rows: Sequence[Row], path: Path) -> None:
    """Draw scores, and errors where they are known: subject by subject, and their histogram beside."""
    import matplotlib
    from matplotlib.figure import Figure

    used = [row for row in rows if row.score_after is not None]
    known = [row for row in used if row.error_after_mm is not None]
    panels = 2 if known else 1
    width = float(np.clip(3.8 + 0.16 * len(used), 6.4, 13.0))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, 2.2 * panels + 0.8), dpi=300, layout="constrained")
        axes = figure.subplots(
            panels, 2, squeeze=False, sharex="col", sharey="row", width_ratios=(max(width - 2.6, 2.8), 1.6)
        )
        _draw_scores(axes[0, 0], axes[0, 1], used)
        if known:
            _draw_errors(axes[1, 0], axes[1, 1], known)
        axes[-1, 1].set_xlabel("Subjects")
        left_out = len(rows) - len(used)
        note = f" ({left_out} excluded)" if left_out else ""
        figure.suptitle(f"Registration of T1 to T2, {len(used)} subjects{note}")
        with replacing(path) as temporary:
            figure.savefig(temporary, metadata={"Software": None})


def _draw_scores(each: Any, counts: Any, rows: Sequence[Row]) -> None:
    names = ("score_before", "score_after")
    _draw_pairs(each, rows, names, "Mutual information (bits)")
    each.set_ylim(bottom=0)
    each.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    highest = max((row.score_after or 0 for row in rows), default=1.0)
    _draw_histogram(counts, rows, names, np.linspace(0, 1.05 * highest, 26))


def _draw_errors(each: Any, counts: Any, rows: Sequence[Row]) -> None:
    from matplotlib.ticker import LogLocator

    names = ("error_before_mm", "error_after_mm")
    _draw_pairs(each, rows, names, "Mean error over the brain (mm)")
    each.set_yscale("log")
    values = [value for row in rows for name in names if (value := getattr(row, name))]
    _draw_histogram(counts, rows, names, np.geomspace(min(values) / 1.2, max(values) * 1.2, 26))
    for axes in (each, counts):
        axes.axhline(WANTED_MM, color=_WANTED, linewidth=0.9, linestyle="--")
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    each.annotate(f"{WANTED_MM:g} mm", (1.0, WANTED_MM), (-3, 2), ha="right", color=_WANTED, **place)
    each.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    for written in (each.yaxis.set_major_formatter, each.yaxis.set_minor_formatter):
        written(lambda value, _: f"{value:g}")


def _draw_pairs(axes: Any, rows: Sequence[Row], names: tuple[str, str], ylabel: str) -> None:
    x = np.arange(len(rows))
    before, after = (np.array([getattr(row, name) for row in rows]) for name in names)
    # Many subjects are a cloud, few are read one by one.
    many = len(rows) > 60
    axes.vlines(x, before, after, color="0.85" if many else "0.8", linewidth=0.5 if many else 1.0, zorder=1)
    hollow = {"facecolor": "white", "edgecolor": _BEFORE, "linewidth": 0.6 if many else 1.1}
    axes.scatter(x, before, s=5 if many else 16, label="header alignment", **hollow)
    axes.scatter(x, after, s=5 if many else 18, color=_AFTER, label="registered")
    axes.set_ylabel(ylabel)
    axes.margins(x=0.01 if many else 0.05)
    if many:
        axes.set_xlabel("Subject, in order of id")
    else:
        axes.set_xticks(x, [row.subject.split("-")[0] for row in rows], rotation=90, fontsize=6.5)
    axes.grid(axis="y", color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_histogram(axes: Any, rows: Sequence[Row], names: tuple[str, str], edges: Any) -> None:
    """Draw how many subjects fall where, along the neighbour's axis: outline before, filled after."""
    before, after = ([getattr(row, name) for row in rows] for name in names)
    axes.hist(after, edges, orientation="horizontal", color=_AFTER)
    axes.hist(before, edges, orientation="horizontal", histtype="step", color=_BEFORE, linewidth=1.1)
    axes.tick_params(which="both", labelleft=False)
    axes.xaxis.get_major_locator().set_params(integer=True)


def draw_worst(rows: Sequence[Row], aligned: Path, path: Path, count: int = 10) -> None:
    """Draw the overlays of outliers and of the subjects with the lowest scores, the lowest first of each.

    Args:
        rows: all subjects.
        aligned: folder of ``<subject>.png``.
        path: picture to write.
        count: how many.

    Raises:
        BadInput: an overlay is missing or broken.
    """
    from matplotlib.figure import Figure

    scored = sorted(
        (not row.remark, row.score_after, row.subject) for row in rows if row.score_after is not None
    )
    pictures = [_read_picture(aligned / f"{subject}.png") for *_, subject in scored[:count]]
    odd = sum(bool(row.remark) for row in rows)
    title = f"The {len(pictures)} lowest scores of {len(scored)} subjects, the lowest first"
    if odd:
        title = f"{odd} of {len(scored)} subjects are outliers and come first, then the lowest scores"
    # Inches; about an overlay's own resolution, so that nothing of its outlines is lost.
    width = 5.3
    lines = [pictures[i : i + 2] for i in range(0, len(pictures), 2)]
    heights = [max(width * picture.shape[0] / picture.shape[1] for picture in line) for line in lines]
    figure = Figure(
        figsize=(2 * width + 0.4, sum(heights) + 0.2 * len(lines) + 0.35), dpi=200, layout="constrained"
    )
    figure.suptitle(title, size=11)
    panels = figure.subplots(len(lines), 2, squeeze=False, height_ratios=heights) if lines else np.array([])
    for axes, picture in zip_longest(panels.flat, pictures):
        axes.set_axis_off()
        axes.set_anchor("N")
        if picture is not None:
            axes.imshow(picture, interpolation="none")
    with replacing(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


def _read_picture(path: Path) -> Any:
    from matplotlib.image import imread
    from PIL import Image

    again = "run the step `align` for this subject again"
    damage = (ValueError, SyntaxError, OSError, Image.DecompressionBombError)
    with reading(path, f"missing; {again}", "no picture", again, damage):
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"it claims {image.width} x {image.height} pixels")
        return imread(path)


@command
def main(
    aligned: Annotated[Path, "folder of the aligned subjects' records"],
    subjects: Subjects,
    output: Annotated[Path, "folder, e.g. results/demo/data/ixi"],
    truth: Annotated[Path | None, "folder of <subject>.truth.json (embedded subjects only)"] = None,
) -> None:
    """Write ``registration.csv``, ``registration.png`` and ``registration_worst.png``."""
    rows = read_rows(aligned, subjects, truth)
    write_table(rows, output / "registration.csv")
    draw_figure(rows, output / "registration.png")
    draw_worst(rows, aligned, output / "registration_worst.png")
    for row in rows:
        if row.remark:
            print(f"{row.subject}: {row.remark}")
    errors = [row.error_after_mm for row in rows if row.error_after_mm is not None]
    if errors:
        print(f"{len(errors)} subjects: median error {np.median(errors):.3f} mm, worst {max(errors):.3f} mm")
