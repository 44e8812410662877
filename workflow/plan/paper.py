"""What the paper's tables and figures show, and what it printed: read from ``workflow/resources/``."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from data_prep.io.json_files import converted
from data_prep.io.yaml_files import read_yaml

RESOURCES = Path(__file__).parents[1] / "resources"
PUBLISHED = RESOURCES / "published_tables.csv"
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class PaperFigure:
    """A figure.

    Attributes:
        dataset: whose runs it shows.
        masks: under which; None stands for all of the dataset.
        rows: method -> label in print; None stands for every compared method with its own label.
    """

    dataset: str
    masks: tuple[str, ...] | None = None
    rows: dict[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class PaperTable(PaperFigure):
    """A table: its number in print, and what its caption says that it compares."""

    numeral: str
    subject: str


@dataclass(frozen=True)
class Sweep:
    """The figure of the grid of loss weights: a method, its sweep by name, and the paper's choice."""

    figure: int
    method: str
    name: str
    alpha: float
    beta: float


@dataclass(frozen=True)
class Printed:
    """A metric in print: its decimals, and how far a value of ours may be off to count as reproduced."""

    digits: int
    tolerance: float


@dataclass(frozen=True)
class Paper:
    """The paper.

    Attributes:
        tables: by number.
        figures: by number.
        sweep: its figure of loss weights.
        methods: name of a row in ``published_tables.csv`` -> method id.
        labels: names of methods that no row has.
        printed: the metrics of which it prints values.
    """

    tables: dict[int, PaperTable]
    figures: dict[int, PaperFigure]
    sweep: Sweep
    methods: dict[str, str]
    labels: dict[str, str]
    printed: dict[str, Printed]

    @property
    def subjects(self) -> dict[str, str]:
        """What each table compares, by numeral."""
        return {table.numeral: table.subject for table in self.tables.values()}


def read_resource(kind: type[Kind], name: str) -> Kind:
    """Return what a YAML file of ``workflow/resources/`` holds.

    Raises:
        BadInput: the file is missing or has another form than ``kind``; the message names the field.
    """
    path = RESOURCES / name
    return converted(kind, read_yaml(path), str(path), "correct it as the head of the file says")


@cache
def the_paper() -> Paper:
    """Return what ``paper.yaml`` holds."""
    return read_resource(Paper, "paper.yaml")


def published_values(numeral: str) -> dict[tuple[str, str], dict[str, str]]:
    """Return (mask, method id) -> the paper's printed values, as text so that digits stay as printed."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == numeral]
    return {
        (f"{row['mask']}_{row['acceleration']}x", the_paper().methods[row["method"]]): {
            key: row[key] for key in ("ssim_mean", "ssim_std", "psnr_mean", "psnr_std")
        }
        for row in rows
    }
