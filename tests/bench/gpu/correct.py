"""Whether a GPU computes what the oracles do, and the same bits in every process."""

import hashlib
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch

from tests.bench.common import tf32, tf32_products
from tests.bench.gpu.place import NotRun, Place, Row, Values
from tests.bench.networks import Plain
from tests.helpers.runs.oracles import ORACLES
from workflow.run.device import determinism
from workflow.train.loop import Training

STEPS = 20
# Of the loss after 20 steps, against strict float32.
LARGEST_DIFFERENCE = 1e-3
# With batch norm, with attention, with an FFT in every cascade.
REPEATED = ("manet", "mtrans", "varnet", "xiang")


def said(holds: bool) -> str:
    return "yes" if holds else "NO"


def losses(place: Place, method: str, precision: str, steps: int) -> Values:
    """Take the same steps as the plain network in strict float32, from the same weights and noise."""
    training = place.training(method, 256, precision, recompute=False)
    store, acquisition = training.stores["train"], training.acquisition
    plain = Plain(method, training.model, store, acquisition)
    positions = range(len(store))
    ours, theirs = [], []
    with determinism(method, wanted=False):
        for step in range(steps):
            ours.append(training._step(positions, step, steps))
            with tf32(False), tf32_products(False):
                theirs.append(plain.learn(*acquisition.fresh(store, positions, 0, 0, step)))
    first, last, wanted = ours[0].item(), ours[-1].item(), theirs[-1].item()
    apart = abs(last - wanted) / wanted
    return {
        "first loss": first,
        "last loss": last,
        "plain, strict float32": wanted,
        "apart": apart,
        f"within {LARGEST_DIFFERENCE:g}": said(apart <= LARGEST_DIFFERENCE),
    }


def losses_rows(place: Place) -> dict[str, Row]:
    steps = STEPS if place.on_gpu else 2
    return {
        f"{method}, {precision}": partial(losses, place, method, precision, steps)
        for precision in ("bf16-mixed", "32-true")
        for method in ORACLES
    }


def weights_after(training: Training, steps: int) -> str:
    """Return a hash of all bits of weights and batch statistics after some steps."""
    positions = range(len(training.stores["train"]))
    with determinism(training.spec.method, wanted=True):
        for step in range(steps):
            training._step(positions, step, steps)
    found = hashlib.sha256()
    for name, value in training.model.state_dict().items():
        found.update(name.encode())
        found.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def repeated(place: Place, method: str) -> Values:
    """Train twice, in two processes at the same time."""
    command = [sys.executable, "-m", "tests.bench.gpu", "weights", "--device", place.device.type]
    processes = []
    for number in range(2):
        folder = place.folder / f"{method}-{number}"
        folder.mkdir()
        words = [*command, "--method", method, "--folder", str(folder)]
        processes.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    answers = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, answers, strict=True):
        if process.returncode != 0:
            raise NotRun(f"its process ended with status {process.returncode}: {errors.strip()[-300:]}")
    one, other = (output.strip() for output, _ in answers)
    return {"steps": STEPS, "sha256 of the weights": one[:12], "equal bits": said(one == other)}


def print_weights(device: torch.device, method: str, folder: Path) -> None:
    """Be one of the two processes."""
    print(weights_after(Place(device, folder).training(method, 128, "bf16-mixed"), STEPS))


def repeated_rows(place: Place) -> dict[str, Row]:
    return {method: partial(repeated, place, method) for method in REPEATED}
