"""What tables, figures, curves and the page show: made by the plan, read by the steps.

Every step takes its definition as JSON in an option; ``python -m workflow.plan`` prints it for use by hand.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from data_prep.datasets.contract import dataset_of
from workflow.metrics.contract import STANDARD, metric_of
from workflow.provenance.runs import Planned

# What the commands take that show results.
Results = Annotated[Path, "folder of the experiment"]
Configuration = Annotated[str, "sha256 of the configuration, for the footer"]
Folder = Annotated[Path, "folder to write into"]
# What the id of a method ends with where it is trained on targets with a phase (trust.phase). No variant is
# named so: their names have no hyphen.
PHASED = "-smooth-phase"
# Where two papers print a value of the same cell: without its ending, relative to the results folder.
AGREEMENT = "claims/papers"
GROUND_TRUTH, FLOOR = "ground_truth", "zf"  # the controls


def data_note(dataset: str, source: str) -> str:
    """Say whose data it is: "embedded data, not IXI", or "IXI"."""
    name = dataset_of(dataset).label
    return f"embedded data, not {name}" if source == "embedded" else name


def names_in_captions(datasets: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what captions of the report say of datasets: dataset -> attribute of its entry -> value."""
    keys = ("label", "target", "auxiliary", "drawn_masks")
    return {name: {key: getattr(dataset_of(name), key) for key in keys} for name in datasets}


@dataclass(frozen=True, order=True)
class Run:
    """One training (or one application of an untrained method) and its evaluation."""

    dataset: str
    mask: str
    method: str
    seed: int

    @property
    def path(self) -> str:
        """Folder below ``runs/``."""
        return f"{self.dataset}/{self.mask}/{self.method}/seed{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Whose runs are shown, whatever is shown of them; ``planned``: as which the plan has them.

    ``tuned`` says how the methods' settings were chosen, if the configuration tells it.
    """

    dataset: str
    source: Literal["embedded", "published"]
    masks: tuple[str, ...]
    planned: tuple[Planned, ...]
    seeds: tuple[int, ...] = (0,)
    experiment: str = ""
    phase: Literal["none", "smooth"] = "none"
    tuned: str = ""

    def __post_init__(self) -> None:
        """Refuse a dataset that there is not."""
        dataset_of(self.dataset)

    @property
    def data_note(self) -> str:
        """Say whose data it is: "embedded data, not IXI", or "IXI"; and whether it was given a phase."""
        given = "" if self.phase == "none" else f", with a {self.phase} phase"
        return data_note(self.dataset, self.source) + given

    @property
    def embedded_note(self) -> str:
        """What figures say of their data: nothing of published scans as they are."""
        return self.data_note if self.source == "embedded" or self.phase != "none" else ""

    @property
    def mirrors(self) -> bool:
        """Whether targets are magnitudes, of which a sample of k-space gives its mirror image for free."""
        return self.phase == "none" and not dataset_of(self.dataset).measured

    @property
    def scans(self) -> str:
        """What captions say of it: "embedded semi-synthetic scans, not IXI", or "IXI, published scans"."""
        name = dataset_of(self.dataset).label
        embedded = self.source == "embedded"
        return f"embedded semi-synthetic scans, not {name}" if embedded else f"{name}, published scans"


@dataclass(frozen=True)
class Row:
    """A method, and the name that the paper or its own ``method.yaml`` gives it.

    Attributes:
        method: id.
        label: name.
        declines: masks that it does not take, with the reason.
    """

    method: str
    label: str
    declines: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Point:
    """A point of the grid of loss weights, and the method that is trained with them."""

    alpha: float
    beta: float
    method: str


@dataclass(frozen=True, kw_only=True)
class Definition(Shown):
    """One table or figure.

    Attributes:
        number: of the table or figure, by which its files are called.
        rows: methods.
        convention: of the metrics.
        numeral: of a table, as it is printed.
        paper: id of the paper that has it; "" if none has.
        kind: of a figure: how it is drawn.
        alphas: loss weights of the grid, by row; ``betas`` by column.
        grid: its points.
        metrics: columns of scores: the paper's three, then those of the configuration.
    """

    number: int | str
    rows: tuple[Row, ...]
    convention: Literal["volume", "slice"] = "volume"
    numeral: str = ""
    paper: str = ""
    kind: Literal["", "modalities", "comparison", "heat_map"] = ""
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    grid: tuple[Point, ...] = ()
    metrics: tuple[str, ...] = STANDARD

    def __post_init__(self) -> None:
        """Refuse a dataset or a metric that there is not."""
        super().__post_init__()
        for name in self.metrics:
            metric_of(name)

    @property
    def methods(self) -> tuple[str, ...]:
        """Ids of the methods whose runs are shown, each once."""
        shown = [row.method for row in self.rows] + [point.method for point in self.grid]
        return tuple(dict.fromkeys(shown))


@dataclass(frozen=True)
class Curve:
    """A training whose history is drawn."""

    mask: str
    method: str
    label: str
    seed: int


@dataclass(frozen=True)
class TrustRow:
    """A compared method.

    Attributes:
        method: id.
        label: the name that the tables print.
        auxiliary: whether it reads the auxiliary.
        trained: whether it has weights.
        without: masks under which it has no run: it declines them, or no table or figure asks for it.
    """

    method: str
    label: str
    auxiliary: bool
    trained: bool
    without: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrustDefinition(Shown):
    """What tables and figures of trust show of one dataset.

    Attributes:
        all_masks: those of the dataset; ``masks`` are those under which runs are probed.
        noise: of its k-space, as a share of each slice's mean intensity.
        rows: methods.
    """

    all_masks: tuple[str, ...]
    noise: float
    rows: tuple[TrustRow, ...]

    def rows_under(self, mask: str) -> tuple[TrustRow, ...]:
        """Return the methods that take a mask."""
        return tuple(row for row in self.rows if mask not in row.without)


@dataclass(frozen=True, kw_only=True)
class CostDefinition(TrustDefinition):
    """What the cost table of one dataset shows; ``matrix`` is the side of its slices in pixels."""

    matrix: int


@dataclass(frozen=True)
class Setting:
    """Options of an optimiser that are tried together; ``name`` tells them apart, such as ``lr0.001``."""

    name: str
    options: dict[str, Any] = field(hash=False)

    @property
    def text(self) -> str:
        """As it is printed, such as "lr 0.001, betas [0.9, 0.99]"."""
        return ", ".join(f"{name} {value}" for name, value in self.options.items())


@dataclass(frozen=True)
class Trial:
    """One training of a method with one setting, by its name."""

    run: Run
    setting: str

    @property
    def path(self) -> str:
        """Folder below ``tuning/trials/``."""
        folder, _, seed = self.run.path.rpartition("/")
        return f"{folder}/{self.setting}/{seed}"


@dataclass(frozen=True, kw_only=True)
class TuningDefinition(Shown):
    """What was tried on one dataset; ``masks`` is the one mask of it, ``planned`` are the trials.

    Attributes:
        rows: the tuned methods.
        settings: what was tried, in the order of the grid.
        epochs: of each trial.
        inheriting: variants and points of a grid that take the winner of their method.
        untuned: trained methods that are left out.
    """

    rows: tuple[Row, ...]
    settings: tuple[Setting, ...]
    epochs: int
    inheriting: tuple[str, ...] = ()
    untuned: tuple[str, ...] = ()

    @property
    def budget(self) -> str:
        """What every method is given."""
        seeds = f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        tried = "; ".join(setting.text for setting in self.settings)
        return f"{len(self.settings)} settings ({tried}), each trained for {epochs} with {seeds}"


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        file: without its ending, relative to the results folder.
        caption: file of ``workflow/report/``, without its ending.
        wildcards: what completes the caption's text, as does ``shown``.
        shown: what a table or figure of a paper shows, see ``caption_of``.
    """

    file: str
    caption: str
    wildcards: dict[str, str]
    shown: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClaimsPart:
    """A paper whose claims are judged.

    Attributes:
        paper: its id.
        name: what others call it.
        folder: of its page, relative to the results folder.
    """

    paper: str
    name: str
    folder: str


@dataclass(frozen=True)
class PageDefinition:
    """What ``index.html`` shows of an experiment.

    Attributes:
        experiment: name.
        configuration: sha256 of the configuration.
        sources: dataset -> source of its scans.
        viewer: what the viewer shows, one for each dataset; ``planned`` are the runs with examples.
        tables: section -> printed tables, without their ending, relative to the results folder.
        statistics: numbers of the tables that are tested.
        claims: the papers whose claims are judged.
        pictures: section -> pictures.
    """

    experiment: str
    configuration: str
    sources: dict[str, Literal["embedded", "published"]]
    viewer: tuple[Definition, ...]
    tables: dict[str, tuple[str, ...]]
    statistics: tuple[int | str, ...]
    claims: tuple[ClaimsPart, ...]
    pictures: dict[str, tuple[Picture, ...]]

    @property
    def files(self) -> list[str]:
        """The files that the page is made from, relative to the results folder."""
        return [
            *(f"{file}.json" for files in self.tables.values() for file in files),
            *(f"statistics/table_{number}.csv" for number in self.statistics),
            *(f"{picture.file}.png" for pictures in self.pictures.values() for picture in pictures),
            *(
                f"runs/{run}/examples.npz"
                for shown in self.viewer
                for group in shown.planned
                for run in group.runs
            ),
            *(f"{part.folder}/{name}.csv" for part in self.claims for name in ("claims", "cells")),
            *(f"{AGREEMENT}.csv" for _ in self.claims[1:2]),
        ]
