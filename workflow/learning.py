"""The training loop, and the state that lets it go on after any interruption with the same bits.

Nothing here depends on a generator's past: the order of an epoch, the masks and the noise of a step and its
dropout are seeded by name (``workflow.acquisition``). The state of a training is therefore its weights, its
optimiser and where it stands (``Progress``), and it may be written and read back between any two steps.
"""

import math
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from data_prep.measurement import Measurement, Truth
from data_prep.seeds import seed_for
from data_prep.slices import SliceStore
from methods.contract import ReconstructionModel
from workflow.acquisition import Acquisition, epoch_order
from workflow.execution import TERMINATED, Termination, prefer_deterministic, save_atomically
from workflow.runs import RunSpec

_OPTIMISERS: dict[str, type[Optimizer]] = {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "sgd": SGD}


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


def learning_rate(base: float, schedule: str, step: int, steps: int) -> float:
    """Return the rate of one step (of ``steps``, from 0); ``cosine`` falls from ``base`` towards zero."""
    return base if schedule == "constant" else base * (1 + math.cos(math.pi * step / steps)) / 2


def make_optimiser(parameters: Iterator[nn.Parameter], settings: Mapping[str, Any]) -> Optimizer:
    """Make the optimiser that a checked spec describes: its ``name`` and options."""
    options = {key: value for key, value in settings.items() if key != "name"}
    return _OPTIMISERS[settings["name"]](parameters, **options)


class Batch:
    """Measurement and truth on their way into the network.

    A plain class, because Fabric converts the tensors of all other containers to the network's precision,
    while k-space, noise and truth are to stay as they are.
    """

    def __init__(self, measurement: Measurement, truth: Truth) -> None:
        self.measurement = measurement
        self.truth = truth


class Learner(nn.Module):
    """A method and its own loss in one call, which is what Fabric wraps."""

    def __init__(self, model: ReconstructionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the scalar loss, and the image (batch, height, width)."""
        reconstruction = self.model(batch.measurement)
        return self.model.loss(reconstruction, batch.truth, batch.measurement), reconstruction.image


class Training:
    """One training of one model; ``fit`` brings it to its end, from wherever it stands."""

    def __init__(
        self,
        spec: RunSpec,
        training_hash: str,
        model: ReconstructionModel,
        stores: Mapping[str, SliceStore],
        acquisition: Acquisition,
        device: torch.device,
        state_file: Path,
        termination: Termination,
    ) -> None:
        """Set up a training at its beginning.

        Args:
            spec: the run.
            training_hash: what a stored state must be marked with to be taken up.
            model: with its initial weights.
            stores: the splits ``train`` and ``val``.
            acquisition: how they are undersampled.
            device: where to train.
            state_file: where the state is kept.
            termination: tells when to save and leave.
        """
        self.spec = spec
        self.training_hash = training_hash
        self.model = model
        self.stores = stores
        self.acquisition = acquisition
        self.state_file = state_file
        self.termination = termination
        self.progress = Progress()
        prefer_deterministic()
        self.fabric = Fabric(
            accelerator=device.type,
            devices=1,
            precision=spec.training.precision,  # type: ignore[arg-type]
            # One process, also inside a cluster's job that Fabric would recognise by itself.
            plugins=LightningEnvironment(),
        )
        self.learner, self.optimiser = self.fabric.setup(
            Learner(model), make_optimiser(model.parameters(), spec.optimiser)
        )
        self.environment = {
            "torch": str(torch.__version__),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        }

    def fit(self) -> None:
        """Train until finished or diverged, saving after each epoch.

        Raises:
            SystemExit: after saving, if SIGTERM came.
        """
        progress = self.progress
        if progress.status == "running" and self.environment not in progress.environments:
            progress.environments.append(self.environment)
        with self.termination.deferred():
            while progress.status == "running":
                self._train_epoch()
                self._close_epoch(*self._validate())
                self.save()
                say(self._line())

    # ---- one epoch ----------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        progress, store, spec = self.progress, self.stores["train"], self.spec
        order = epoch_order(len(store), spec.dataset, spec.base_seed, spec.seed, progress.epoch)
        batches = list(_batches(order, spec.training.batch_size))
        # Summed on the device: reading each loss would make the host wait for it.
        total = torch.tensor(progress.loss_sum, dtype=torch.float64, device=store.device)
        started = time.perf_counter()
        self.learner.train()
        for step in range(progress.step, len(batches)):
            loss = self._step(batches[step], step, len(batches))
            total += loss * len(batches[step])
            if self.termination.noticed or step + 1 == len(batches):
                progress.step = step + 1
                progress.loss_sum = total.item()
                progress.seconds += time.perf_counter() - started
                progress.training_seconds += time.perf_counter() - started
                self._leave_if_told()

    def _step(self, positions: list[int], step: int, steps_per_epoch: int) -> Tensor:
        """Take one optimiser step and return its loss."""
        spec, epoch = self.spec, self.progress.epoch
        rate = learning_rate(
            spec.optimiser["lr"],
            spec.training.schedule,
            epoch * steps_per_epoch + step,
            spec.training.epochs * steps_per_epoch,
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        batch = Batch(*self.acquisition.fresh(self.stores["train"], positions, spec.seed, epoch, step))
        # For dropout, and whatever else a method draws from torch's own generators.
        torch.manual_seed(
            seed_for(
                use="step",
                dataset=spec.dataset,
                mask=spec.mask,
                method=spec.method,
                seed=spec.seed,
                epoch=epoch,
                step=step,
            )
        )
        self.optimiser.zero_grad()
        loss, _ = self.learner(batch)
        self.fabric.backward(loss)
        if spec.training.gradient_clip is not None:
            self.fabric.clip_gradients(
                self.learner,
                self.optimiser,
                max_norm=spec.training.gradient_clip,
                error_if_nonfinite=False,
            )
        self.optimiser.step()
        detached: Tensor = loss.detach()
        return detached

    def _validate(self) -> tuple[float, float]:
        """Return the method's own loss and the PSNR in dB, means over the validation slices.

        A slice's PSNR takes its own largest value as range; slices without any signal do not count.
        """
        store = self.stores["val"]
        started = time.perf_counter()
        totals = torch.zeros(3, dtype=torch.float64, device=store.device)
        self.learner.eval()
        with torch.no_grad():
            for positions in _batches(list(range(len(store))), self.spec.training.batch_size):
                measurement, truth = self.acquisition.fixed(store, positions)
                loss, image = self.learner(Batch(measurement, truth))
                peak = truth.image.amax(dim=(-2, -1))
                error = (image - truth.image).square().mean(dim=(-2, -1))
                counted = peak > 0
                psnr = torch.where(counted, 10 * torch.log10(peak.square() / error), 0)
                totals += torch.stack((loss * len(positions), psnr.sum(), counted.sum())).double()
                self._leave_if_told()
        loss_sum, psnr_sum, slices = totals.tolist()
        self.progress.seconds += time.perf_counter() - started
        return loss_sum / len(store), psnr_sum / max(slices, 1)

    def _close_epoch(self, val_loss: float, val_psnr: float) -> None:
        """Add the epoch to the history, keep its weights if they are the best, and open the next."""
        progress, training = self.progress, self.spec.training
        train_loss = progress.loss_sum / len(self.stores["train"])
        rate = learning_rate(self.spec.optimiser["lr"], training.schedule, progress.epoch, training.epochs)
        # NaN is never below anything, but min() would keep it.
        earlier = [row["val_loss"] for row in progress.history if math.isfinite(row["val_loss"])]
        best = min(earlier, default=math.inf)
        progress.history.append(
            {
                "epoch": progress.epoch + 1,
                "train_loss": train_loss,
                "val_loss": val_loss,
                "val_psnr": val_psnr,
                "learning_rate": rate,
                "seconds": progress.seconds,
            }
        )
        progress.epoch += 1
        progress.step, progress.loss_sum, progress.seconds = 0, 0.0, 0.0
        if val_loss < best:
            progress.best_epoch, progress.weights = progress.epoch, self._copy_of_weights()
        if progress.epoch == training.epochs:
            progress.status = "finished"
        # Without one finite validation loss there are no weights to choose.
        if not math.isfinite(train_loss) or (progress.status == "finished" and progress.best_epoch is None):
            progress.status = "diverged"
            progress.best_epoch, progress.weights = None, self._copy_of_weights()

    def _copy_of_weights(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    def _line(self) -> str:
        progress, row = self.progress, self.progress.history[-1]
        done, epochs = progress.epoch, self.spec.training.epochs
        mean_seconds = sum(entry["seconds"] for entry in progress.history) / done
        left = mean_seconds * (epochs - done) if progress.status == "running" else 0.0
        return (
            f"epoch {done}/{epochs}  train {row['train_loss']:.5g}  val {row['val_loss']:.5g}  "
            f"psnr {row['val_psnr']:.2f} dB  {row['seconds']:.2f} s/epoch  {_duration(left)} left"
        )

    # ---- state --------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the state; of an ended training only what evaluation needs, a quarter of the space."""
        state = {"training_hash": self.training_hash, "progress": vars(self.progress)}
        if self.progress.status == "running":
            state |= {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        save_atomically(state, self.state_file)

    def resume(self) -> None:
        """Take up a stored state of this very training, if there is one; any other is left to be replaced."""
        if not self.state_file.is_file():
            return
        if not zipfile.is_zipfile(self.state_file):
            say(f"{self.state_file}: is not whole; training starts over")
            return
        state = torch.load(self.state_file, map_location="cpu", weights_only=True)
        if state["training_hash"] != self.training_hash:
            say(
                f"{self.state_file}: is of another training (spec, data, mask or code changed); starting over"
            )
            return
        self.progress = Progress(**state["progress"])
        if self.progress.status != "running":
            say(f"training is {self.progress.status} already; evaluating only")
            return
        self.progress.restarts += 1
        if self.environment not in self.progress.environments:
            say("begun with another torch or on another device: other bits than an uninterrupted training")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        done = f"epoch {self.progress.epoch + 1}/{self.spec.training.epochs}, step {self.progress.step}"
        say(f"resuming in {done}")

    def _leave_if_told(self) -> None:
        if self.termination.noticed:
            self.save()
            say("SIGTERM: state saved, leaving")
            sys.exit(TERMINATED)


def say(text: str) -> None:
    """Print a line of progress at once: logs are read while jobs run."""
    print(text, file=sys.stderr, flush=True)


def _batches(positions: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
