"""Words that others wrote: checked where they enter, and made harmless in tables that people open.

A label is printed as it is, so what must not be in it is refused where it is read. Each writer escapes what
its format takes for its own: Markdown and LaTeX in ``workflow/tables/formats.py``, HTML by templates that
escape, CSV here, terminals by rich, and figures read no mathematics (``print.mplstyle``).
"""

import re
from string import Formatter
from typing import Any

from data_prep.errors import BadInput

LABEL, SENTENCE = 80, 500  # characters at most
# Printable by Unicode, yet nothing to see: fillers, blanks and selectors.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
# A spreadsheet takes a cell that begins so for a formula, but not a number; it skips tabs and line breaks.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|-?inf", re.ASCII | re.IGNORECASE)


def check_words(place: str, text: str, most: int = LABEL) -> None:
    """Refuse a text that is not one printable line, such as one with characters that reorder others.

    Args:
        place: where it stands, for messages.
        text: a label or, with ``SENTENCE``, a sentence.
        most: characters that it may have.

    Raises:
        BadInput: naming the first character that cannot be.
    """
    if not text.strip():
        raise BadInput(f"{place}: is empty; give a text")
    if len(text) > most:
        raise BadInput(f"{place}: has {len(text)} characters; {most} at most can be printed")
    unseen = next((c for c in text if not c.isprintable() or _UNSEEN.match(c)), None)
    if unseen is not None:
        raise BadInput(
            f"{place}: holds the character U+{ord(unseen):04X}, which cannot be printed; remove it"
        )


def check_template(place: str, template: str, names: list[str]) -> None:
    """Refuse a text with fields such as ``{alpha}`` that are not these names, or say how they are written.

    Raises:
        BadInput: naming the field.
    """
    try:
        fields = [field for _, *field in Formatter().parse(template) if field[0] is not None]
    except ValueError as error:
        raise BadInput(f"{place}: {error}; give names in braces") from error
    for name, *how in fields:
        if name not in names or any(how):
            raise BadInput(
                f"{place}: has the field {{{name}}}; known: {', '.join(f'{{{n}}}' for n in names)}"
            )


def csv_cell(value: Any) -> Any:
    """Return what stands in a CSV file for a value: a text that would be a formula gets an apostrophe."""
    if not isinstance(value, str) or not _FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def csv_text(cell: Any) -> Any:
    """Return the text that ``csv_cell`` wrote; what is no text, as it is."""
    return cell[1:] if isinstance(cell, str) and cell[:1] == "'" and _FORMULA.match(cell) else cell
