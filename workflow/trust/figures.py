"""Figures of trust: misalignment, noise, other masks, metric conventions, lesions.

``python -m workflow.trust.figures --figure misalignment --definition JSON
--probes results/X/trust/probes.parquet --output results/X/figures`` writes ``trust_<figure>_<dataset>.pdf``
and ``.png``.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from data_prep.errors import BadInput, run_command
from data_prep.io.json_files import from_json
from data_prep.masks.registry import label
from workflow.figures import style
from workflow.figures.sheet import Sheet, common_limits, draw_legend, looks, plain, write_note
from workflow.metrics.conventions import CONVENTIONS
from workflow.plan.definitions import GROUND_TRUTH, TrustDefinition, TrustRow
from workflow.trust.scores import (
    LesionScores,
    audit_scores,
    auxiliary_scores,
    lesion_scores,
    mean,
    rate_interval,
    read_probes,
    unchanged,
    volumes,
)


def draw_misalignment(definition: TrustDefinition, probes: pd.DataFrame) -> Figure:
    """PSNR against shift and rotation of the auxiliary, and without the right auxiliary; one row per mask."""
    scores = auxiliary_scores(probes, definition)
    kinds = [
        (condition, xlabel)
        for condition, xlabel in (("shift", "shift (pixels)"), ("rotation", "rotation (degrees)"))
        if (scores["condition"] == condition).any()
    ]
    swaps = [name for name in ("zeroed", "other_subject") if (scores["condition"] == name).any()]
    styles = looks(definition.rows)
    widths = [1.0] * len(kinds) + ([0.9] if swaps else [])
    sheet = Sheet(
        definition, widths, len(definition.masks), draw_legend(definition.rows, styles), shared=True
    )
    for row_number, mask in enumerate(definition.masks):
        panels = []
        own = scores[scores["mask"] == mask]
        for column, (condition, xlabel) in enumerate(kinds):
            axes = sheet.axes(row_number, column)
            for row in definition.rows_under(mask):
                _misaligned_line(axes, own[own["method"] == row.method], condition, styles[row.method])
            plain(axes, label(mask) if column == 0 else "", xlabel, "PSNR (dB)" if column == 0 else "")
            panels.append(axes)
        if swaps:
            axes = sheet.axes(row_number, len(kinds))
            _swap_panel(axes, own, ["unchanged", *swaps], definition.rows_under(mask), styles)
            plain(axes, "", "auxiliary", "PSNR (dB)" if not kinds else "")
            panels.append(axes)
        common_limits(panels)
    count = int(scores["volumes"].max())
    return sheet.finish(
        write_note(
            definition,
            f"Mean over {count} test volumes; lines without markers: methods that read no auxiliary",
        )
    )


def _misaligned_line(axes: Axes, scores: pd.DataFrame, condition: str, look: dict[str, Any]) -> None:
    chosen = scores[scores["condition"].isin(["unchanged", condition])].sort_values("amount")
    if len(chosen) == 1:
        # Reads no auxiliary: the same whatever becomes of it.
        plain = {**look, "marker": ""}
        axes.axhline(float(chosen["psnr"].iloc[0]), linewidth=0.8, **plain)
        return
    axes.plot(chosen["amount"], chosen["psnr"], markersize=3.2, clip_on=False, **look)


def _swap_panel(
    axes: Axes, scores: pd.DataFrame, conditions: list[str], rows: Sequence[TrustRow], styles: dict[str, Any]
) -> None:
    names = {"unchanged": "its own", "zeroed": "zeroed", "other_subject": "other\nsubject's"}
    for row in rows:
        own = scores[scores["method"] == row.method].set_index("condition")["psnr"]
        if not row.auxiliary:
            axes.axhline(float(own["unchanged"]), linewidth=0.8, **{**styles[row.method], "marker": ""})
            continue
        values = [float(own[condition]) for condition in conditions]
        axes.plot(range(len(conditions)), values, markersize=3.2, clip_on=False, **styles[row.method])
    axes.set_xticks(range(len(conditions)), [names[condition] for condition in conditions])
    axes.set_xlim(-0.25, len(conditions) - 0.75)


def draw_noise(definition: TrustDefinition, probes: pd.DataFrame) -> Figure:
    """PSNR against the noise level of the test measurements; a line marks the level of training."""
    levels = sorted({float(level) for level in probes.loc[probes["probe"] == "noise", "amount"]})
    styles = looks(definition.rows)
    across = min(4, len(definition.masks))
    rows = math.ceil(len(definition.masks) / across)
    sheet = Sheet(definition, [1.0] * max(across, 2), rows, draw_legend(definition.rows, styles))
    panels = []
    for number, mask in enumerate(definition.masks):
        axes = sheet.axes(number // across, number % across)
        axes.axvline(100 * definition.noise, color="0.6", linewidth=0.7)
        for row in definition.rows_under(mask):
            own = {level: _noise_score(probes, mask, row.method, level) for level in levels}
            own.setdefault(definition.noise, mean(unchanged(probes, mask, row.method, "psnr")))
            points = sorted(own.items())
            x = [100 * level for level, _ in points]
            axes.plot(x, [value for _, value in points], markersize=3.2, clip_on=False, **styles[row.method])
            axes.set_xticks(x)
        plain(axes, label(mask), "noise (% of mean intensity)", "PSNR (dB)" if number % across == 0 else "")
        panels.append(axes)
    common_limits(panels)
    for number, axes in enumerate(panels):
        axes.tick_params(labelleft=number % across == 0)
    return sheet.finish(write_note(definition, "Mean over test volumes; grey line: the noise of training"))


def _noise_score(probes: pd.DataFrame, mask: str, method: str, level: float) -> float:
    return mean(volumes(probes, mask, method, "psnr", probe="noise", amount=level))


def draw_transfer(definition: TrustDefinition, probes: pd.DataFrame) -> Figure:
    """One heat map per trained method: trained for the mask of the row, tested under that of the column."""
    import seaborn  # costs a CPU second, which the other figures need not spend

    methods = [row for row in definition.rows if row.trained]
    across = min(3, len(methods))
    if not across:
        raise BadInput("--definition: no compared method is trained; leave trust.transfer out")
    grids = [transfer_matrix(definition, probes, row.method) for row in methods]
    low, high = (float(f(np.concatenate([g.ravel() for g in grids]))) for f in (np.nanmin, np.nanmax))
    height = min(1.9, 0.28 * len(definition.masks) + 0.1)
    sheet = Sheet(
        definition,
        [1.0] * across,
        math.ceil(len(methods) / across),
        [],
        panel=height,
        axis=0.75,
        left=0.78,
        gap=0.1,
    )
    for number, (row, grid) in enumerate(zip(methods, grids, strict=True)):
        axes = sheet.axes(number // across, number % across)
        seaborn.heatmap(
            grid,
            ax=axes,
            cmap=style.SCORE_COLOURS,
            vmin=low,
            vmax=high,
            annot=True,
            fmt=".1f",
            annot_kws={"fontsize": 5},
            cbar=False,
            xticklabels=[label(mask) for mask in definition.all_masks],
            yticklabels=[label(mask) for mask in definition.masks] if number % across == 0 else False,
        )
        numbers = {(int(x), int(y)): text for text in axes.texts for x, y in [text.get_position()]}
        for i, j in np.ndindex(grid.shape):
            if (j, i) not in numbers:
                axes.text(j + 0.5, i + 0.5, "—", ha="center", va="center", fontsize=5)
            if definition.masks[i] == definition.all_masks[j]:
                colour = numbers[j, i].get_color() if (j, i) in numbers else "black"
                axes.add_patch(Rectangle((j + 0.03, i + 0.08), 0.94, 0.84, fill=False, edgecolor=colour))
        axes.set_title(row.label, loc="left", pad=3)
        axes.tick_params(axis="x", rotation=90)
        axes.tick_params(axis="y", rotation=0)
        axes.tick_params(length=0, labelsize=5.5)
    return sheet.finish(
        write_note(
            definition, "PSNR (dB); rows: mask of training, columns: mask of the test; framed: the same mask"
        )
    )


def transfer_matrix(definition: TrustDefinition, probes: pd.DataFrame, method: str) -> Any:
    """PSNR in dB, float64 (mask of training, mask of the test); NaN where a training diverged."""
    return np.array(
        [
            [
                mean(volumes(probes, trained, method, "psnr", probe="mask", condition=tested))
                for tested in definition.all_masks
            ]
            for trained in definition.masks
        ]
    )


def draw_audit(definition: TrustDefinition, probes: pd.DataFrame) -> Figure:
    """SSIM and PSNR under each convention, and HFEN; lines that cross are rankings that change."""
    scores = audit_scores(probes, definition)
    styles = looks(definition.rows)
    for look in styles.values():
        look["marker"] = look["marker"] or "x"
    sheet = Sheet(
        definition,
        [1.25, 1.1, 0.3],
        len(definition.masks),
        draw_legend(definition.rows, styles),
        axis=0.4,
        gap=0.42,
        shared=True,
    )
    words = {
        "volume": "volume",
        "slice": "slice",
        "peak_to_peak": "peak to\npeak",
        "self_normalised": "self-\nnormalised",
        "gaussian_window": "Gaussian\nwindow",
        "body": "body\nonly",
    }
    for row_number, mask in enumerate(definition.masks):
        for column, (metric, name) in enumerate((("ssim", "SSIM"), ("psnr", "PSNR (dB)"), ("hfen", "HFEN"))):
            axes = sheet.axes(row_number, column)
            own = scores[(scores["mask"] == mask) & (scores["metric"] == metric)]
            order = [c for c in CONVENTIONS if (own["convention"] == c).any()]
            for row in definition.rows_under(mask):
                values = own[own["method"] == row.method].set_index("convention")["value"]
                points = [float(values[c]) for c in order]
                axes.plot(range(len(order)), points, markersize=3.2, clip_on=False, **styles[row.method])
            plain(axes, label(mask) if column == 0 else "", "", name)
            axes.set_xticks(range(len(order)), [words[c] for c in order] if metric != "hfen" else [""])
            axes.set_xlim(-0.2, len(order) - 0.8)
    return sheet.finish(
        write_note(definition, "Mean over test volumes; HFEN: high-frequency error norm, lower is better")
    )


def draw_lesions(definition: TrustDefinition, probes: pd.DataFrame) -> Figure:
    """Contrast recovered per lesion, and detections against false bright spots; one row per mask."""
    truth = TrustRow(GROUND_TRUTH, "Truth", False, False)
    styles = looks(definition.rows)
    for look in styles.values():
        look["marker"] = look["marker"] or "x"
    sheet = Sheet(
        definition,
        [1.9, 1.0],
        len(definition.masks),
        draw_legend(definition.rows, styles),
        panel=1.6,
        gap=0.55,
        axis=0.44,
        left=0.55,
        shared=True,
    )
    for row_number, mask in enumerate(definition.masks):
        axes = sheet.axes(row_number, 0)
        rows = [truth, *definition.rows_under(mask)]
        for place, row in enumerate(rows):
            _lesion_strip(axes, place, lesion_scores(probes, mask, row.method))
        axes.axhline(1, color="0.6", linewidth=0.6, zorder=0)
        axes.axhline(0.5, color="0.6", linewidth=0.6, linestyle=(0, (2, 2)), zorder=0)
        axes.axhline(0, color="0.6", linewidth=0.6, zorder=0)
        plain(axes, label(mask), "", "contrast\nrecovered")
        crowded = len(rows) > 8
        names = [row.label if crowded else row.label.replace(" ", "\n", 1) for row in rows]
        turned: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        axes.set_xticks(range(len(rows)), names, **turned)
        axes.set_xlim(-0.5, len(rows) - 0.5)
        axes.margins(y=0.1)  # so that no mark is cut
        axes = sheet.axes(row_number, 1)
        for row in definition.rows:
            _detection_line(axes, probes, mask, row, styles[row.method])
        axes.set_ylim(-0.03, 1.03)
        plain(axes, "", "false bright spots per slice", "lesions\ndetected")
    count = len(lesion_scores(probes, definition.masks[0], definition.rows[0].method).lesions)
    low, high = rate_interval(round(count / 2), count)
    return sheet.finish(
        write_note(
            definition,
            f"Lesions: {count}, larger marks for larger ones; right: at 25, 50, 75 % of the contrast; the "
            f"95 % interval of a middling rate is {low:.2f} to {high:.2f}",
        )
    )


def _lesion_strip(axes: Axes, place: int, scores: LesionScores) -> None:
    lesions = scores.lesions
    if not len(lesions) or scores.diverged:
        axes.text(
            place, 0.5, "diverged" if len(lesions) else "no lesion", ha="center", fontsize=5, rotation=90
        )
        return
    # Side by side in order of size, so that marks do not hide each other.
    x = place + np.linspace(-0.28, 0.28, len(lesions)) if len(lesions) > 1 else np.array([float(place)])
    size = 1.2 * lesions["radius_mm"].to_numpy(dtype=np.float64) ** 2
    axes.scatter(
        x, lesions["recovered"], s=size, facecolor="0.75", edgecolor="black", linewidth=0.5, zorder=3
    )
    middle = float(lesions["recovered"].median())
    axes.plot([place - 0.36, place + 0.36], [middle, middle], color="black", linewidth=1.4, zorder=4)


def _detection_line(axes: Axes, probes: pd.DataFrame, mask: str, row: TrustRow, look: dict[str, Any]) -> None:
    rates = sorted(lesion_scores(probes, mask, row.method).rates.items())
    if rates:
        x, y = [spots for _, (_, spots) in rates], [found for _, (found, _) in rates]
        axes.plot(x, y, markersize=3.2, clip_on=False, **look)


_FIGURES: dict[str, Callable[[TrustDefinition, pd.DataFrame], Figure]] = {
    "misalignment": draw_misalignment,
    "noise": draw_noise,
    "transfer": draw_transfer,
    "audit": draw_audit,
    "lesions": draw_lesions,
}


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.trust.figures", description=__doc__)
    parser.add_argument("--figure", required=True, choices=tuple(_FIGURES), help="which figure")
    parser.add_argument("--definition", required=True, help="JSON, as workflow.plan.probes defines it")
    parser.add_argument("--probes", required=True, type=Path, help="probes.parquet of the experiment")
    parser.add_argument("--output", required=True, type=Path, help="folder to write into")
    arguments = parser.parse_args()
    definition = from_json(
        TrustDefinition, arguments.definition, "--definition", "give what workflow.plan.probes prints"
    )
    probes = read_probes(arguments.probes, definition)
    with style.printed():
        figure = _FIGURES[arguments.figure](definition, probes)
        style.save(figure, arguments.output / f"trust_{arguments.figure}_{definition.dataset}")


if __name__ == "__main__":
    run_command(main)
