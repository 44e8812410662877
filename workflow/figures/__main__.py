"""The paper's figures 1 and 5 to 9, drawn from the example slices and the metrics of the runs.

``python -m workflow.figures --definition JSON --results results/X --output results/X/figures`` writes
``figure_<number>.pdf`` and ``.png``. Positions are computed in inches, so that panels line up and no text
is cut, whatever the number of methods.
"""

from pathlib import Path

from matplotlib.figure import Figure

from data_prep.errors import BadInput, run_command
from workflow.figures import style
from workflow.figures.loss_weights import draw_loss_weights
from workflow.figures.slices import draw_comparison, draw_modalities
from workflow.plan.arguments import show_parser
from workflow.plan.definitions import Definition
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


def main() -> None:
    """Command line entry point."""
    arguments = show_parser("workflow.figures", __doc__, Definition).parse_args()
    read_runs(arguments.results, arguments.definition.planned, "examples.npz")
    with style.printed():
        figure = draw(arguments.definition, arguments.results)
        style.save(figure, arguments.output / f"figure_{arguments.definition.number}")


if __name__ == "__main__":
    run_command(main)
