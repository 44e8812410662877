"""An experiment's results on one page that works offline: ``results/<experiment>/index.html``.

``python -m workflow.page --definition JSON --results results/X --output results/X/index.html`` puts tables,
figures, significance, claims and controls of a finished experiment into one file, with a viewer that flips
between methods on the same slice. The page loads nothing, neither from the network nor from beside it, and
has at most ``LIMIT`` bytes. Light: no torch and no matplotlib here.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bokeh.resources import Resources

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput, run_command
from data_prep.io.files import replacing
from data_prep.masks.registry import label
from workflow.claims.claims import NOT_IN_PAPER
from workflow.page.grids import VERDICTS, Grid, claims_grid, printed_grid, significance_grid, values_grid
from workflow.page.pictures import Figure, read_figure
from workflow.page.viewer import PLOTS, plots, viewer_data
from workflow.plan.arguments import show_parser
from workflow.plan.definitions import PageDefinition
from workflow.plan.paper import RESOURCES
from workflow.provenance.footer import SHORT
from workflow.provenance.runs import read_runs
from workflow.tables.formats import template

# Bytes of the page. At the paper's sizes it has about 25 MB, and 33 MB if slices were all noise.
LIMIT = 40_000_000


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading."""

    name: str
    title: str
    introduction: str
    grids: tuple[tuple[str, Grid, tuple[str, ...]], ...]  # name, grid, files that hold the same
    figures: tuple[Figure, ...]


# Name of each section -> title and introduction.
_SECTIONS = {
    "tables": (
        "Tables",
        "Scores of all methods, with the paper's values, where it prints any, and the differences.",
    ),
    "figures": (
        "Figures",
        "The paper's figures, drawn from this experiment. Select one to enlarge it.",
    ),
    "significance": (
        "Significance",
        "Which differences are more than chance: paired tests over test volumes, corrected for "
        "their number, with bootstrap intervals and effect sizes. Definitions: docs/statistics.md.",
    ),
    "claims": (
        "Paper against ours",
        "Each claim of the paper's text, checked by the paper's own tables and by this experiment; "
        "then every value that the paper prints beside ours. Definitions: docs/statistics.md.",
    ),
    "trust": (
        "Controls",
        "The same weights under a missing, wrong or misaligned auxiliary and other conditions. Nothing "
        "is trained again. Definitions: docs/trust.md.",
    ),
    "cost": ("Cost", "What each method costs, and PSNR against it. Definitions: docs/trust.md."),
    "training": ("Training", "Validation PSNR and losses of every training."),
}


def read_sections(definition: PageDefinition, results: Path) -> list[Section]:
    """Read all tables and figures, section by section; a section without content is left out."""
    figures = {
        name: tuple(read_figure(results, picture, definition.sources) for picture in pictures)
        for name, pictures in definition.pictures.items()
    }
    grids = {
        name: tuple((Path(file).name, printed_grid(results / f"{file}.json"), _kinds(file)) for file in files)
        for name, files in definition.tables.items()
    }
    for name, grid, _ in (entry for entries in grids.values() for entry in entries):
        if f"configuration {definition.configuration[:SHORT]};" not in grid.footer:
            raise BadInput(
                f"{results}/tables/{name}.json: this table is of another configuration than the page's; "
                "delete it and run the workflow again"
            )
    grids["significance"] = tuple(
        (
            f"significance_{number}",
            significance_grid(results / "statistics" / f"table_{number}.csv"),
            (f"statistics/table_{number}.csv", f"statistics/pairs_{number}.csv"),
        )
        for number in definition.statistics
    )
    if definition.claims:
        claims, cells = (results / "claims" / f"{name}.csv" for name in ("claims", "cells"))
        grids["claims"] = (
            ("paper_claims", claims_grid(claims), ("claims/claims.csv", "claims/claims.html")),
            ("paper_values", values_grid(cells), ("claims/cells.csv",)),
        )
    sections = [
        Section(name, title, introduction, grids.get(name, ()), figures.get(name, ()))
        for name, (title, introduction) in _SECTIONS.items()
    ]
    return [section for section in sections if section.grids or section.figures]


def _kinds(file: str) -> tuple[str, ...]:
    return tuple(f"{file}.{kind}" for kind in ("csv", "md", "tex", "html"))


def facts(definition: PageDefinition, claims: Grid | None) -> list[tuple[str, str]]:
    """Return what a reader should know first, as terms and descriptions."""
    found = []
    seeds: Sequence[int] = ()
    for shown in definition.viewer:
        dataset = dataset_of(shown.dataset)
        note = f" ({shown.embedded_note})" if shown.embedded_note else ""
        found += [
            (
                dataset.label,
                f"{dataset.target} guided by {dataset.auxiliary}{note}; "
                f"masks {', '.join(map(label, shown.masks))}; "
                f"methods {', '.join(row.label for row in shown.rows)}.",
            )
        ]
        seeds = shown.seeds
    found.append(("Training seeds", ", ".join(map(str, seeds)) or "none"))
    if claims is not None:
        answers = [row[3].text for row in claims.rows if NOT_IN_PAPER not in row[0].text]
        counts = [f"{name[2:]}: {answers.count(name)}" for name in VERDICTS if name in answers]
        found.append(("Claims of the paper here", ", ".join(counts)))
    return [
        *found,
        ("Configuration", f"sha256 {definition.configuration[:12]}… (provenance.json names everything)"),
    ]


def embedded_json(value: Any) -> str:
    """Return JSON that can stand inside a script element, whatever text it holds."""
    # In the order given: Bokeh's models refer to what stands before them.
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def render(definition: PageDefinition, results: Path) -> str:
    """Return the whole page.

    Raises:
        BadInput: an input is missing or damaged.
    """
    for shown in definition.viewer:
        read_runs(results, shown.planned, "examples.npz")
    viewer = viewer_data(results, definition.viewer)
    sections = read_sections(definition, results)
    claims = next((section.grids[0][1] for section in sections if section.name == "claims"), None)
    embedded = sorted(
        dataset_of(name).label for name, source in definition.sources.items() if source == "embedded"
    )
    third_party = RESOURCES / "third_party"
    own = RESOURCES / "index"
    return template("index/page.html.j2").render(
        experiment=definition.experiment,
        embedded=embedded,
        facts=facts(definition, claims),
        sections=sections,
        viewer=embedded_json(viewer | {"plots": plots()}) if viewer["settings"] else "",
        plots=PLOTS,
        styles=[_text(third_party / "photoswipe.css"), _text(own / "page.css")],
        scripts=[
            *Resources(mode="inline", components=["bokeh"]).js_raw,
            _text(third_party / "dataTables.min.js"),
            _text(third_party / "photoswipe.umd.min.js"),
            _text(own / "page.js"),
        ],
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def write_index(definition: PageDefinition, results: Path, output: Path) -> int:
    """Write the page and return its size in bytes.

    Raises:
        BadInput: an input is missing or damaged, or the page is too large.
    """
    missing = [file for file in definition.files if not (results / file).is_file()]
    if missing:
        raise BadInput(f"{results / missing[0]}: no such file; run the workflow to its end first")
    page = render(definition, results).encode()
    if len(page) > LIMIT:
        raise BadInput(
            f"{output}: would have {len(page) / 1e6:.1f} MB, more than {LIMIT / 1e6:g} MB; lower `examples`, "
            "or the number of masks, methods or figures, in the configuration"
        )
    with replacing(output) as temporary:
        temporary.write_bytes(page)
    return len(page)


def main() -> None:
    """Command line entry point."""
    parser = show_parser("workflow.page", __doc__, PageDefinition, output="file to write")
    arguments = parser.parse_args()
    size = write_index(arguments.definition, arguments.results, arguments.output)
    sys.stdout.write(f"{arguments.output}: {size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    run_command(main)
