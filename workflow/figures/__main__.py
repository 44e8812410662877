"""Figures of papers, drawn in one of a few ways from the example slices and the metrics of the runs.

``python -m workflow.figures --definition JSON --results results/X --output results/X/figures`` writes
``figure_<number>.pdf`` and ``.png``. Positions are computed in inches, so that panels line up and no text
is cut, whatever the number of methods.
"""

from pathlib import Path

from matplotlib.figure import Figure

from data_prep.errors import BadInput
from data_prep.io.command import command
from workflow.evaluate.examples import read_blocks
from workflow.figures import style
from workflow.figures.loss_weights import draw_loss_weights
from workflow.figures.slices import OF_SLICES
from workflow.plan.definitions import Definition, Folder, Results
from workflow.provenance.runs import read_runs


def draw(definition: Definition, results: Path) -> Figure:
    """Draw a figure as its kind says.

    Raises:
        BadInput: there is no such kind, or its inputs are missing.
    """
    if definition.kind == "heat_map":
        return draw_loss_weights(definition, results)
    if definition.kind not in OF_SLICES:
        kinds = ", ".join((*OF_SLICES, "heat_map"))
        raise BadInput(f"--definition: kind {definition.kind!r} is unknown; give {kinds}")
    blocks = [read_blocks(results, definition, mask)[0] for mask in definition.masks]
    return OF_SLICES[definition.kind](definition, blocks)


@command
def write_figure(definition: Definition, results: Results, output: Folder) -> None:
    """Draw a figure as PDF and PNG."""
    read_runs(results, definition.planned, "examples.npz")
    with style.printed():
        style.save(draw(definition, results), output / f"figure_{definition.number}")
