"""Tables in their paper's layout, with the paper's values and the differences beside ours.

``python -m workflow.tables --definition JSON --results results/X --configuration SHA256 --output
results/X/tables`` writes ``table_<number>.csv``, ``.json``, ``.md``, ``.tex`` and ``.html``. What the
paired tests do not tell apart stands in ``statistics/`` (``workflow.statistics.significance``).
"""

from dataclasses import replace

from data_prep.errors import BadInput
from data_prep.io.command import command
from workflow.papers.contract import paper_of
from workflow.plan.definitions import Configuration, Definition, Folder, Results
from workflow.statistics.scores import accelerations, read_metrics, read_statistics
from workflow.tables.ablation import beaten, unconverged
from workflow.tables.comparison import lay_out, tidy_table
from workflow.tables.formats import made_from, write_page
from workflow.tables.words import convergence_notes


@command
def write_table(
    definition: Definition, results: Results, configuration: Configuration, output: Folder
) -> None:
    """Write one table as CSV, JSON, Markdown, LaTeX and HTML into the folder ``output``.

    Raises:
        BadInput: an input is missing or does not fit.
    """
    if paper := paper_of(definition.paper):
        numerals = [paper.numeral(table) for table in paper.tables.values()]
        if definition.numeral not in numerals:
            raise BadInput(
                f"--definition: numeral {definition.numeral!r} is unknown; give {', '.join(numerals)}"
            )
    folder = results / "masks" / definition.dataset
    of_masks = {mask: accelerations(folder, mask) for mask in definition.masks}
    statistics = read_statistics(results / "statistics" / f"table_{definition.number}.csv")
    verdicts = {
        (row["mask"], row["metric"], row["method"]): row["verdict"] for row in statistics.to_dict("records")
    }
    metrics = read_metrics(results / "metrics.parquet", definition.planned)
    table = tidy_table(definition, metrics, of_masks, verdicts)
    origin = made_from(definition, results, configuration)
    unfinished = unconverged(definition, results)
    notes, findings = convergence_notes(definition, unfinished), beaten(table, unfinished)
    wide, narrow = (
        replace(page, notes=page.notes + notes, findings=findings)
        for page in (lay_out(definition, table, statistics, origin, narrow=small) for small in (False, True))
    )
    write_page(table, narrow, output / f"table_{definition.number}", wide)
