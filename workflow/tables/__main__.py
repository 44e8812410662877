"""Tables I to IV in the paper's layout, with the paper's values and the differences beside ours.

``python -m workflow.tables --definition JSON --results results/X --configuration SHA256 --output
results/X/tables`` writes ``table_<number>.csv``, ``.json``, ``.md``, ``.tex`` and ``.html``. What the
paired tests do not tell apart stands in ``statistics/`` (``workflow.statistics.significance``).
"""

from dataclasses import replace
from pathlib import Path

from data_prep.errors import BadInput, run_command
from workflow.plan.arguments import add_configuration, show_parser
from workflow.plan.definitions import Definition
from workflow.plan.paper import the_paper
from workflow.statistics.scores import read_metrics, read_statistics, realised_acceleration
from workflow.tables.comparison import lay_out, tidy_table
from workflow.tables.formats import made_from, write_page
from workflow.tables.words import convergence_notes


def write_table(definition: Definition, results: Path, configuration: str, output: Path) -> None:
    """Write one table as CSV, JSON, Markdown, LaTeX and HTML into the folder ``output``.

    Args:
        definition: the table.
        results: folder of the experiment.
        configuration: sha256 of its configuration, for the footer.
        output: folder to write into.

    Raises:
        BadInput: an input is missing or does not fit.
    """
    numerals = list(the_paper().subjects)
    if definition.numeral not in (*numerals, str(definition.number)):
        raise BadInput(
            f"--definition: numeral {definition.numeral!r} is unknown; give {', '.join(numerals)}, or the "
            "number of a table that the paper does not have"
        )
    folder = results / "masks" / definition.dataset
    accelerations = {mask: realised_acceleration(folder, mask) for mask in definition.masks}
    statistics = read_statistics(results / "statistics" / f"table_{definition.number}.csv")
    verdicts = {
        (row["mask"], row["metric"], row["method"]): row["verdict"] for row in statistics.to_dict("records")
    }
    metrics = read_metrics(results / "metrics.parquet", definition.planned)
    table = tidy_table(definition, metrics, accelerations, verdicts)
    origin = made_from(definition, results, configuration)
    unconverged = convergence_notes(definition, results)
    wide, narrow = (
        replace(page, notes=page.notes + unconverged)
        for page in (lay_out(definition, table, statistics, origin, narrow=small) for small in (False, True))
    )
    write_page(table, narrow, output / f"table_{definition.number}", wide)


def main() -> None:
    """Command line entry point."""
    parser = show_parser("workflow.tables", __doc__, Definition)
    add_configuration(parser)
    arguments = parser.parse_args()
    write_table(arguments.definition, arguments.results, arguments.configuration, arguments.output)


if __name__ == "__main__":
    run_command(main)
