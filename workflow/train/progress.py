"""How far a training is, said and kept."""

import sys
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        status: ``running``, ``finished`` or ``diverged``.
        epoch: epochs finished.
        step: steps finished of the epoch under way.
        loss_sum: training loss over the slices of these steps.
        seconds: spent on the epoch under way.
        training_seconds: spent on training steps, all epochs together.
        history: a row of history.csv per finished epoch.
        best_epoch: the epoch (counted from 1) with the lowest validation loss; None if diverged.
        weights: after that epoch; of a diverged training the last.
        environments: every version of torch and device that took part.
        restarts: how often the training was taken up again.
        refused: why states that lay in this training's place were not taken up.
        micro_batch: most slices computed at once on a device, where a whole batch did not fit its memory.
        diverged_step: step of the last epoch after which the loss was seen to be no number.
        slices: slices trained on, all epochs together.
        peak_memory_bytes: most memory that was allocated on a GPU, 0 on a CPU.
        energy_joules: of the GPUs while training; None where one does not tell.
    """

    status: str = "running"
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    training_seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    environments: list[dict[str, str]] = field(default_factory=list)
    restarts: int = 0
    refused: list[str] = field(default_factory=list)
    micro_batch: int | None = None
    diverged_step: int | None = None
    slices: int = 0
    peak_memory_bytes: int = 0
    energy_joules: float | None = 0.0


def watch_nothing(progress: Progress) -> None:
    """Stand in for what shows a training while it runs."""


def say(text: str) -> None:
    """Print a line of progress at once: logs are read while jobs run."""
    print(text, file=sys.stderr, flush=True)


def spoken_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
