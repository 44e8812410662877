"""Training curves as read from history.csv."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.errors import BadInput
from data_prep.io.frames import read_csv
from data_prep.io.json_files import from_json
from workflow.plan import definitions
from workflow.provenance.record import read_run
from workflow.run.spec import finished_spec
from workflow.train.convergence import converged

_COLUMNS = dict.fromkeys(("epoch", "train_loss", "val_loss", "val_psnr"), "float64")


@dataclass(frozen=True)
class Curve(definitions.Curve):
    """The history of one training; its ``label`` is one for all trainings that differ by their seed only.

    Attributes:
        one_of_several: whether there are trainings with other seeds beside it.
        history: epoch (from 1), train_loss, val_loss (the method's own loss), val_psnr in decibels.
    """

    one_of_several: bool
    history: pd.DataFrame

    @property
    def name(self) -> str:
        """What tells it from all other trainings of its mask."""
        return f"{self.label}, seed {self.seed}" if self.one_of_several else self.label

    @property
    def diverged(self) -> bool:
        """Whether training ended in a loss that is no number."""
        last = self.history["train_loss"].iloc[-1]
        return not math.isfinite(last) or self.best is None

    @property
    def best(self) -> int | None:
        """Row of the lowest validation loss: the epoch whose weights are evaluated."""
        losses = self.history["val_loss"].to_numpy(dtype=float)
        return int(np.nanargmin(losses)) if np.isfinite(losses).any() else None

    @property
    def converged(self) -> bool:
        """Whether the validation loss had come to rest."""
        return converged(self.history["val_loss"].tolist())


def read_curve(folder: Path, shown: definitions.Curve, one_of_several: bool = False) -> Curve:
    """Read ``history.csv`` of a run folder.

    Raises:
        BadInput: the file is missing, empty or damaged, or lacks a column.
    """
    path = folder / "history.csv"
    history = read_csv(path, _COLUMNS, "name the folder of a finished training", "train this run again")
    if history.empty:
        raise BadInput(f"{path}: no epoch was finished; train this run again")
    return Curve(shown.mask, shown.method, shown.label, shown.seed, one_of_several, history)


def curves_of_runs(folders: Sequence[Path]) -> list[Curve]:
    """Read run folders, whose ``run.json`` says what they are.

    Raises:
        BadInput: a folder holds no readable run.json or no history.
    """
    curves = []
    for folder in folders:
        spec = finished_spec(read_run(folder), folder)
        name = f"{spec.method}, seed {spec.seed}"
        curves.append(read_curve(folder, definitions.Curve(spec.mask, spec.method, name, spec.seed)))
    return curves


def curves_of_plan(results: Path, dataset: str, plan: str) -> list[Curve]:
    """Read the trainings of a plan: a JSON list of ``workflow.plan.definitions.Curve``.

    Raises:
        BadInput: the plan is not such a list, or a history is missing.
    """
    entries = from_json(list[definitions.Curve], plan, "--plan", "give what workflow.plan defines")
    several = len({entry.seed for entry in entries}) > 1
    runs = [definitions.Run(dataset, entry.mask, entry.method, entry.seed).path for entry in entries]
    return [
        read_curve(results / "runs" / run, entry, several) for run, entry in zip(runs, entries, strict=True)
    ]
