"""A table laid out: blocks of rows of cells, with caption and notes."""

from dataclasses import dataclass

MARKS = {1: "best", 2: "second"}  # by rank


@dataclass(frozen=True)
class Text:
    """A cell's text and its mark: "best", "second", "muted" (the paper's values) or ""."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Block:
    """A sub-table: groups of columns under a title each, and rows of cells that run through all groups.

    The rows of ``foot`` tell of the whole columns, so that sorting leaves them where they are.
    """

    stub: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[tuple[str, tuple[Text, ...]], ...]
    foot: tuple[tuple[str, tuple[Text, ...]], ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole table, ready to be written in any format; ``number`` or a word makes its label in LaTeX.

    Its ``findings`` are sentences that no reader may miss; they begin the caption.
    """

    number: int | str
    name: str
    title: str
    caption: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    footer: str = ""
    findings: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What stands below the table, but for notes and footer."""
        return self.findings + self.caption
