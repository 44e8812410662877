"""The parts of the GPU bench, the most valuable first, and what each may take."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.gpu import correct, machine, steps, trainings
from tests.bench.gpu.place import Place, Row

EAGER = (*steps.PLAIN, "today", "kept")


@dataclass(frozen=True)
class Part:
    """Rows of one table, taken in a process of their own.

    Attributes:
        title: above the table.
        seconds: after which the process is ended; starting it takes some ten of them.
        rows: what to take, by name, in order.
    """

    title: str
    seconds: float
    rows: Callable[[Place], dict[str, Row]]


PARTS = {
    "versions": Part("Versions", 40, machine.versions_rows),
    "rates": Part("Matrix products", 40, machine.rates_rows),
    "copies": Part("Copies", 40, machine.copies_rows),
    "steps-256": Part("A step of 8 x 256 x 256", 90, steps.step_rows(("manet", "xiang"), 256, EAGER)),
    "losses": Part(f"Loss after {correct.STEPS} steps", 70, correct.losses_rows),
    "resumed": Part("Trainings of one specification", 80, trainings.resumed_rows),
    "repeated": Part("Two processes, the same training", 80, correct.repeated_rows),
    "memory": Part("Short of memory", 40, trainings.memory_rows),
    "lease": Part("Trainings beside each other on one GPU", 80, trainings.lease_rows),
    "compiled-256": Part(
        "A step of 8 x 256 x 256, compiled",
        120,
        steps.step_rows(("manet", "xiang"), 256, ("compiled", "graph")),
    ),
    "steps-eager": Part(
        "A step of 8 x 256 x 256, other networks", 50, steps.step_rows(("unet", "dudornet"), 256, ("today",))
    ),
    "steps-128": Part("A step of 8 x 128 x 128", 60, steps.step_rows(("manet", "xiang"), 128, EAGER)),
    "compiled-128": Part(
        "A step of 8 x 128 x 128, compiled",
        120,
        steps.step_rows(("manet", "xiang"), 128, ("graph", "compiled")),
    ),
}
