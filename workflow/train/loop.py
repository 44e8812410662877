"""The training loop, and the state that lets it go on after any interruption with the same bits.

Nothing here depends on a generator's past: the order of an epoch, the masks and the noise of a step and its
dropout are seeded by name (``data_prep.undersample.acquisition``). The state of a training is therefore its weights, its
optimiser and where it stands (``Progress``), and it may be written and read back between any two steps.

Several processes, each with a device of its own, train together by DDP: each takes its share of every step's
slices, and the state is that of one process.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from data_prep.errors import BadInput
from data_prep.seeds import seed_for
from data_prep.undersample.acquisition import Acquisition, epoch_order
from data_prep.undersample.slices import SliceStore
from methods.contract import ReconstructionModel
from methods.optimisers import make_optimiser
from workflow.run.checkpoint import load_whole, save_atomically
from workflow.run.device import prefer_deterministic
from workflow.run.identity import differences, identity_hash
from workflow.run.spec import RunSpec, TrainingSpec
from workflow.train.batches import Batch, Learner, has_batch_norm, in_batches, shares
from workflow.train.energy import EnergyMeter
from workflow.train.progress import Progress, say, spoken_duration, watch_nothing
from workflow.train.termination import TERMINATED, Termination

# How many steps a GPU may run ahead before the host waits for it, to see whether the loss is still a number.
LOOK_EVERY = 20


def learning_rate(base: float, training: TrainingSpec, step: int, steps: int) -> float:
    """Return the rate of one step (of ``steps``, from 0).

    ``cosine`` falls from ``base`` towards zero. Over the first ``warm_up`` of the steps it rises to that.
    """
    rising = training.warm_up * steps
    if step + 1 < rising:
        base *= (step + 1) / rising
    return base if training.schedule == "constant" else base * (1 + math.cos(math.pi * step / steps)) / 2


class Training:
    """One training of one model; ``fit`` brings it to its end, from wherever it stands."""

    def __init__(
        self,
        spec: RunSpec,
        identity: Mapping[str, Any],
        model: ReconstructionModel,
        stores: Mapping[str, SliceStore],
        acquisition: Acquisition,
        device: torch.device,
        state_file: Path,
        termination: Termination,
        watch: Callable[[Progress], None] = watch_nothing,
        processes: int = 1,
        process: int = 0,
    ) -> None:
        """Set up a training at its beginning.

        Args:
            spec: the run.
            identity: all that the weights depend on (``runs.training_identity``); a stored state is taken up
                only if it is of the same.
            model: with its initial weights.
            stores: the splits ``train`` and ``val``.
            acquisition: how they are undersampled.
            device: where to train.
            state_file: where the state is kept.
            termination: tells when to save and leave.
            watch: called after each epoch.
            processes: that train together, each with a device of its own, in the default process group.
            process: which of them this is, from 0. Only the first writes.

        Raises:
            BadInput: several processes on a CPU are to train a network with batch normalisation.
        """
        self.spec = spec
        self.identity = identity
        self.stores = stores
        self.acquisition = acquisition
        self.device = device
        self.state_file = state_file
        self.termination = termination
        self.watch = watch
        self.processes = processes
        self.process = process
        self.progress = Progress()
        prefer_deterministic()
        if processes > 1 and has_batch_norm(model):
            if device.type == "cpu":
                raise BadInput(
                    f"training.devices: {processes} on a CPU is not for {spec.method}: only GPUs can join "
                    "its batch normalisation; set devices to 1, or train on GPUs"
                )
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model = model
        self.fabric = Fabric(
            accelerator=device.type,
            devices=processes,
            # Buffers are batch statistics, which are joined already.
            strategy=DDPStrategy(forward_sync_buffers=False) if processes > 1 else "auto",
            precision=spec.training.precision,
            # No other processes than ours, also inside a cluster's job that Fabric would recognise by itself.
            plugins=LightningEnvironment(),
        )
        if processes > 1:
            self.fabric.launch()
        self.learner, self.optimiser = self.fabric.setup(
            Learner(model), make_optimiser(model.parameters(), spec.optimiser)
        )
        self.look_every = LOOK_EVERY if device.type == "cuda" else 1
        self.energy = EnergyMeter(processes if device.type == "cuda" else 0)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        self.environment = {
            "torch": str(torch.__version__),
            "device": name if processes == 1 else f"{processes} x {name}",
        }

    def fit(self) -> None:
        """Train until finished or diverged, saving after each epoch.

        Raises:
            SystemExit: after saving, if SIGTERM came.
            torch.OutOfMemoryError: a part of a batch does not fit the device; see ``halve``.
        """
        progress = self.progress
        if progress.status == "running" and self.environment not in progress.environments:
            progress.environments.append(self.environment)
        self._watch()
        with self.termination.deferred():
            while progress.status == "running":
                whole = self._train_epoch()
                self._close_epoch(*(self._validate() if whole else (math.nan, math.nan)))
                self.save()
                self._watch()
                self._say(self._line())

    def halve(self) -> None:
        """Compute at most half as many slices at once from here on, and keep that with the state.

        The step stays the same: gradients of the parts are added up. But for batch normalisation, which takes
        its statistics from each part, only rounding changes.

        Raises:
            BadInput: it was one slice already.
        """
        training = self.spec.training
        whole = min(math.ceil(training.batch_size / self.processes), len(self.stores["train"]))
        most = self.progress.micro_batch or whole
        if most == 1:
            raise BadInput(
                f"training: {self.environment['device']} has too little memory for one slice of "
                f"{self.spec.method}; use a larger device, or a smaller matrix or network"
            )
        self.progress.micro_batch = most // 2
        self._say(
            f"out of memory at {most} slices at once; going on with parts of {most // 2} and the same "
            f"batches of {training.batch_size}"
        )
        self.save()

    # ---- one epoch ----------------------------------------------------------------------------

    def _train_epoch(self) -> bool:
        """Return False as soon as the loss is seen to be no number, else True at the epoch's end."""
        progress, store, spec = self.progress, self.stores["train"], self.spec
        order = epoch_order(len(store), spec.dataset, spec.base_seed, spec.seed, progress.epoch)
        batches = list(in_batches(order, spec.training.batch_size))
        # Summed on the device: reading each loss would make the host wait for it.
        total = torch.tensor(
            0.0 if self.process else progress.loss_sum, dtype=torch.float64, device=store.device
        )
        first, started, joules = progress.step, time.perf_counter(), self.energy.read()
        self.learner.train()
        for step in range(first, len(batches)):
            loss = self._step(batches[step], step, len(batches))
            total += loss * len(batches[step])
            last = step + 1 == len(batches)
            # Processes look together: one that left by itself would leave the others waiting.
            told = self.processes == 1 and self.termination.noticed
            if not (last or told or (step + 1) % self.look_every == 0):
                continue
            loss_sum, told = self._news(total)
            sound = math.isfinite(loss_sum)
            if last or told or not sound:
                progress.step = step + 1
                progress.loss_sum = loss_sum
                progress.seconds += time.perf_counter() - started
                progress.training_seconds += time.perf_counter() - started
                progress.slices += sum(len(batch) for batch in batches[first : step + 1])
                self._count_resources(joules)
            if not sound:
                progress.diverged_step = step + 1
                return False
            if told:
                self._leave()
        return True

    def _news(self, total: Tensor) -> tuple[float, bool]:
        """Return the loss so far and whether to leave, all processes together."""
        told = self.termination.noticed
        if self.processes == 1:
            return total.item(), told
        both = torch.stack((total, total.new_tensor(told)))
        torch.distributed.all_reduce(both)
        loss_sum, told_any = both.tolist()
        return loss_sum, told_any > 0

    def _count_resources(self, joules_before: float | None) -> None:
        progress = self.progress
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device)
            progress.peak_memory_bytes = max(progress.peak_memory_bytes, peak)
        joules = self.energy.read()
        if joules is None or joules_before is None or progress.energy_joules is None:
            # A sum with a hole would be too small.
            progress.energy_joules = None
        else:
            progress.energy_joules += joules - joules_before

    def _rate(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step of the current epoch."""
        training = self.spec.training
        done, steps = self.progress.epoch * steps_per_epoch, training.epochs * steps_per_epoch
        return learning_rate(self.spec.optimiser["lr"], training, done + step, steps)

    def _step(self, positions: list[int], step: int, steps_per_epoch: int) -> Tensor:
        """Take one optimiser step and return its loss, of several processes this one's share of it."""
        spec, epoch = self.spec, self.progress.epoch
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(step, steps_per_epoch)
        # Measured whole in every process: all draw the same noise, each for its own slices.
        batch = Batch(*self.acquisition.fresh(self.stores["train"], positions, spec.seed, epoch, step))
        # For dropout, and whatever else a method draws from torch's own generators.
        names: dict[str, str | int] = {
            "use": "step",
            "dataset": spec.dataset,
            "mask": spec.mask,
            "method": spec.method,
            "seed": spec.seed,
            "epoch": epoch,
            "step": step,
        }
        if self.process:
            names["process"] = self.process
        torch.manual_seed(seed_for(**names))
        self.optimiser.zero_grad()
        loss = torch.zeros((), device=self.device)
        parts = shares(len(positions), self.processes, self.process, self.progress.micro_batch)
        for number, (rows, share) in enumerate(parts, start=1):
            with self.fabric.no_backward_sync(self.learner, enabled=number < len(parts)):
                part, _ = self.learner(batch.part(rows))
                # DDP takes the mean over processes; the loss is the sum of all shares.
                self.fabric.backward(part * (share * self.processes))
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
        """Return the method's own loss and the PSNR in dB, means over the validation slices.

        A slice's PSNR takes its own largest value as range; slices without any signal do not count.
        """
        store = self.stores["val"]
        started = time.perf_counter()
        totals = torch.zeros(3, dtype=torch.float64, device=store.device)
        self.learner.eval()
        size = self.progress.micro_batch or self.spec.training.batch_size
        with torch.no_grad():
            for positions in list(in_batches(list(range(len(store))), size))[self.process :: self.processes]:
                measurement, truth = self.acquisition.fixed(store, positions)
                loss, image = self.learner(Batch(measurement, truth))
                peak = truth.image.amax(dim=(-2, -1))
                error = (image - truth.image).square().mean(dim=(-2, -1))
                counted = peak > 0
                psnr = torch.where(counted, 10 * torch.log10(peak.square() / error), 0)
                totals += torch.stack((loss * len(positions), psnr.sum(), counted.sum())).double()
                if self.processes == 1 and self.termination.noticed:
                    self._leave()
        if self.processes > 1:
            torch.distributed.all_reduce(totals)
        loss_sum, psnr_sum, slices = totals.tolist()
        self.progress.seconds += time.perf_counter() - started
        return loss_sum / len(store), psnr_sum / max(slices, 1)

    def _close_epoch(self, val_loss: float, val_psnr: float) -> None:
        """Add the epoch to the history, keep its weights if they are the best, and open the next."""
        progress, training = self.progress, self.spec.training
        slices = len(self.stores["train"])
        train_loss = progress.loss_sum / slices
        # NaN is never below anything, but min() would keep it.
        earlier = [row["val_loss"] for row in progress.history if math.isfinite(row["val_loss"])]
        best = min(earlier, default=math.inf)
        progress.history.append(
            {
                "epoch": progress.epoch + 1,
                "train_loss": train_loss,
                "val_loss": val_loss,
                "val_psnr": val_psnr,
                "learning_rate": self._rate(0, math.ceil(slices / training.batch_size)),
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
            f"psnr {row['val_psnr']:.2f} dB  {row['seconds']:.2f} s/epoch  {spoken_duration(left)} left"
        )

    # ---- state --------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the state; of an ended training only what evaluation needs, a quarter of the space."""
        if self.process:
            return
        state = {"identity": self.identity, "progress": vars(self.progress)}
        if self.progress.status == "running":
            state |= {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        save_atomically(state, self.state_file)

    def resume(self) -> None:
        """Take up a stored state of this very training, if there is one; any other is refused and replaced.

        A refusal is said, and kept in ``Progress.refused``.
        """
        refused = self._take_up() if self.state_file.is_file() else None
        if refused is not None:
            self.progress.refused.append(refused)
            self._say(f"{self.state_file}: refused, {refused}; training starts over")
        if self.processes > 1:
            # The first process may write the state next, which the others are to read first.
            self.fabric.barrier()

    def _take_up(self) -> str | None:
        """Return why the stored state is not this training's, or take it up and return None."""
        state = load_whole(self.state_file)
        if state is None:
            return "it is not whole"
        theirs = state.get("identity")
        if not isinstance(theirs, dict):
            return "it does not say of which training it is"
        if identity_hash(theirs) != identity_hash(self.identity):
            return f"it is of another training ({differences(theirs, self.identity)} changed)"
        try:
            self.progress = Progress(**state["progress"])
        except (KeyError, TypeError):
            return "it does not say where the training stands"
        if self.progress.status != "running":
            self._say(f"training is {self.progress.status} already; evaluating only")
            return None
        self.progress.restarts += 1
        if self.environment not in self.progress.environments:
            self._say(
                "begun with another torch or on another device: other bits than an uninterrupted training"
            )
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        done = f"epoch {self.progress.epoch + 1}/{self.spec.training.epochs}, step {self.progress.step}"
        self._say(f"resuming in {done}")
        return None

    def _leave(self) -> None:
        self.save()
        self._say("SIGTERM: state saved, leaving")
        sys.exit(TERMINATED)

    def _watch(self) -> None:
        if not self.process:
            self.watch(self.progress)

    def _say(self, text: str) -> None:
        if not self.process:
            say(text)
