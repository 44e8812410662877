"""What tables and figures of trust show."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from data_prep.errors import BadInput
from workflow.plan.definitions import data_note

GROUND_TRUTH, FLOOR = "ground_truth", "zf"  # the controls


@dataclass(frozen=True)
class Row:
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


@dataclass(frozen=True)
class Definition:
    """What is shown of one dataset, as ``workflow.plan.probes`` defines it."""

    dataset: str
    source: str
    experiment: str
    seeds: tuple[int, ...]
    masks: tuple[str, ...]
    all_masks: tuple[str, ...]
    noise: float
    rows: tuple[Row, ...]
    matrix: int = 0
    runs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def data_note(self) -> str:
        """Say whose data it is: "embedded data, not IXI", or "IXI"."""
        return data_note(self.dataset, self.source)

    def rows_under(self, mask: str) -> tuple[Row, ...]:
        """Return the methods that take a mask."""
        return tuple(row for row in self.rows if mask not in row.without)


def read_definition(text: str) -> Definition:
    """Parse the JSON of ``--definition``.

    Raises:
        BadInput: not JSON, or a field is missing or malformed.
    """
    try:
        raw: dict[str, Any] = json.loads(text)
        return Definition(
            dataset=raw["dataset"],
            source=raw["source"],
            experiment=raw["experiment"],
            seeds=tuple(raw["seeds"]),
            masks=tuple(raw["masks"]),
            all_masks=tuple(raw["all_masks"]),
            noise=float(raw["noise"]),
            rows=tuple(Row(**row | {"without": tuple(row.get("without", ()))}) for row in raw["rows"]),
            matrix=int(raw.get("matrix", 0)),
            runs={name: tuple(paths) for name, paths in raw.get("runs", {}).items()},
        )
    except json.JSONDecodeError as error:
        raise BadInput(f"--definition: not JSON ({error}); give what workflow.plan.probes defines") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"--definition: field {error} is missing or malformed; add it") from error
