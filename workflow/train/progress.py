"""How far a training is: counted, said, and kept in a file from which it goes on."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from data_prep.errors import BadInput, printable
from workflow.run.checkpoint import load_whole, save_atomically
from workflow.run.identity import differences, identity_hash


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
        compiled: whether torch compiled the steps.
        compile_seconds: that it took, which count nowhere else.
        recompute: whether networks computed cheap results again; None before the first step.
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
    compiled: bool = False
    compile_seconds: float = 0.0
    recompute: bool | None = None

    def begin(self, environment: dict[str, str], *, compiled: bool, recompute: bool) -> None:
        """Note where and how the steps to come are computed."""
        self.compiled, self.recompute = compiled, recompute
        if environment not in self.environments:
            self.environments.append(environment)

    def add_steps(self, slices: int, seconds: float, compiling: float) -> None:
        """Count training steps: their slices, and what they took, of which so much went to compiling."""
        self.slices += slices
        self.seconds += seconds - compiling
        self.training_seconds += seconds - compiling
        self.compile_seconds += compiling

    def add_energy(self, before: float | None, after: float | None) -> None:
        """Count the joules between two readings of the meter."""
        if before is None or after is None or self.energy_joules is None:
            # A sum with a hole would be too small.
            self.energy_joules = None
        else:
            self.energy_joules += after - before

    def close_epoch(self, row: Mapping[str, float], model: nn.Module, epochs: int) -> None:
        """Add the epoch to the history, keep its weights if they are the best, and open the next.

        Args:
            row: ``train_loss``, ``val_loss``, ``val_psnr`` and ``learning_rate`` of the epoch.
            model: as it is now.
            epochs: at which the training is finished.
        """
        # NaN is never below anything, but min() would keep it.
        earlier = [known["val_loss"] for known in self.history if math.isfinite(known["val_loss"])]
        self.history.append({"epoch": self.epoch + 1, **row, "seconds": self.seconds})
        self.epoch += 1
        self.step, self.loss_sum, self.seconds = 0, 0.0, 0.0
        if row["val_loss"] < min(earlier, default=math.inf):
            self.best_epoch, self.weights = self.epoch, _copy_of_weights(model)
        if self.epoch == epochs:
            self.status = "finished"
        # Without one finite validation loss there are no weights to choose.
        if not math.isfinite(row["train_loss"]) or (self.status == "finished" and self.best_epoch is None):
            self.status = "diverged"
            self.best_epoch, self.weights = None, _copy_of_weights(model)

    def line(self, epochs: int) -> str:
        """Say how the last epoch went, and how long the rest will take."""
        row = self.history[-1]
        mean_seconds = sum(entry["seconds"] for entry in self.history) / self.epoch
        left = mean_seconds * (epochs - self.epoch) if self.status == "running" else 0.0
        return (
            f"epoch {self.epoch}/{epochs}  train {row['train_loss']:.5g}  val {row['val_loss']:.5g}  "
            f"psnr {row['val_psnr']:.2f} dB  {row['seconds']:.2f} s/epoch  {spoken_duration(left)} left"
        )


class Refused(Exception):
    """A stored state is not taken up; the text says why."""


@dataclass(frozen=True)
class StateFile:
    """Where the state of a training lies; that of any other is refused.

    Attributes:
        path: of the file.
        identity: all that the weights depend on (``training_identity``).
    """

    path: Path
    identity: Mapping[str, Any]

    def write(self, progress: Progress, model: nn.Module, optimiser: Optimizer) -> None:
        """Keep the state; of an ended training only what evaluation needs, a quarter of the space."""
        state = {"identity": self.identity, "progress": vars(progress)}
        if progress.status == "running":
            state |= {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
        save_atomically(state, self.path)

    def read(self) -> tuple["StateFile", Progress, dict[str, Any]]:
        """Return where the training stands, and the states of a running one's ``model`` and ``optimiser``.

        First stands this file under the identity that it has: what has ended on a device that compiled its
        steps is evaluated on any.

        Raises:
            Refused: the file is not whole, or of another training.
            BadInput: a running training was compiled there and would not be here, or the other way round.
        """
        try:
            state = load_whole(self.path)
        except BadInput as error:
            raise Refused("it is not whole") from error
        theirs = state.pop("identity", None)
        if not isinstance(theirs, dict):
            raise Refused("it does not say of which training it is")
        try:
            # With equal specs, it is the device that makes this one differ.
            found = {**self.identity, **{name: theirs[name] for name in ("compiled",) if name in theirs}}
            if identity_hash(theirs) != identity_hash(found):
                raise Refused(f"it is of another training ({differences(theirs, self.identity)} changed)")
            progress = Progress(**state.pop("progress"))
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise Refused("it does not say where the training stands") from error
        if found != self.identity and progress.status == "running":
            here = "compiles nothing" if found["compiled"] else "would compile it"
            raise BadInput(
                f"{self.path}: field compiled: is {str(found['compiled']).lower()}, and this device {here} "
                "(training.compile); go on on a device like the one that it began on, or delete the file to "
                "start over"
            )
        return replace(self, identity=found), progress, state


def _copy_of_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def say(text: str) -> None:
    """Print a line of progress at once, ``printable``: logs are read while jobs run."""
    print(printable(text), file=sys.stderr, flush=True)


def spoken_duration(seconds: float) -> str:
    """Write a duration for people, such as ``3 min 05 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
