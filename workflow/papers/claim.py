"""The claims of a paper's text, the questions beyond it, and the forms of comparisons that decide them.

They stand in ``claims.yaml`` of the paper's folder; ``workflow/claims/claims.py`` makes the comparisons.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from data_prep.errors import BadInput
from data_prep.io.json_files import converted
from data_prep.io.yaml_files import read_yaml
from data_prep.words import SENTENCE, check_words
from workflow.metrics.contract import metric_of
from workflow.papers.contract import REMEDY, Paper, read_paper


@dataclass(frozen=True)
class Methods:
    """Each of some methods is better than each of others, in every column of some tables.

    Attributes:
        tables: numerals, as the paper prints them.
        better: ids of methods.
        than: ids of methods.
        unbeaten: whether it is enough to equal the best of the others.
        metrics: ids; empty for those that the paper prints.
    """

    tables: tuple[str, ...]
    better: tuple[str, ...]
    than: tuple[str, ...]
    unbeaten: bool = False
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Masks:
    """Each of some methods is better under some masks of a table than under others.

    Attributes:
        table: numeral, as the paper prints it.
        methods: ids.
        acceleration: of the better mask: the other's, whatever their patterns, or lower with one pattern.
        better: what names of the better masks begin with.
        than: what names of the others begin with.
        phase: of the targets: those of the table itself, or of the table beside it of targets with a phase.
    """

    table: str
    methods: tuple[str, ...]
    acceleration: Literal["same", "lower"]
    better: str = ""
    than: str = ""
    phase: Literal["none", "smooth"] = "none"


@dataclass(frozen=True)
class Weights:
    """The points of the heat map whose loss weights lie in two ranges are better than all others.

    Attributes:
        alpha: lowest and highest.
        beta: lowest and highest.
    """

    alpha: tuple[float, float]
    beta: tuple[float, float]


@dataclass(frozen=True)
class Claim:
    """A statement of a paper's text, in our words, or a question that its readers ask.

    Attributes:
        name: short id.
        text: what is claimed.
        judged_by: the comparisons that decide, in words.
        section: where the paper says so; empty for a question.
        silent: why the paper's own tables say nothing of it; empty if they do.
        methods: the comparisons that decide, as are ``masks`` and ``weights``; one of the three.
        masks: see ``methods``.
        weights: see ``methods``.
    """

    name: str
    text: str
    judged_by: str
    section: str = ""
    silent: str = ""
    methods: Methods | None = None
    masks: Masks | None = None
    weights: Weights | None = None

    @property
    def form(self) -> Methods | Masks | Weights:
        """The comparisons that decide."""
        form = self.methods or self.masks or self.weights
        assert form is not None, "claims_of refuses a claim without one"
        return form

    @property
    def tables(self) -> tuple[str, ...]:
        """Numerals of the tables that decide; none where a heat map does."""
        return self.methods.tables if self.methods else (self.masks.table,) if self.masks else ()

    @property
    def compared(self) -> tuple[str, ...]:
        """Ids of the methods that are compared."""
        if self.methods:
            return (*self.methods.better, *self.methods.than)
        return self.masks.methods if self.masks else ()


@cache
def claims_of(name: str) -> tuple[Claim, ...]:
    """Return a paper's claims, then the questions.

    Raises:
        BadInput: ``claims.yaml`` has another form, or names what there is not; the message names the field.
    """
    paper = read_paper(name)
    path = paper.folder / "claims.yaml"
    found = converted(tuple[Claim, ...], read_yaml(path), str(path), REMEDY)
    for index, claim in enumerate(found):
        try:
            _check(claim, paper, [other.name for other in found])
        except BadInput as error:
            raise BadInput(f"{path}: field [{index}] ({claim.name}): {error}; {REMEDY}") from error
    return found


def _check(claim: Claim, paper: Paper, names: Iterable[str]) -> None:
    if list(names).count(claim.name) > 1:
        raise BadInput("another claim has this name, too")
    for place, text in (("text", claim.text), ("judged_by", claim.judged_by)):
        check_words(place, text, SENTENCE)
    if sum(form is not None for form in (claim.methods, claim.masks, claim.weights)) != 1:
        raise BadInput("give one of methods, masks and weights, by which it is decided")
    numerals = [table.numeral for table in paper.tables.values()]
    for numeral in claim.tables:
        if numeral not in numerals:
            raise BadInput(f"there is no table {numeral!r}; paper.yaml has {', '.join(numerals)}")
    for metric in claim.methods.metrics if claim.methods else ():
        metric_of(metric)
    if claim.weights and not any(figure.sweep for figure in paper.figures.values()):
        raise BadInput("weights are compared, but paper.yaml has no heat map")
