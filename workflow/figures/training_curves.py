"""Training curves: per mask, PSNR on validation and the losses against the epoch.

``python -m workflow.figures.training_curves --results results/X --dataset brats --plan JSON --planned JSON
--output FILE.png`` draws the trainings that the plan lists; ``--runs DIR... --output FILE.png`` draws any run
folders. A PDF is written beside the PNG. With ``--each FOLDER``, each training is also drawn alone, for the
screen.
"""

import textwrap
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from data_prep.errors import BadInput
from data_prep.io.command import WrongUse, command, exclusive
from data_prep.masks.registry import all_masks, label
from workflow.figures import style
from workflow.figures.curves import Curve, curves_of_plan, curves_of_runs
from workflow.figures.sheet import AXIS, TITLE, Look, filled, plain, sheet
from workflow.plan.definitions import data_note
from workflow.provenance.runs import PlannedRuns, read_runs
from workflow.train.convergence import RULE

MOST_LINES = 8  # in one panel, before variants get a panel of their own
PANELS_ACROSS = 4
SCREEN_DPI = 150
HEIGHTS = [1.15, 1.15]  # inches of a mask's two panels
BETWEEN = 0.1  # them
LETTERS = 23  # of small print in an inch


def panels(curves: Sequence[Curve]) -> list[tuple[str, list[Curve]]]:
    """Return titles and curves: one panel per mask, a second one for variants where lines would be many."""
    order = {mask: index for index, mask in enumerate(all_masks())}
    found = []
    for mask in sorted(
        {curve.mask for curve in curves}, key=lambda name: (name not in order, order.get(name, 0))
    ):
        chosen = [curve for curve in curves if curve.mask == mask]
        variants = [curve for curve in chosen if "-" in curve.method]
        compared = [curve for curve in chosen if "-" not in curve.method]
        if len(_lines(chosen)) <= MOST_LINES or not variants or not compared:
            found.append((label(mask), chosen))
        else:
            found += [(label(mask), compared), (f"{label(mask)}, variants", variants)]
    return found


def crowded(curves: Sequence[Curve]) -> bool:
    """Whether a panel holds too many lines to tell apart; then only the best and the worst stand out."""
    return len(_lines(curves)) > MOST_LINES and all("-" in curve.method for curve in curves)


def _lines(curves: Sequence[Curve]) -> list[str]:
    """Return the different looks of some curves, in their order."""
    return list(dict.fromkeys(curve.label for curve in curves))


def draw(curves: Sequence[Curve], data: str = "") -> Figure:
    """Draw small multiples: PSNR above, losses below, one column per mask.

    Args:
        curves: what to draw.
        data: whose data it is, if that is to be said.
    """
    chosen = panels(curves)
    down = ceil(len(chosen) / PANELS_ACROSS)
    across = ceil(len(chosen) / down)
    width = {1: style.COLUMN_WIDTH, 2: 5.2}.get(across, style.PAGE_WIDTH)
    shown = [curve for _, of_panel in chosen if not crowded(of_panel) for curve in of_panel]
    by_line = {name: style.line_style(index) for index, name in enumerate(_lines(shown))}
    styles = {curve.name: by_line[curve.label] for curve in shown}
    legend = [Line2D([], [], markersize=3.5, label=name, **look) for name, look in by_line.items()]
    notes = textwrap.wrap(" ".join(_notes(curves)), int(LETTERS * width))
    around = down * (TITLE + BETWEEN + AXIS)
    lines = [*notes, ""] if data else notes
    figure, axes = sheet(legend, lines, data, [1] * across, HEIGHTS * down, around, width, sharey="row")
    limits = _psnr_limits(curves), _loss_limits(curves)
    # A mask's two panels stand below each other.
    pairs = axes.reshape(down, 2, across).swapaxes(1, 2).reshape(-1, 2)
    for (upper, lower), (title, of_panel) in filled(pairs, chosen):
        looks = _crowd_styles(of_panel) if crowded(of_panel) else styles
        for part in (upper, lower):
            part.set_xlim(0.5, max(curve.history["epoch"].max() for curve in of_panel) + 0.5)
            part.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
        plain(upper, "", "", "validation PSNR (dB)")
        plain(lower, "", "epoch", "relative loss")
        upper.tick_params(labelbottom=False)
        upper.set_title(title, fontweight="bold", pad=4)
        upper.set_ylim(*limits[0])
        for curve in of_panel:
            _line(upper, curve, curve.history["val_psnr"].to_numpy(dtype=float), looks[curve.name])
        _draw_losses(lower, of_panel, looks, limits[1])
        if crowded(of_panel):
            _crowd_legend(upper, of_panel, looks)
    return figure


def _notes(curves: Sequence[Curve]) -> list[str]:
    """Explain the lines and, where some had not converged, how many and what that means."""
    notes = [
        "Thick: validation; thin: training.",
        "Marker: best epoch (lowest validation loss); ×: diverged; small triangle: leaves the panel there.",
        "Losses relative to the first validation loss of the same training.",
    ]
    if any(curve.one_of_several for curve in curves):
        notes.append("Lines of one look: its seeds.")
    ended = [curve for curve in curves if not curve.diverged]
    if count := sum(not curve.converged for curve in ended):
        notes.append(f"Open marker: not converged, {count} of {len(ended)} trainings: {RULE}.")
    return notes


def save_each(curves: Sequence[Curve], folder: Path, data: str = "") -> None:
    """Write each training's own figure, ``<folder>/<mask>/<method>/seed<seed>.png``."""
    for curve in curves:
        stem = folder / curve.mask / curve.method / f"seed{curve.seed}"
        style.save_as(draw([curve], data), stem, "png", SCREEN_DPI)


def _crowd_styles(curves: Sequence[Curve]) -> dict[str, Look]:
    """Return grey for all but the trainings with the best and the worst PSNR at their best epoch."""
    scored = [curve for curve in curves if not curve.diverged]
    scored.sort(key=lambda curve: float(curve.history["val_psnr"].iloc[curve.best or 0]))
    looks: dict[str, Look] = {
        curve.name: {"color": "0.7", "linestyle": "-", "marker": ""} for curve in curves
    }
    for curve in scored[:1]:
        looks[curve.name] = {"color": "black", "linestyle": (0, (3, 1.2)), "marker": "v"}
    for curve in scored[-1:]:
        looks[curve.name] = {"color": "black", "linestyle": "-", "marker": "^"}
    return looks


def _crowd_legend(axes: Axes, curves: Sequence[Curve], looks: dict[str, Look]) -> None:
    apart = sorted((name for name in looks if looks[name]["marker"]), key=lambda name: looks[name]["marker"])
    handles = [
        Line2D([], [], markersize=3.5, label=f"{rank}: {name}", **looks[name])
        for rank, name in zip(("best", "worst"), apart, strict=False)
    ]
    handles.append(Line2D([], [], color="0.7", label=f"{len(curves) - len(apart)} others"))
    axes.legend(handles=handles, loc="lower right", fontsize=5.5, handlelength=2.2, labelspacing=0.2)


def _psnr_limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return a range for all panels; early epochs may leave it, so that late ones can be told apart."""
    values = np.concatenate([curve.history["val_psnr"].to_numpy(dtype=float) for curve in curves])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(np.percentile(values, 4 if len(curves) > 1 else 0)), float(values.max())
    margin = max(0.06 * (high - low), 0.1)
    return low - margin, high + margin


def _relative(curve: Curve) -> tuple[Any, Any]:
    """Return training and validation loss over the first finite validation loss."""
    train, val = (curve.history[name].to_numpy(dtype=float) for name in ("train_loss", "val_loss"))
    finite = val[np.isfinite(val)]
    unit = finite[0] if len(finite) and finite[0] > 0 else 1.0
    return train / unit, val / unit


def _loss_limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return a range for all panels, that of validation: a first epoch's training loss may leave it."""
    train, val = (np.concatenate(parts) for parts in zip(*map(_relative, curves), strict=True))
    train, val = (values[np.isfinite(values) & (values > 0)] for values in (train, val))
    if not len(val):
        return 0.1, 1.0
    low = float(min(val.min(), train.min(initial=1.0)))
    high = float(np.percentile(val, 97)) if len(curves) > 1 else float(max(val.max(), train.max(initial=1.0)))
    # At least from 0.5 to 1, so that the scale has two labels.
    return min(low, 0.5) / 1.08, max(high, 1.0) * 1.15


def _draw_losses(
    axes: Axes, curves: Sequence[Curve], styles: dict[str, Look], limits: tuple[float, float]
) -> None:
    axes.set_yscale("log")
    axes.set_ylim(*limits)
    few = limits[1] > 20 * limits[0]
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for curve in curves:
        train, val = _relative(curve)
        look = styles[curve.name]
        thin = {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 0.5}
        axes.plot(curve.history["epoch"], train, **thin)
        _mark_leaving(axes, curve.history["epoch"].to_numpy(dtype=float), train, look["color"])
        _line(axes, curve, val, look)


def _line(axes: Axes, curve: Curve, values: Any, look: Look) -> None:
    epochs = curve.history["epoch"].to_numpy()
    # Lines that stand out lie above a grey crowd.
    order = 2.2 if look["marker"] else 2.0
    axes.plot(epochs, values, color=look["color"], linestyle=look["linestyle"], linewidth=1.0, zorder=order)
    _mark_leaving(axes, epochs.astype(float), values, look["color"])
    finite = np.flatnonzero(np.isfinite(values))
    options: Look = {"color": look["color"], "linestyle": "none", "zorder": 3, "clip_on": False}
    if curve.diverged:
        if len(finite):
            axes.plot(epochs[finite[-1]], values[finite[-1]], marker="x", markersize=4.5, **options)
        return
    best = curve.best
    low, high = axes.get_ylim()
    if best is not None and low <= values[best] <= high:
        face = look["color"] if curve.converged else "white"
        options |= {"marker": look["marker"] or None, "markerfacecolor": face, "markeredgewidth": 0.7}
        axes.plot(epochs[best], values[best], markersize=3.5, **options)


def leaving(
    epochs: NDArray[np.float64], values: NDArray[np.float64], limits: tuple[float, float]
) -> list[tuple[float, bool]]:
    """Return where a curve crosses an end of a scale, and whether it is the upper one.

    One that is never within is told of at its last epoch.

    Args:
        epochs: rising, of each value.
        values: as drawn: on a logarithmic scale their logarithms, and the limits' too.
        limits: lower and upper end.
    """
    found = []
    for upper, limit in enumerate(limits):
        beyond = values > limit if upper else values < limit
        for one in np.flatnonzero(beyond[1:] != beyond[:-1]):
            (start, end), (low, high) = epochs[one : one + 2], values[one : one + 2]
            if np.isfinite((low, high)).all():
                found.append((float(start + (limit - low) / (high - low) * (end - start)), bool(upper)))
        if beyond.all():
            found.append((float(epochs[-1]), bool(upper)))
    return found


def _mark_leaving(axes: Axes, epochs: NDArray[np.float64], values: NDArray[np.float64], colour: str) -> None:
    """Mark where a line goes beyond the panel, in which it would end unseen."""
    ends, drawn = np.array(axes.get_ylim()), values
    if axes.get_yscale() == "log":
        ends, drawn = np.log(ends), np.log(np.where(values > 0, values, np.nan))
    for epoch, upper in leaving(epochs, drawn, (float(ends[0]), float(ends[1]))):
        place = axes.get_ylim()[upper]
        axes.plot(epoch, place, marker=("v", "^")[upper], markersize=3, color=colour, clip_on=False, zorder=4)


@command
def write_curves(
    runs: Annotated[tuple[Path, ...], "folders of trainings, with run.json and history.csv"] = (),
    results: Annotated[Path | None, "folder of the experiment; needs --dataset, --plan and --planned"] = None,
    dataset: Annotated[str, "with --results: whose trainings, e.g. brats"] = "",
    plan: Annotated[str, "with --results: JSON list of {mask, method, label, seed}"] = "",
    planned: PlannedRuns | None = None,
    embedded: Annotated[bool, "with --results: say that the data is embedded"] = False,
    *,
    output: Annotated[Path, "the PNG to write; a PDF goes beside it"],
    each: Annotated[Path | None, "folder to write a PNG of each training into"] = None,
) -> None:
    """Draw the curves of trainings, named one by one or by a plan."""
    exclusive({"--runs": runs or None, "--results": results}, needed=True)
    if output.suffix != ".png":
        raise WrongUse("--output must end in .png")
    data = ""
    if results is None:
        curves = curves_of_runs(runs)
    elif not dataset or not plan or planned is None:
        raise WrongUse("--results needs --dataset, --plan and --planned")
    else:
        read_runs(results, planned, "history.csv")
        curves = curves_of_plan(results, dataset, plan)
        data = data_note(dataset, "embedded") if embedded else ""
    if not curves:
        raise BadInput("--plan: lists no training; add one, or leave the training curves out")
    with style.printed():
        style.save(draw(curves, data), output.with_suffix(""))
        if each is not None:
            save_each(curves, each, data)
