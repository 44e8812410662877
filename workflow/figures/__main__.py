"""Figures of papers, drawn in one of a few ways from the example slices and the metrics of the runs.

``python -m workflow.figures --definition JSON --results results/X --output results/X/figures`` writes
``figure_<number>.pdf`` and ``.png``. Positions are computed in inches, so that panels line up and no text
is cut, whatever the number of methods.
"""

from pathlib import Path

from matplotlib.figure import Figure

from data_prep.errors import BadInput
from data_prep.io.command import command
from workflow.figures import style
from workflow.figures.loss_weights import draw_loss_weights
from workflow.figures.slices import draw_comparison, draw_modalities
from workflow.plan.definitions import Definition, Folder, Results
from workflow.provenance.runs import read_runs

DRAWINGS = {"modalities": draw_modalities, "comparison": draw_comparison, "heat_map": draw_loss_weights}


def draw(definition: Definition, results: Path) -> Figure:
    """Draw a figure as its kind says.

    Raises:
        BadInput: there is no such kind, or its inputs are missing.
    """
    if definition.kind not in DRAWINGS:
        raise BadInput(f"--definition: kind {definition.kind!r} is unknown; give {', '.join(DRAWINGS)}")
    return DRAWINGS[definition.kind](definition, results)


@command
def write_figure(definition: Definition, results: Results, output: Folder) -> None:
    """Draw a figure as PDF and PNG."""
    read_runs(results, definition.planned, "examples.npz")
    with style.printed():
        style.save(draw(definition, results), output / f"figure_{definition.number}")
