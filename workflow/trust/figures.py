"""Figures of trust: misalignment, noise, other masks, metric conventions, lesions.

``python -m workflow.trust.figures --figure misalignment --definition JSON
--probes results/X/trust/probes.parquet --output results/X/figures`` writes ``trust_<figure>_<dataset>.pdf``
and ``.png``.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator

from data_prep.errors import BadInput
from data_prep.io.command import Choices, command
from data_prep.masks.registry import label
from workflow.figures import style
from workflow.figures.sheet import AXIS, TITLE, Look, filled, heat_map, looks, plain, sheet_of
from workflow.metrics.conventions import CONVENTIONS
from workflow.plan.definitions import GROUND_TRUTH, Folder, TrustDefinition, TrustRow
from workflow.statistics.scores import counted
from workflow.trust.scores import (
    DETECTED,
    LesionScores,
    audit_scores,
    auxiliary_scores,
    lesion_scores,
    mean,
    rate_interval,
    read_probes,
    volumes,
)

_AUDITED = {"ssim": "SSIM", "psnr": "PSNR (dB)", "hfen": "HFEN"}
_CONVENTIONS = {
    "volume": "volume",
    "slice": "slice",
    "peak_to_peak": "peak to\npeak",
    "self_normalised": "self-\nnormalised",
    "gaussian_window": "Gaussian\nwindow",
    "body": "body\nonly",
}


def draw_misalignment(definition: TrustDefinition, probes: pd.DataFrame) -> Figure:
    """PSNR against shift and rotation of the auxiliary, and without the right auxiliary; one row per mask."""
    scores = auxiliary_scores(probes, definition)
    probed = set(scores["condition"])
    kinds = [kind for kind in ("shift", "rotation") if kind in probed]
    swaps = [swap for swap in ("zeroed", "other_subject") if swap in probed]
    # What becomes of the auxiliary is all one to methods that read none: a line through all panels.
    styles = looks(definition.rows)
    styles |= {
        row.method: styles[row.method] | {"marker": ""} for row in definition.rows if not row.auxiliary
    }
    figure, panels = sheet_of(
        definition,
        styles,
        [
            f"Mean over {counted(scores['volumes'].max(), 'test volume')}; no marks: methods that read no "
            "auxiliary"
        ],
        [1.0] * len(kinds) + ([0.9] if swaps else []),
        [1.35] * len(definition.masks),
        len(definition.masks) * TITLE + AXIS,
        sharex="col",
        sharey="row",
    )
    xlabels = {"shift": "shift (pixels)", "rotation": "rotation (degrees)", "swap": "auxiliary"}
    names = {"unchanged": "its own", "zeroed": "zeroed", "other_subject": "other\nsubject's"}
    for mask, line in zip(definition.masks, panels, strict=True):
        own = scores[scores["mask"] == mask]
        rows = definition.rows_under(mask)
        for axes, kind in zip(line, [*kinds, *(["swap"] if swaps else [])], strict=True):
            for row in rows:
                chosen = own[own["method"] == row.method]
                if not row.auxiliary:
                    axes.axhline(float(chosen["psnr"].iloc[0]), linewidth=0.8, **styles[row.method])
                elif kind != "swap":
                    chosen = chosen[chosen["condition"].isin(["unchanged", kind])].sort_values("amount")
                    axes.plot(chosen["amount"], chosen["psnr"], **styles[row.method])
            if kind == "swap":
                readers = {
                    row.method: own[own["method"] == row.method].set_index("condition")["psnr"]
                    for row in rows
                    if row.auxiliary
                }
                _marks(axes, readers, {name: names[name] for name in ("unchanged", *swaps)}, styles)
            else:
                axes.locator_params(axis="x", nbins=5)
            plain(axes, label(mask) if axes is line[0] else "", xlabels[kind], "PSNR (dB)")
    return figure


def _marks(
    axes: Axes, values: Mapping[str, pd.Series], names: Mapping[str, str], styles: Mapping[str, Look]
) -> None:
    """Draw columns that have no order: methods side by side in each, and no line from one to the next.

    Args:
        axes: to draw in.
        values: of each method, by column.
        names: column -> what is written below it.
        styles: of the methods.
    """
    places = np.arange(len(names))
    beside = np.linspace(-0.24, 0.24, len(values)) if len(values) > 1 else np.zeros(len(values))
    for shift, (method, of_column) in zip(beside, values.items(), strict=True):
        heights = [float(of_column[name]) for name in names]
        axes.plot(places + shift, heights, **styles[method] | {"linestyle": "none"})
    for place in places[1:]:
        axes.axvline(place - 0.5, color="0.9", linewidth=0.5, zorder=0)
    axes.set_xticks(places, list(names.values()))
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.tick_params(axis="x", length=0)


def draw_noise(definition: TrustDefinition, probes: pd.DataFrame) -> Figure:
    """PSNR against the noise level of the test measurements; a line marks the level of training."""
    levels = sorted({float(level) for level in probes.loc[probes["probe"] == "noise", "amount"]})
    styles = looks(definition.rows)
    across = min(4, max(len(definition.masks), 2))
    rows = math.ceil(len(definition.masks) / across)
    figure, panels = sheet_of(
        definition,
        styles,
        ["Mean over test volumes; grey line: the noise of training"],
        [1.0] * across,
        [1.35] * rows,
        rows * (TITLE + AXIS),
        sharey=True,
    )
    for axes, mask in filled(panels.flat, definition.masks):
        axes.axvline(100 * definition.noise, color="0.6", linewidth=0.7)
        for row in definition.rows_under(mask):
            of = partial(volumes, probes, mask, row.method, "psnr")
            own = {level: mean(of(probe="noise", amount=level)) for level in levels}
            own.setdefault(definition.noise, mean(of(probe="unchanged")))
            x, y = zip(*((100 * level, value) for level, value in sorted(own.items())), strict=True)
            axes.plot(x, y, **styles[row.method])
            axes.set_xticks(x)
        plain(axes, label(mask), "noise (% of mean intensity)", "PSNR (dB)")
    return figure


def draw_transfer(definition: TrustDefinition, probes: pd.DataFrame) -> Figure:
    """One heat map per trained method: trained for the mask of the row, tested under that of the column."""
    methods = [row for row in definition.rows if row.trained]
    across = min(3, len(methods))
    if not across:
        raise BadInput("--definition: no compared method is trained; leave trust.transfer out")
    rows = math.ceil(len(methods) / across)
    grids = [transfer_matrix(definition, probes, row.method) for row in methods]
    figure, panels = sheet_of(
        definition,
        {},
        ["PSNR (dB); rows: mask of training, columns: mask of the test; framed: the same mask"],
        [1.0] * across,
        [min(1.9, 0.28 * len(definition.masks) + 0.1)] * rows,
        rows * 0.95,  # names of masks stand upright
    )
    limits = float(np.nanmin(grids)), float(np.nanmax(grids))
    trained, tested = ([label(mask) for mask in of] for of in (definition.masks, definition.all_masks))
    shown = list(zip(methods, grids, strict=True))
    for number, (axes, (row, grid)) in enumerate(filled(panels.flat, shown)):
        names = (trained if number % across == 0 else [], tested)
        numbers = heat_map(axes, grid, "{:.1f}".format, limits, names, fontsize=5)
        for i, j in np.ndindex(grid.shape):
            if (i, j) not in numbers:
                axes.text(j + 0.5, i + 0.5, "—", ha="center", va="center", fontsize=5)
            if trained[i] == tested[j]:
                colour = numbers[i, j].get_color() if (i, j) in numbers else "black"
                axes.add_patch(Rectangle((j + 0.03, i + 0.08), 0.94, 0.84, fill=False, edgecolor=colour))
        axes.set_title(row.label, loc="left", pad=3)
        axes.tick_params(axis="x", rotation=90, labelsize=5.5)
        axes.tick_params(axis="y", rotation=0, labelsize=5.5)
    return figure


def transfer_matrix(definition: TrustDefinition, probes: pd.DataFrame, method: str) -> Any:
    """PSNR in dB, float64 (mask of training, mask of the test); NaN where a training diverged."""
    pairs = product(definition.masks, definition.all_masks)
    scores = [
        mean(volumes(probes, own, method, "psnr", probe="mask", condition=other)) for own, other in pairs
    ]
    return np.reshape(scores, (len(definition.masks), len(definition.all_masks)))


def draw_audit(definition: TrustDefinition, probes: pd.DataFrame) -> Figure:
    """SSIM and PSNR under each convention, and HFEN; an order that changes is a ranking that does."""
    scores = audit_scores(probes, definition)
    styles = {name: look | {"linestyle": "none"} for name, look in looks(definition.rows, "x").items()}
    figure, panels = sheet_of(
        definition,
        styles,
        ["Mean over test volumes; HFEN: high-frequency error norm, lower is better"],
        [1.25, 1.1, 0.3],
        [1.35] * len(definition.masks),
        len(definition.masks) * TITLE + AXIS,
        sharex="col",
    )
    for mask, line in zip(definition.masks, panels, strict=True):
        for axes, (metric, name) in zip(line, _AUDITED.items(), strict=True):
            own = scores[(scores["mask"] == mask) & (scores["metric"] == metric)]
            order = [c for c in CONVENTIONS if (own["convention"] == c).any()]
            names = {c: _CONVENTIONS[c] if metric != "hfen" else "" for c in order}
            values = {
                row.method: own[own["method"] == row.method].set_index("convention")["value"]
                for row in definition.rows_under(mask)
            }
            _marks(axes, values, names, styles)
            plain(axes, label(mask) if axes is line[0] else "", "", name)
    return figure


def draw_lesions(definition: TrustDefinition, probes: pd.DataFrame) -> Figure:
    """Contrast recovered per lesion, and detections against false bright spots; one row per mask."""
    # Of the truth: the first method may decline the first mask.
    first = lesion_scores(probes, definition.masks[0], GROUND_TRUTH)
    known = "no interval can be had from one head"
    if first.heads > 1:
        low, high = rate_interval(0.5, first.heads)
        known = f"the 95 % interval of a middling rate is {low:.2f} to {high:.2f}"
    styles = looks(definition.rows, "x")
    figure, panels = sheet_of(
        definition,
        styles,
        [
            f"Lesions: {len(first.lesions)} in {counted(first.heads, 'head')}, larger marks for larger ones; "
            "bar: median; 1 is right, 0 is gone; dashed: half, from where a lesion counts as detected.",
            f"Right: at 25, 50, 75 % of the contrast, half marked by a ring; {known}",
        ],
        [1.9, 1.0],
        [1.6] * len(definition.masks),
        len(definition.masks) * TITLE + AXIS,
        sharex="col",
    )
    truth = TrustRow(GROUND_TRUTH, "Truth", False, False)
    for mask, (strip, curve) in zip(definition.masks, panels, strict=True):
        rows = [truth, *definition.rows_under(mask)]
        scores = [lesion_scores(probes, mask, row.method) for row in rows]
        for place, of_method in enumerate(scores):
            _lesion_strip(strip, place, of_method)
        for share, pattern in ((1, "-"), (DETECTED, (0, (4, 2))), (0, "-")):
            strip.axhline(share, color="0.45", linewidth=0.7, linestyle=pattern, zorder=0)
        plain(strip, label(mask), "", "contrast\nrecovered")
        crowded = len(rows) > 8
        names = [row.label if crowded else row.label.replace(" ", "\n", 1) for row in rows]
        turned: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        strip.set_xticks(range(len(rows)), names, **turned)
        strip.set_xlim(-0.5, len(rows) - 0.5)
        strip.margins(y=0.1)  # so that no mark is cut
        strip.yaxis.set_major_locator(_whole_and_half(*strip.get_ylim()))
        strip.yaxis.set_major_formatter("{x:g}")
        for row, of_method in zip(rows[1:], scores[1:], strict=True):
            rates = [(spots, found) for _, (found, spots) in sorted(of_method.rates.items())]
            if rates:
                curve.plot(*zip(*rates, strict=True), **styles[row.method])
            if DETECTED in of_method.rates:
                found, spots = of_method.rates[DETECTED]
                curve.plot(
                    spots, found, "o", markersize=7, fillstyle="none", color="0.45", markeredgewidth=0.6
                )
        curve.plot(0, 1, "*", markersize=7, color="black", clip_on=False)
        curve.annotate("truth", (0, 1), (7, -2), textcoords="offset points", va="center", fontsize=6)
        curve.set_xlim(left=0)
        curve.set_ylim(-0.03, 1.03)
        plain(curve, "", "false bright spots per slice", "lesions\ndetected")
    return figure


def _whole_and_half(low: float, high: float) -> FixedLocator:
    """Return ticks at 0, at the half that counts as detected, at 1, and at whole numbers some steps apart."""
    step = max(1, math.ceil((high - low) / 6))
    whole = [share for share in range(math.ceil(low), math.floor(high) + 1) if share % step in (0, 1 % step)]
    return FixedLocator([*whole, DETECTED])


def _lesion_strip(axes: Axes, place: int, scores: LesionScores) -> None:
    lesions = scores.lesions
    if not len(lesions) or scores.diverged:
        said = "diverged" if len(lesions) else "no lesion"
        axes.text(place, 0.5, said, ha="center", fontsize=5, rotation=90)
        return
    # Side by side in order of size, so that marks do not hide each other.
    x = place + np.linspace(-0.28, 0.28, len(lesions)) if len(lesions) > 1 else np.array([float(place)])
    size = 1.2 * lesions["radius_mm"].to_numpy(dtype=np.float64) ** 2
    mark: Any = {"facecolor": "0.75", "edgecolor": "black", "linewidth": 0.5, "zorder": 3}
    axes.scatter(x, lesions["recovered"], s=size, **mark)
    middle = float(lesions["recovered"].median())
    axes.plot([place - 0.36, place + 0.36], [middle, middle], color="black", linewidth=1.4, zorder=4)


_FIGURES: dict[str, Callable[[TrustDefinition, pd.DataFrame], Figure]] = {
    "misalignment": draw_misalignment,
    "noise": draw_noise,
    "transfer": draw_transfer,
    "audit": draw_audit,
    "lesions": draw_lesions,
}


@command
def write_figure(
    figure: Annotated[str, Choices(lambda: _FIGURES), "which figure"],
    definition: TrustDefinition,
    probes: Annotated[Path, "probes.parquet of the experiment"],
    output: Folder,
) -> None:
    """Draw a figure as PDF and PNG."""
    with style.printed():
        drawn = _FIGURES[figure](definition, read_probes(probes, definition))
        style.save(drawn, output / f"trust_{figure}_{definition.dataset}")
