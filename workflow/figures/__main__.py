"""The paper's figures 1 and 5 to 9, drawn from the example slices and the metrics of the runs.

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


def draw(definition: Definition, results: Path) -> Figure:
    """Draw a figure of the paper.

    Raises:
        BadInput: there is no such figure, or its inputs are missing.
    """
    drawings = {1: draw_modalities, 9: draw_loss_weights, **dict.fromkeys((5, 6, 7, 8), draw_comparison)}
    if definition.number not in drawings:
        raise BadInput(f"--definition: number {definition.number} is unknown; figures 1, 5, 6, 7, 8, 9 exist")
    return drawings[definition.number](definition, results)


@command
def write_figure(definition: Definition, results: Results, output: Folder) -> None:
    """Draw a figure of the paper as PDF and PNG."""
    read_runs(results, definition.planned, "examples.npz")
    with style.printed():
        style.save(draw(definition, results), output / f"figure_{definition.number}")
