"""Training curves: per mask, PSNR on validation and the losses against the epoch.

``python -m workflow.figures.training_curves --results results/X --dataset brats --plan JSON --output FILE.png`` draws
the trainings that the plan lists; ``--runs DIR... --output FILE.png`` draws any run folders. A PDF is written
beside the PNG. With ``--each FOLDER``, each training is also drawn alone, for the screen.
"""

import argparse
import textwrap
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from data_prep.errors import BadInput, run_command
from data_prep.masks.registry import all_masks, label
from workflow.figures import style
from workflow.figures.curves import Curve, curves_of_plan, curves_of_runs
from workflow.plan.definitions import data_note
from workflow.train.convergence import RULE

MOST_LINES = 8  # in one panel, before variants get a panel of their own
PANELS_ACROSS = 4
SCREEN_DPI = 150


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
    return list(dict.fromkeys(curve.line for curve in curves))


LEFT, RIGHT, TOP, GAP, BETWEEN = 0.48, 0.05, 0.2, 0.12, 0.34  # inches
PSNR_HEIGHT, LOSS_HEIGHT = 1.15, 0.85
NOTES = (
    "Thick: validation; thin: training.",
    "Marker: best epoch (lowest validation loss); ×: diverged.",
    "Losses relative to the first validation loss of the same training.",
)
SEEDS_NOTE = "Lines of one look: its seeds."
OPEN_MARKER = "Open marker: not converged"


def draw(curves: Sequence[Curve], data: str = "") -> Figure:
    """Draw small multiples: PSNR above, losses below, one column per mask.

    Args:
        curves: what to draw.
        data: whose data it is, if that is to be said.
    """
    chosen = panels(curves)
    down = ceil(len(chosen) / PANELS_ACROSS)
    across = ceil(len(chosen) / down)
    shown = [curve for _, of_panel in chosen if not crowded(of_panel) for curve in of_panel]
    names = _lines(shown)
    by_line = {name: style.line_style(index) for index, name in enumerate(names)}
    styles = {curve.name: by_line[curve.line] for curve in shown}
    width = {1: style.COLUMN_WIDTH, 2: 5.2}.get(across, style.PAGE_WIDTH)
    said = [*NOTES, SEEDS_NOTE] if any(curve.one_of_several for curve in curves) else list(NOTES)
    notes = textwrap.wrap(" ".join(said), _letters(width)) if width == style.PAGE_WIDTH else said
    notes += _convergence_notes(curves, width)
    entries = max(1, int(width / 1.4))
    footer = 0.04 + 0.1 * (len(notes) + bool(data))
    group = TOP + PSNR_HEIGHT + GAP + LOSS_HEIGHT + BETWEEN
    height = down * group + 0.14 * ceil(len(names) / entries) + footer + 0.1
    figure = style.new_figure(width, height)
    panel = (width - LEFT - RIGHT - (across - 1) * GAP) / across
    limits = _psnr_limits(curves), _loss_limits(curves)
    for index, (title, of_panel) in enumerate(chosen):
        x = (LEFT + (index % across) * (panel + GAP)) / width
        y = height - (index // across) * group - TOP - PSNR_HEIGHT
        upper = figure.add_axes((x, y / height, panel / width, PSNR_HEIGHT / height))
        y -= GAP + LOSS_HEIGHT
        lower = figure.add_axes((x, y / height, panel / width, LOSS_HEIGHT / height))
        looks = _crowd_styles(of_panel) if crowded(of_panel) else styles
        _draw_psnr(upper, of_panel, looks, limits[0])
        _draw_losses(lower, of_panel, looks, limits[1])
        if crowded(of_panel):
            _crowd_legend(upper, of_panel, looks)
        upper.set_title(title, fontweight="bold", pad=4)
        _finish(upper, lower, of_panel, outer=index % across == 0, panel=panel)
    figure.legend(
        handles=[Line2D([], [], markersize=3.5, label=name, **by_line[name]) for name in names],
        loc="lower center",
        bbox_to_anchor=(0.5, (footer + 0.06) / height),
        ncols=min(entries, max(len(names), 1)),
        handlelength=2.6,
        columnspacing=1.2,
        labelspacing=0.25,
        borderaxespad=0,
        borderpad=0,
    )
    grey: dict[str, Any] = {"fontsize": 6, "color": "0.3", "va": "baseline"}
    if data:
        figure.text((width - 0.02) / width, 0.045 / height, data, ha="right", style="italic", **grey)
    for index, note in enumerate(reversed(notes), start=bool(data)):
        figure.text(0.02 / width, (0.045 + 0.1 * index) / height, note, **grey)
    return figure


def save_each(curves: Sequence[Curve], folder: Path, data: str = "") -> None:
    """Write each training's own figure, ``<folder>/<mask>/<method>/seed<seed>.png``."""
    for curve in curves:
        figure = draw([curve], data)
        stem = folder / curve.mask / curve.method / f"seed{curve.seed}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        style.save_as(figure, stem, "png", SCREEN_DPI)


def _convergence_notes(curves: Sequence[Curve], width: float) -> list[str]:
    """Say how many trainings had not converged, and what that means; nothing where all had."""
    ended = [curve for curve in curves if not curve.diverged]
    count = sum(not curve.converged for curve in ended)
    if not count:
        return []
    text = f"{OPEN_MARKER}, {count} of {len(ended)} trainings: {RULE}."
    return textwrap.wrap(text, _letters(width))


def _letters(width: float) -> int:
    """Return how many letters of the notes' size go into a line of ``width`` inches."""
    return int(23 * width)


def _finish(upper: Axes, lower: Axes, curves: Sequence[Curve], outer: bool, panel: float) -> None:
    """Set what the two axes of a column share; only the outermost column names the scales."""
    last_epoch = max(int(curve.history["epoch"].max()) for curve in curves)
    for axes, name in ((upper, "validation PSNR (dB)"), (lower, "relative loss")):
        axes.set_xlim(0.5, last_epoch + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
        axes.grid(axis="y", color="0.9", linewidth=0.5)
        axes.set_axisbelow(True)
        axes.tick_params(labelleft=outer)
        if outer:
            axes.set_ylabel(name, va="bottom")
            axes.yaxis.set_label_coords(-0.32 / panel, 0.5)
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("epoch", labelpad=2)


def _crowd_styles(curves: Sequence[Curve]) -> dict[str, dict[str, Any]]:
    """Return grey for all but the trainings with the best and the worst PSNR at their best epoch."""
    scored = [curve for curve in curves if not curve.diverged]
    scored.sort(key=lambda curve: float(curve.history["val_psnr"].iloc[curve.best or 0]))
    looks: dict[str, dict[str, Any]] = {
        curve.name: {"color": "0.7", "linestyle": "-", "marker": ""} for curve in curves
    }
    for curve in scored[:1]:
        looks[curve.name] = {"color": "black", "linestyle": (0, (3, 1.2)), "marker": "v"}
    for curve in scored[-1:]:
        looks[curve.name] = {"color": "black", "linestyle": "-", "marker": "^"}
    return looks


def _crowd_legend(axes: Axes, curves: Sequence[Curve], looks: dict[str, dict[str, Any]]) -> None:
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
    low, high = float(np.percentile(values, 4)), float(values.max())
    margin = max(0.06 * (high - low), 0.1)
    return low - margin, high + margin


def _relative(curve: Curve) -> tuple[Any, Any]:
    """Return training and validation loss over the first finite validation loss."""
    train, val = (curve.history[name].to_numpy(dtype=float) for name in ("train_loss", "val_loss"))
    finite = val[np.isfinite(val)]
    unit = finite[0] if len(finite) and finite[0] > 0 else 1.0
    return train / unit, val / unit


def _loss_limits(curves: Sequence[Curve]) -> tuple[float, float]:
    values = np.concatenate([part for curve in curves for part in _relative(curve)])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return 0.1, 1.0
    low, high = float(values.min()), float(np.percentile(values, 99))
    # At least from 0.5 to 1, so that the scale has two labels.
    return min(low, 0.5) / 1.15, max(high, 1.0) * 1.15


def _draw_psnr(
    axes: Axes, curves: Sequence[Curve], styles: dict[str, dict[str, Any]], limits: tuple[float, float]
) -> None:
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    for curve in curves:
        _line(axes, curve, curve.history["val_psnr"].to_numpy(dtype=float), styles[curve.name])


def _draw_losses(
    axes: Axes, curves: Sequence[Curve], styles: dict[str, dict[str, Any]], limits: tuple[float, float]
) -> None:
    axes.set_yscale("log")
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for curve in curves:
        train, val = _relative(curve)
        look = styles[curve.name]
        axes.plot(
            curve.history["epoch"], train, color=look["color"], linestyle=look["linestyle"], linewidth=0.5
        )
        _line(axes, curve, val, look)


def _line(axes: Axes, curve: Curve, values: Any, look: dict[str, Any]) -> None:
    epochs = curve.history["epoch"].to_numpy()
    # Lines that stand out lie above a grey crowd.
    order = 2.2 if look["marker"] else 2.0
    axes.plot(epochs, values, color=look["color"], linestyle=look["linestyle"], linewidth=1.0, zorder=order)
    finite = np.flatnonzero(np.isfinite(values))
    options = {"color": look["color"], "linestyle": "none", "zorder": 3, "clip_on": False}
    if curve.diverged:
        if len(finite):
            axes.plot(epochs[finite[-1]], values[finite[-1]], marker="x", markersize=4.5, **options)
        return
    best = curve.best
    low, high = axes.get_ylim()
    if best is not None and low <= values[best] <= high:
        face = look["color"] if curve.converged else "white"
        axes.plot(
            epochs[best],
            values[best],
            marker=look["marker"] or None,
            markersize=3.5,
            markerfacecolor=face,
            markeredgewidth=0.7,
            **options,
        )


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.figures.training_curves", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--runs", nargs="+", type=Path, help="folders of trainings, with run.json and history.csv"
    )
    source.add_argument("--results", type=Path, help="folder of the experiment; needs --dataset and --plan")
    parser.add_argument("--dataset", help="with --results: whose trainings, e.g. brats")
    parser.add_argument("--plan", help="with --results: JSON list of [mask, method, label, seed]")
    parser.add_argument(
        "--embedded", action="store_true", help="with --results: say that the data is embedded"
    )
    parser.add_argument("--output", required=True, type=Path, help="the PNG to write; a PDF goes beside it")
    parser.add_argument("--each", type=Path, help="folder to write a PNG of each training into")
    arguments = parser.parse_args()
    data = ""
    if arguments.output.suffix != ".png":
        parser.error("--output must end in .png")
    if arguments.runs:
        curves = curves_of_runs(arguments.runs)
    elif arguments.dataset is None or arguments.plan is None:
        parser.error("--results needs --dataset and --plan")
    else:
        curves = curves_of_plan(arguments.results, arguments.dataset, arguments.plan)
        if arguments.embedded:
            data = data_note(arguments.dataset, "embedded")
    if not curves:
        raise BadInput("--plan: lists no training; add one, or leave the training curves out")
    with style.printed():
        style.save(draw(curves, data), arguments.output.with_suffix(""))
        if arguments.each is not None:
            save_each(curves, arguments.each, data)


if __name__ == "__main__":
    run_command(main)
