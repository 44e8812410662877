"""An experiment's results on one page that works offline: ``results/<experiment>/index.html``.

``python -m workflow.page --definition JSON --results results/X --output results/X/index.html`` puts the
answer, tables, figures, significance, claims and controls of a finished experiment into one file, with a
viewer that flips between methods on the same slice. The page loads nothing, neither from the network nor from
beside it, and has at most ``LIMIT`` bytes. Light: no torch and no matplotlib here.
"""

import json
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from bokeh.resources import Resources

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput, tell
from data_prep.io.command import command
from data_prep.io.files import replacing
from data_prep.masks.registry import label
from workflow.page.answer import (
    answer,
    answering,
    best_methods,
    better_variants,
    is_ablation,
    read_tests,
    unreachable_sentence,
)
from workflow.page.cards import cost_block, views
from workflow.page.grids import (
    Grid,
    across_grid,
    claims_grid,
    printed_grid,
    read_printed,
    significance_grid,
    values_grid,
)
from workflow.page.pictures import read_figure
from workflow.page.viewer import PLOTS, plots, viewer_data
from workflow.plan.definitions import AGREEMENT, ClaimsPart, PageDefinition, Results
from workflow.provenance.footer import SHORT
from workflow.provenance.runs import read_runs
from workflow.provenance.sources import RESOURCES
from workflow.tables.formats import template

# Bytes of the page. At the paper's sizes it has about 25 MB, and 33 MB if slices were all noise.
LIMIT = 40_000_000


# Name, grid, and the files that hold the same.
Shown = tuple[str, Grid, tuple[str, ...]]


def read_grids(
    definition: PageDefinition, results: Path, tests: Sequence[pd.DataFrame]
) -> dict[str, list[Shown]]:
    """Return section -> all that it shows of tables."""
    grids: dict[str, list[Shown]] = {
        name: [
            (
                Path(file).name,
                printed_grid(results / f"{file}.json"),
                tuple(f"{file}.{kind}" for kind in ("csv", "md", "tex", "html")),
            )
            for file in files
        ]
        for name, files in definition.tables.items()
    }
    for name, grid, _ in (entry for entries in grids.values() for entry in entries):
        if f"configuration {definition.configuration[:SHORT]};" not in grid.footer:
            raise BadInput(
                f"{results}/tables/{name}.json: this table is of another configuration than the page's; "
                "delete it and run the workflow again"
            )
    grids["significance"] = [
        (
            f"significance_{number}",
            significance_grid(table),
            tuple(f"statistics/{kind}_{number}.csv" for kind in ("table", "pairs", "masks")),
        )
        for number, table in zip(definition.statistics, tests, strict=True)
    ]
    if definition.claims:
        grids["claims"] = [
            shown for part in definition.claims for shown in _claims(definition, part, results)
        ]
    if len(definition.claims) > 1:
        across = across_grid(results / f"{AGREEMENT}.csv")
        grids["claims"].append(("across_papers", across, (f"{AGREEMENT}.csv", f"{AGREEMENT}.md")))
    return grids


def _claims(definition: PageDefinition, part: ClaimsPart, results: Path) -> list[Shown]:
    """Return what the page shows of a paper: its claims, and its values if any could be read.

    Of one paper alone it does not say whose they are.
    """
    stem, whose = ("paper", "the paper") if len(definition.claims) == 1 else (part.paper, part.name)
    claims, cells = (f"{part.folder}/{name}.csv" for name in ("claims", "cells"))
    values = values_grid(results / cells, whose)
    return [
        (f"{stem}_claims", claims_grid(results / claims, whose), (claims, f"{part.folder}/claims.html")),
        *([(f"{stem}_values", values, (cells,))] if values.rows else []),
    ]


def facts(definition: PageDefinition) -> list[tuple[str, str]]:
    """Return what was measured, as terms and descriptions."""
    found = []
    for shown in definition.viewer:
        dataset = dataset_of(shown.dataset)
        note = f" ({shown.embedded_note})" if shown.embedded_note else ""
        masks, methods = ", ".join(map(label, shown.masks)), ", ".join(row.label for row in shown.rows)
        guided = f"{dataset.target} guided by {dataset.auxiliary}{note}"
        found.append((dataset.label, f"{guided}; masks {masks}; methods {methods}."))
    if definition.viewer:
        found.append(("Trainings", _trainings(definition.viewer[-1].seeds)))
    origin = f"sha256 {definition.configuration[:12]}… (provenance.json names everything)"
    return [*found, ("Configuration", origin)]


def _trainings(seeds: Sequence[int]) -> str:
    # Variants are trained for their own tables alone.
    where = "under each mask that a table or figure shows of it"
    if len(seeds) == 1:
        return f"each method once {where} (the seed of its random numbers is {seeds[0]})."
    return f"each method {len(seeds)} times {where} (seeds {', '.join(map(str, seeds))})."


def scores(
    definition: PageDefinition, results: Path, grids: Sequence[Grid], tests: Sequence[pd.DataFrame]
) -> list[dict[str, Any]]:
    """Return the means of tables in blocks; beside the first of a dataset what its methods cost, if known."""
    costs = {
        file.partition("cost_")[2]: cost_block(read_printed(results / f"{file}.json"))
        for file in definition.tables.get("cost", ())
    }
    return [
        {
            "name": f"Table {table['table'].iloc[0]}",
            "title": grid.title,
            "findings": grid.findings,
            "views": views(table),
            "cost": None if is_ablation(table) else costs.pop(table["dataset"].iloc[0], None),
        }
        for grid, table in zip(grids, tests, strict=True)
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
    tests = [read_tests(results / "statistics" / f"table_{number}.csv") for number in definition.statistics]
    asked = answering(tests)
    viewer = viewer_data(results, definition.viewer, best_methods(asked))
    grids = read_grids(definition, results, tests)
    figures = {
        name: [read_figure(results, picture, definition.sources) for picture in pictures]
        for name, pictures in definition.pictures.items()
    }
    read = {
        name: (RESOURCES / name).read_text(encoding="utf-8")
        for name in (
            *("third_party/photoswipe.css", "index/page.css", "third_party/dataTables.min.js"),
            *("third_party/photoswipe.umd.min.js", "index/page.js", "index/viewer.js"),
        )
    }
    scored = scores(definition, results, [grid for _, grid, _ in grids["tables"]], tests)
    answers = [any(table is one for one in asked) for table in tests]
    variants = [not one for one in answers]
    names = {row.method: row.label for shown in definition.viewer for row in shown.rows}
    return template("index/page.html.j2").render(
        experiment=definition.experiment,
        embedded=sorted(
            dataset_of(name).label for name, source in definition.sources.items() if source == "embedded"
        ),
        datasets=len(definition.sources),
        answer=answer(asked),
        scores=[*compress(scored, answers)],
        variants=[*compress(scored, variants)],
        findings=[
            *((of["name"], " ".join(of["findings"])) for of in scored if of["findings"]),
            *better_variants(asked, compress(tests, variants), names),
        ],
        units=tests[0]["convention"].iloc[0] if tests else "",
        auxiliaries=list(dict.fromkeys(dataset_of(shown.dataset).auxiliary for shown in definition.viewer)),
        unsure=unreachable_sentence(tests),
        facts=facts(definition),
        grids=grids,
        figures=figures,
        viewer=embedded_json(viewer | {"plots": plots()}) if viewer["settings"] else "",
        plots=PLOTS,
        styles=[text for name, text in read.items() if name.endswith(".css")],
        scripts=[
            *Resources(mode="inline", components=["bokeh"]).js_raw,
            *(text for name, text in read.items() if name.endswith(".js")),
        ],
    )


@command
def write_index(
    definition: PageDefinition, results: Results, output: Annotated[Path, "file to write"]
) -> None:
    """Write the page.

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
    tell(f"{output}: {len(page) / 1e6:.1f} MB")
