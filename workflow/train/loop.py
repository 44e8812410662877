"""The training loop, which goes on after any interruption with the same bits.

Nothing here depends on a generator's past: the order of an epoch, the masks and the noise of a step and its
dropout are seeded by name (``data_prep.undersample.acquisition``). The state of a training is therefore its
weights, its optimiser and where it stands (``Progress``), and it may be written and read back between any two
steps.

Several processes, each with a device of its own, train together by DDP: each takes its share of every step's
slices, and the state is that of one process.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from data_prep.errors import BadInput
from data_prep.seeds import seed_for
from data_prep.undersample.acquisition import Acquisition, epoch_order
from data_prep.undersample.slices import SliceStore
from methods.contract import ReconstructionModel
from methods.optimisers import make_optimiser
from workflow.run.device import determinism
from workflow.run.spec import RunSpec, TrainingSpec
from workflow.train.batches import Batch, Learner, in_batches, shares, summed_psnr
from workflow.train.choices import Choices, one_graph, seconds_compiling
from workflow.train.energy import EnergyMeter
from workflow.train.progress import Progress, Refused, StateFile
from workflow.train.team import Team
from workflow.train.termination import TERMINATED, Termination

# How many steps a GPU may run ahead before the host waits for it, to see whether the loss is still a number.
LOOK_EVERY = 20


def learning_rate(base: float, training: TrainingSpec, step: int, steps: int) -> float:
    """Return the rate of one step (of ``steps``, from 0).

    ``cosine`` falls from ``base`` to ``floor`` of it, at which it stays over the last ``tail`` of the steps.
    Over the first ``warm_up`` of the steps it rises to that.
    """
    rising = training.warm_up * steps
    if step + 1 < rising:
        base *= (step + 1) / rising
    if training.schedule == "constant":
        return base
    falling = (1 - training.tail) * steps
    height = (1 + math.cos(math.pi * step / falling)) / 2 if step < falling else 0.0
    return base * (training.floor + (1 - training.floor) * height)


class Training:
    """One training of one model; ``fit`` brings it to its end, from wherever it stands."""

    def __init__(
        self,
        spec: RunSpec,
        model: ReconstructionModel,
        stores: Mapping[str, SliceStore],
        acquisition: Acquisition,
        device: torch.device,
        state_file: StateFile,
        termination: Termination,
        team: Team | None = None,
        watch: Callable[[Progress], None] = lambda _: None,
        choices: Choices | None = None,
    ) -> None:
        """Set up a training at its beginning.

        Args:
            spec: the run.
            model: with its initial weights.
            stores: the splits ``train`` and ``val``.
            acquisition: how they are undersampled.
            device: where to train.
            state_file: where the state is kept.
            termination: tells when to save and leave.
            team: the processes that train together; by default this one alone.
            watch: called after each epoch.
            choices: how to compute the steps; by default without compiling.

        Raises:
            BadInput: several processes on a CPU are to train a network with batch normalisation.
        """
        self.spec = spec
        self.stores = stores
        self.acquisition = acquisition
        self.device = device
        self.state_file = state_file
        self.termination = termination
        self.watch = watch
        self.team = team = team or Team()
        self.progress = Progress()
        self.model = team.joined(model, device, spec.method)
        self.fabric = team.fabric(device, spec.training.precision)
        self.choices = choices or Choices(recompute=bool(spec.training.recompute))
        learner = Learner(self.model, self.choices, deterministic=spec.training.deterministic)
        self.learner, self.optimiser = self.fabric.setup(
            learner, make_optimiser(self.model.parameters(), spec.optimiser)
        )
        on_gpu = device.type == "cuda"
        self.look_every = LOOK_EVERY if on_gpu else 1
        self.energy = EnergyMeter(team.size if on_gpu else 0)
        self.environment = {"torch": str(torch.__version__), "device": team.named(device)}
        if on_gpu:
            # There it may change last bits.
            self.environment["recompute"] = str(self.choices.recompute).lower()

    def fit(self) -> None:
        """Train until finished or diverged, saving after each epoch.

        Raises:
            SystemExit: after saving, if SIGTERM came.
            BadInput: torch has no deterministic way for an operation, or cannot compile the method.
            RuntimeError: a part of a batch does not fit the device (``out_of_memory``); see ``halve``.
        """
        progress, training, method = self.progress, self.spec.training, self.spec.method
        compiled = self.choices.compiler is not None
        if progress.status == "running":
            progress.begin(self.environment, compiled=compiled, recompute=self.choices.recompute)
        self.watch(self.progress)
        determined = determinism(method, wanted=training.deterministic)
        compilable = one_graph(method) if compiled else nullcontext()
        with self.termination.deferred(), determined, compilable:
            while progress.status == "running":
                whole = self._train_epoch()
                val_loss, val_psnr = self._validate() if whole else (math.nan, math.nan)
                slices = len(self.stores["train"])
                row = {
                    "train_loss": progress.loss_sum / slices,
                    "val_loss": val_loss,
                    "val_psnr": val_psnr,
                    "learning_rate": self._rate(0, math.ceil(slices / training.batch_size)),
                }
                progress.close_epoch(row, self.model, training.epochs)
                self.save()
                self.watch(self.progress)
                self.team.say(progress.line(training.epochs))

    def halve(self) -> None:
        """Compute at most half as many slices at once from here on, and keep that with the state.

        The step stays the same: gradients of the parts are added up. But for batch normalisation, which takes
        its statistics from each part, only rounding changes.

        Raises:
            BadInput: it was one slice already.
        """
        training = self.spec.training
        whole = min(math.ceil(training.batch_size / self.team.size), len(self.stores["train"]))
        most = self.progress.micro_batch or whole
        if most == 1:
            raise BadInput(
                f"training: {self.environment['device']} has too little memory for one slice of "
                f"{self.spec.method}; use a larger device, or a smaller matrix or network"
            )
        self.progress.micro_batch = most // 2
        self.team.say(
            f"out of memory at {most} slices at once; going on with parts of {most // 2} and the same "
            f"batches of {training.batch_size}"
        )
        self.save()

    def save(self) -> None:
        """Keep the state."""
        if self.team.leads:
            self.state_file.write(self.progress, self.model, self.optimiser)

    def resume(self) -> None:
        """Take up a stored state of this very training, if there is one; any other is refused and replaced.

        A refusal is said, and kept in ``Progress.refused``.
        """
        if self.state_file.path.is_file():
            try:
                self._take_up(*self.state_file.read())
            except Refused as refused:
                self.progress.refused.append(str(refused))
                self.team.say(f"{self.state_file.path}: refused, {refused}; training starts over")
        # The first process may write the state next, which the others are to read first.
        self.fabric.barrier()

    def _take_up(self, file: StateFile, progress: Progress, states: Mapping[str, Any]) -> None:
        self.state_file, self.progress = file, progress
        if progress.status != "running":
            self.team.say(f"training is {progress.status} already; evaluating only")
            return
        progress.restarts += 1
        if self.environment not in progress.environments:
            self.team.say(
                "begun with another torch, device or `recompute`: other bits than an uninterrupted training"
            )
        self.model.load_state_dict(states["model"])
        self.optimiser.load_state_dict(states["optimiser"])
        self.team.say(
            f"resuming in epoch {progress.epoch + 1}/{self.spec.training.epochs}, step {progress.step}"
        )

    def _leave(self) -> None:
        self.save()
        self.team.say("SIGTERM: state saved, leaving")
        sys.exit(TERMINATED)

    # ---- one epoch ----------------------------------------------------------------------------

    def _train_epoch(self) -> bool:
        """Return False as soon as the loss is seen to be no number, else True at the epoch's end."""
        progress, store, spec = self.progress, self.stores["train"], self.spec
        order = epoch_order(len(store), spec.dataset, spec.base_seed, spec.seed, progress.epoch)
        batches = in_batches(order, spec.training.batch_size)
        # Summed on the device: reading each loss would make the host wait for it.
        total = torch.tensor(
            progress.loss_sum if self.team.leads else 0.0, dtype=torch.float64, device=store.device
        )
        first, started, joules = progress.step, time.perf_counter(), self.energy.read()
        compiling = seconds_compiling()
        self.learner.train()
        for step in range(first, len(batches)):
            loss = self._step(batches[step], step, len(batches))
            total += loss * len(batches[step])
            last = step + 1 == len(batches)
            # Processes look together: one that left by itself would leave the others waiting.
            told = self.team.alone and self.termination.noticed
            if not (last or told or (step + 1) % self.look_every == 0):
                continue
            news = self.team.sum(torch.stack((total, total.new_tensor(self.termination.noticed))))
            loss_sum, told = news.tolist()
            sound = math.isfinite(loss_sum)
            if last or told or not sound:
                progress.step = step + 1
                progress.loss_sum = loss_sum
                slices = sum(len(batch) for batch in batches[first : step + 1])
                progress.add_steps(slices, time.perf_counter() - started, seconds_compiling() - compiling)
                progress.add_energy(joules, self.energy.read())
                if self.device.type == "cuda":
                    peak = torch.cuda.max_memory_allocated(self.device)
                    progress.peak_memory_bytes = max(progress.peak_memory_bytes, peak)
            if not sound:
                progress.diverged_step = step + 1
                return False
            if told:
                self._leave()
        return True

    def _rate(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step of the current epoch."""
        training = self.spec.training
        done, steps = self.progress.epoch * steps_per_epoch, training.epochs * steps_per_epoch
        return learning_rate(self.spec.optimiser["lr"], training, done + step, steps)

    def _step(self, positions: Sequence[int], step: int, steps_per_epoch: int) -> Tensor:
        """Take one optimiser step and return its loss, of several processes this one's share of it."""
        spec, team, epoch = self.spec, self.team, self.progress.epoch
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(step, steps_per_epoch)
        # Measured whole in every process: all draw the same noise, each for its own slices.
        batch = Batch(*self.acquisition.fresh(self.stores["train"], positions, spec.seed, epoch, step))
        # For dropout, and whatever else a method draws from torch's own generators.
        names: dict[str, str | int] = {"dataset": spec.dataset, "mask": spec.mask, "method": spec.method}
        if not team.leads:
            names["process"] = team.rank
        torch.manual_seed(seed_for(use="step", **names, seed=spec.seed, epoch=epoch, step=step))
        self.optimiser.zero_grad()
        loss = torch.zeros((), device=self.device)
        parts = shares(len(positions), team.size, team.rank, self.progress.micro_batch)
        for number, (rows, share) in enumerate(parts, start=1):
            with self.fabric.no_backward_sync(self.learner, enabled=number < len(parts)):
                part, _ = self.learner(batch.part(rows))
                # DDP takes the mean over processes; the loss is the sum of all shares.
                self.fabric.backward(part * (share * team.size))
            loss += part.detach() * share
        if spec.training.gradient_clip is not None:
            self.fabric.clip_gradients(
                self.learner,
                self.optimiser,
                max_norm=spec.training.gradient_clip,
                error_if_nonfinite=False,
            )
        self.optimiser.step()
        return loss

    def _validate(self) -> tuple[float, float]:
        """Return the method's own loss and the PSNR in dB, means over the validation slices."""
        store = self.stores["val"]
        started = time.perf_counter()
        totals = torch.zeros(3, dtype=torch.float64, device=store.device)
        self.learner.eval()
        size = self.progress.micro_batch or self.spec.training.batch_size
        with torch.no_grad():
            for positions in in_batches(range(len(store)), size)[self.team.rank :: self.team.size]:
                measurement, truth = self.acquisition.fixed(store, positions)
                loss, image = self.learner(Batch(measurement, truth))
                totals += torch.stack((loss * len(positions), *summed_psnr(image, truth))).double()
                if self.team.alone and self.termination.noticed:
                    self._leave()
        loss_sum, psnr_sum, slices = self.team.sum(totals).tolist()
        self.progress.seconds += time.perf_counter() - started
        return loss_sum / len(store), psnr_sum / max(slices, 1)
