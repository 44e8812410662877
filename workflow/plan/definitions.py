"""What a printed table shows: rows, masks, metrics."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from data_prep.datasets.contract import dataset_name, datasets
from data_prep.errors import BadInput
from workflow.metrics.contract import metric_of, with_standard


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
    declines: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Definition:
    """One table or figure as ``workflow.plan`` defines it."""

    number: int
    dataset: str
    source: str
    masks: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (0,)
    convention: str = "volume"
    experiment: str = ""
    numeral: str = ""
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    grid: Mapping[tuple[float, float], str] = field(default_factory=dict)
    further: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """SSIM, PSNR, NMSE and those that the configuration adds, by the names of their columns."""
        return with_standard(self.further)

    @property
    def run_paths(self) -> list[str]:
        """The runs that the rows are made from, as folders below ``runs/``."""
        return [
            f"{self.dataset}/{mask}/{row.method}/seed{seed}"
            for mask in self.masks
            for row in self.rows
            for seed in self.seeds
        ]

    @property
    def data_note(self) -> str:
        """Say whose data it is: "embedded data, not IXI", or "IXI"."""
        return data_note(self.dataset, self.source)


def data_note(dataset: str, source: str) -> str:
    """Say whose data it is: "embedded data, not IXI", or "IXI"."""
    name = dataset_name(dataset)
    return f"embedded data, not {name}" if source == "embedded" else name


def read_definition(text: str) -> Definition:
    """Parse the JSON of ``--definition``.

    Raises:
        BadInput: not JSON, or a field is missing or unknown.
    """
    try:
        raw: dict[str, Any] = json.loads(text)
        definition = Definition(
            number=int(raw["number"]),
            dataset=raw["dataset"],
            source=raw["source"],
            masks=tuple(raw["masks"]),
            rows=tuple(
                Row(row["method"], row["label"], row.get("declines", {})) for row in raw.get("rows", [])
            ),
            seeds=tuple(raw.get("seeds", [0])),
            convention=raw.get("convention", "volume"),
            experiment=raw.get("experiment", ""),
            numeral=raw.get("numeral", ""),
            alphas=tuple(raw.get("alphas", [])),
            betas=tuple(raw.get("betas", [])),
            grid={(point["alpha"], point["beta"]): point["method"] for point in raw.get("grid", [])},
            further=tuple(raw.get("metrics", [])),
        )
    except json.JSONDecodeError as error:
        raise BadInput(f"--definition: not JSON ({error}); give what workflow.plan defines") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"--definition: field {error} is missing or malformed; add it") from error
    choices = {
        "dataset": (definition.dataset, datasets()),
        "source": (definition.source, ("embedded", "published")),
        "convention": (definition.convention, ("volume", "slice")),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise BadInput(f"--definition: {name} {value!r} is unknown; use one of {', '.join(known)}")
    for name in definition.further:
        metric_of(name)
    return definition


def read_definitions(text: str) -> list[Definition]:
    """Parse the JSON list of ``--definitions``.

    Raises:
        BadInput: not a list of definitions.
    """
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"--definitions: not JSON ({error}); give what workflow.plan defines") from error
    if not isinstance(entries, list):
        raise BadInput("--definitions: not a list; give what workflow.plan defines, between brackets")
    return [read_definition(json.dumps(entry)) for entry in entries]
