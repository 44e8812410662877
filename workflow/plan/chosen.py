"""Which tables and figures a configuration chooses: of the papers that it names, and beyond them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from data_prep.datasets.contract import dataset_of
from data_prep.errors import BadInput
from methods.registry import MethodFolder
from workflow.papers.claim import claims_of
from workflow.papers.contract import (
    COMPARISON,
    REMEDY,
    Paper,
    PaperFigure,
    PaperPart,
    PaperTable,
    paper_of,
    read_paper,
)
from workflow.plan.config import named_papers
from workflow.plan.definitions import Definition


@dataclass(frozen=True)
class Chosen:
    """A table or figure that is to be made.

    Attributes:
        key: what its files are called after ``table_`` or ``figure_``.
        part: what it shows.
        paper: that has it; None is beyond the papers.
        phase: whether its targets are given a phase that the others of its dataset have not.
    """

    key: int | str
    part: PaperPart
    paper: Paper | None = None
    phase: bool = False

    @property
    def numeral(self) -> str:
        """The number of a table in print; empty for a figure."""
        if isinstance(self.part, PaperFigure):
            return ""
        if self.paper and isinstance(self.part, PaperTable):
            return self.paper.numeral(self.part)
        beside = ", smooth phase" if self.phase else ""
        return (
            str(self.key) if isinstance(self.key, int) else f"{dataset_of(self.part.dataset).label}{beside}"
        )

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"table {self.numeral}" if self.numeral else f"figure {self.key}"


def chosen_papers(config: Mapping[str, Any], methods: Mapping[str, MethodFolder]) -> list[Paper]:
    """Return the papers that a configuration names, in its order.

    Raises:
        BadInput: a paper's files are wrong, or two papers would call their files alike.
    """
    found = [read_paper(name) for name in named_papers(config)]
    for paper in found:
        check_methods(paper, methods)
        # Read here, where a mistake becomes a sentence before anything runs.
        len(paper.values)
        twins = [other.id for other in found if other.key(1) == paper.key(1)]
        if len(twins) > 1:
            raise BadInput(
                f"config: paper: {' and '.join(twins)} call their files alike; give one another prefix in "
                "its paper.yaml"
            )
    return found


def check_methods(paper: Paper, methods: Mapping[str, MethodFolder]) -> set[str]:
    """Refuse a paper that names a variant which its method's folder does not have.

    Returns:
        The folders that it names and that are not there: what else it shows may still be shown.

    Raises:
        BadInput: naming the paper's folder and the method.
    """
    named = {*paper.methods.values(), *paper.labels, *paper.departures}
    named |= {row for _, part in paper.parts for row in part.rows or ()}
    named |= {method for claim in claims_of(paper.id) for method in claim.compared}
    for name in sorted(named):
        try:
            if (folder := methods.get(name.split("-")[0])) is not None:
                folder.method(name)
        except BadInput as error:
            raise BadInput(f"{paper.folder}: names the method {name}: {error}; {REMEDY}") from error
    return {name.split("-")[0] for name in named} - {*methods}


def chosen_figures(config: Mapping[str, Any], papers: list[Paper]) -> Iterator[Chosen]:
    """Yield the figures that a configuration chooses and has the dataset of."""
    for paper in papers:
        for number, figure in paper.figures.items():
            if _wanted(config, "figures", paper.key(number), figure.dataset):
                yield Chosen(paper.key(number), figure, paper)


def chosen_tables(
    config: Mapping[str, Any], papers: list[Paper], phased: Mapping[str, Mapping[str, str]]
) -> Iterator[Chosen]:
    """Yield the tables that a configuration chooses and has the dataset of, then those beyond its papers.

    These are of each dataset that the papers do not have, and of targets with a phase (``trust.phase``). They
    are numbered on from a paper whose tables have plain numbers, or else named by their dataset.

    Args:
        config: checked.
        papers: that it names.
        phased: dataset -> rows of its table of targets with a phase.
    """
    for paper in papers:
        for number, table in paper.tables.items():
            if _wanted(config, "tables", paper.key(number), table.dataset):
                yield Chosen(paper.key(number), table, paper)
    of_papers = {table.dataset for paper in papers for table in paper.tables.values()}
    others = [
        (name, PaperPart(subject=COMPARISON, dataset=name), False)
        for name in config["datasets"]
        if name not in of_papers and (papers or _wanted(config, "tables", name, name))
    ]
    with_phase = [
        (
            f"{name}_smooth_phase",
            PaperPart(subject=COMPARISON, dataset=name, masks=tuple(masks), rows=dict(phased[name])),
            True,
        )
        for name, masks in config["trust"].get("phase", {}).items()
    ]
    last = max((number for paper in papers if paper.plain for number in paper.tables), default=0)
    for number, (name, part, phase) in enumerate([*others, *with_phase], last + 1):
        yield Chosen(number if last else name, part, None, phase)


def _wanted(config: Mapping[str, Any], kind: str, key: int | str, dataset: str) -> bool:
    return (config[kind] == "all" or key in config[kind]) and dataset in config["datasets"]


def name_of(definition: Definition) -> str:
    """Return what a table or figure is called in print, those of other papers with their paper."""
    if definition.numeral:
        return f"Table {definition.numeral}"
    paper = paper_of(definition.paper)
    assert paper is not None, "a figure is a paper's"
    number = next(number for number in paper.figures if paper.key(number) == definition.number)
    return f"Fig. {number}" if paper.plain else f"Fig. {number} of {paper.name}"


def caption_of(definition: Definition) -> dict[str, str]:
    """Return what a caption in reStructuredText says of a table or figure.

    Returns:
        ``subject``: what it shows; ``embedded``: whose data it is not, if embedded; ``kind`` of a figure; its
        ``remarks``, which tables have inside.
    """
    dataset, paper = dataset_of(definition.dataset), paper_of(definition.paper)
    embedded, remarks = dataset.label if definition.source == "embedded" else "", ""
    if definition.numeral:
        subject = paper.table(definition.numeral).subject if paper else COMPARISON
        subject = f"{subject}, {dataset.target} guided by {dataset.auxiliary}"
        subject += "" if definition.phase == "none" else f", with a {definition.phase} phase"
    else:
        assert paper is not None, "a figure is a paper's"
        figure = paper.figure(definition.number)
        subject, remarks = figure.subject, " ".join(paper.remarks(figure, definition.methods))
    said = {"subject": f"{name_of(definition)}: {subject}", "embedded": embedded, "remarks": remarks}
    # Words of papers are no markup.
    plain = {name: re.sub(r"([\\*`|_])", r"\\\1", text) for name, text in said.items()}
    return plain | {"kind": definition.kind}
