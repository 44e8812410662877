"""What an experiment costs: device hours in all, per table and figure, and on several devices.

``python -m workflow.estimate my.yaml`` is for people; this module's command writes the tables of the rule
``paper_cost``. A training costs epochs x (training slices x seconds of a training slice + validation slices x
seconds of a reconstruction), then test slices x seconds of a reconstruction. Seconds grow with the number of
pixels, and are those of the measurement whose parameters are the configuration's, or the fewest others. A
variant of a method without a measurement of its own is taken to cost what the method costs; of a method
without any, the hours are not known, and sums say "at least".
"""

import heapq
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from data_prep.errors import BadInput
from data_prep.io.command import command
from data_prep.io.files import write_rows, write_text
from data_prep.io.frames import read_csv
from data_prep.io.json_files import from_json
from methods.registry import discover
from workflow.plan.chosen import name_of
from workflow.plan.config import check_config, of_dataset
from workflow.plan.definitions import PHASED, Run
from workflow.plan.plan import Plan
from workflow.plan.room import split_slices
from workflow.run.spec import RunSpec
from workflow.tables.formats import markdown as escaped

TEXTS, NUMBERS = ("device", "precision", "method"), ("side", "training", "reconstruction")
DEVICES = (1, 2, 8)
ON_DEVICES = [f"hours_on_{count}" for count in DEVICES]
_AGAIN = "write it with workflow.estimate --measure --to FOLDER"


@dataclass(frozen=True)
class Steps:
    """Measured seconds per slice of one method on one device.

    Attributes:
        side: of the square slices.
        training: seconds that a slice takes in a training step.
        reconstruction: seconds that its reconstruction takes.
        memory: bytes that a training step took at most, of the device if that is a GPU; 0 if not known.
        other: the parameters in which the measured network differs from the configured one, with both values.
    """

    side: int
    training: float
    reconstruction: float
    memory: float = 0.0
    other: tuple[str, ...] = ()

    def at(self, side: int) -> "Steps":
        """Return the seconds at another side: convolutions take time in proportion to the pixels."""
        growth = (side / self.side) ** 2
        grown = {name: growth * getattr(self, name) for name in ("training", "reconstruction", "memory")}
        return replace(self, side=side, **grown)


@dataclass(frozen=True)
class Row:
    """A line of a file of measurements.

    Attributes:
        method: the run's method id.
        batch: slices of a step.
        parameters: those that the network was built with; the method's own where they are not told.
        steps: what was measured.
    """

    method: str
    batch: int
    parameters: Mapping[str, Any]
    steps: Steps


def training_seconds(steps: Steps, slices: Mapping[str, int], epochs: int) -> float:
    """Return the seconds of one training with its validation after each epoch and its evaluation.

    Args:
        steps: seconds per slice.
        slices: number of them in each split.
        epochs: of the training.
    """
    epoch = slices["train"] * steps.training + slices["val"] * steps.reconstruction
    return epochs * epoch + slices["test"] * steps.reconstruction


def makespan(seconds: Iterable[float], devices: int) -> float:
    """Return when the last of whole trainings ends if each free device takes the longest one left."""
    ends = [0.0] * devices
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)


def read_steps(files: Iterable[Path]) -> dict[str, list[Row]]:
    """Read measurements: device -> its lines, in the order of the files.

    Raises:
        BadInput: a file is missing, has other columns, or holds no number above 0 where one must stand.
    """
    found: dict[str, list[Row]] = {}
    for file in files:
        table = read_csv(file, dict.fromkeys((*TEXTS, *NUMBERS), "string"), _AGAIN, _AGAIN)
        # Files of the bench tell neither memory nor parameters.
        given = {name: table.get(name, absent) for name, absent in (("memory", 0), ("batch", 1))}
        told = table.assign(**given)[[*NUMBERS, *given]]
        # What is left empty of memory and batch is not known; any other word is a mistake.
        numbers = told.mask(told == "", 0).apply(pd.to_numeric, errors="coerce").astype("float64")
        usable = np.isfinite(numbers).all(axis=1) & (numbers[[*NUMBERS]] > 0).all(axis=1)
        usable &= (numbers["memory"] >= 0) & (numbers["batch"] >= 0)
        usable &= (numbers[["side", "batch"]] % 1 == 0).all(axis=1)
        broken = table.index[~usable]
        if len(broken):
            raise BadInput(
                f"{file}, line {broken[0] + 2}: {', '.join(NUMBERS)} must be numbers above 0, side and batch "
                f"whole ones, and memory from 0; {_AGAIN}"
            )
        lines = zip(table.to_dict("records"), numbers.to_dict("records"), strict=True)
        for number, (row, measured) in enumerate(lines, 2):
            values = measured["training"], measured["reconstruction"], measured["memory"]
            parameters = _parameters(str(row.get("parameters", "")), f"{file}, line {number}")
            steps, batch = Steps(int(measured["side"]), *values), max(1, int(measured["batch"]))
            of_device = found.setdefault(f"{row['device']}, {row['precision']}", [])
            of_device.append(Row(row["method"], batch, parameters, steps))
    if not found:
        raise BadInput(f"--steps: no measurement in these files; {_AGAIN}")
    return found


def _parameters(text: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadInput(f'{place}: parameters must be a JSON object such as {{"width":16}} or empty; {_AGAIN}')
    return found


def chosen_steps(plan: Plan, measured: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, Steps]]:
    """Return device -> seconds by "method on dataset", of the devices that suit an experiment best.

    Those are the ones with the most methods measured with the very parameters of the configuration, then with
    the most methods, then with the fewest other parameters; the first device where none knows any method.
    """
    # A dataset may have batches of its own.
    runs = {f"{run.method} on {run.dataset}": run for run in plan.runs if plan.trained(run.method)}
    found: dict[str, dict[str, Steps]] = {}
    for device, rows in measured.items():
        nearest = {name: _nearest(plan, rows, plan.spec(run)) for name, run in runs.items()}
        found[device] = {name: steps for name, steps in nearest.items() if steps}
    ranks = {device: _rank(steps) for device, steps in found.items()}
    best = max(ranks.values())
    chosen = {device: steps for device, steps in found.items() if ranks[device] == best}
    return chosen if any(chosen.values()) else dict(list(chosen.items())[:1])


def _rank(steps: Mapping[str, Steps]) -> tuple[int, int, int]:
    others = [len(one.other) for one in steps.values()]
    return others.count(0), len(others), -sum(others)


def _nearest(plan: Plan, rows: Sequence[Row], spec: RunSpec) -> Steps | None:
    """Return the measurement with the fewest other parameters; of such at the nearest batch, the last."""
    batch = math.ceil(spec.training.batch_size / spec.training.devices)
    known = [(other, row) for row in rows if (other := _other_parameters(plan, row, spec)) is not None]
    if not known:
        return None

    def distance(one: tuple[dict[str, Any], Row]) -> tuple[int, float]:
        return len(one[0]), abs(math.log(one[1].batch / batch))

    nearest: tuple[dict[str, Any], Row] = min(reversed(known), key=distance)
    other, row = nearest
    # What defines a variant or sweep point is not told: those take what their method takes.
    told = {name: value for name, value in other.items() if name not in plan.method(spec.method).changes}
    differing = tuple(f"{name} {value}, not {spec.parameters[name]}" for name, value in told.items())
    return replace(row.steps, other=differing)


def _other_parameters(plan: Plan, row: Row, spec: RunSpec) -> dict[str, Any] | None:
    """Return those in which a measured network is not a run's; None if it is no network of that method."""
    folder, own = plan.methods[spec.folder], row.method.removesuffix(PHASED)
    if row.parameters and own.split("-")[0] == spec.folder:
        built = {**folder.default.parameters, **row.parameters}
    elif own in {spec.folder, spec.method.removesuffix(PHASED)}:
        built = {**folder.method(own).parameters}
    else:
        return None
    return {name: built[name] for name, value in spec.parameters.items() if built[name] != value}


def run_seconds(
    plan: Plan, steps: Mapping[str, Steps], *, slices: int = 1, sides: int = 1
) -> dict[Run, float]:
    """Return the seconds of every training of a plan; those without a measurement are left out.

    Args:
        plan: the experiment.
        steps: measured seconds by method.
        slices: how many times the configured slices.
        sides: how many times the configured sides.
    """
    seconds = {}
    for run in plan.runs:
        measured = steps_of(plan, steps, run)
        if not plan.trained(run.method) or measured is None:
            continue
        dataset = plan.config["datasets"][run.dataset]
        epochs = of_dataset(plan.config["training"]["epochs"], run.dataset)
        here = measured.at(sides * dataset["matrix"])
        seconds[run] = slices * training_seconds(here, split_slices(dataset), epochs)
    return seconds


def steps_of(plan: Plan, steps: Mapping[str, Steps], run: Run) -> Steps | None:
    """Return what was measured of a run's method, or of the method that it is a variant of."""
    keys = f"{run.method} on {run.dataset}", run.method, plan.method(run.method).folder
    return next((steps[key] for key in keys if key in steps), None)


def unmeasured(plan: Plan, steps: Mapping[str, Steps], runs: Iterable[Run]) -> list[str]:
    """Return the trained methods among some runs whose cost is not known, in order."""
    trained = (run for run in runs if plan.trained(run.method))
    return sorted({run.method for run in trained if steps_of(plan, steps, run) is None})


def measured_otherwise(plan: Plan, steps: Mapping[str, Steps]) -> str:
    """Return the methods that were measured with other parameters than the configuration's, with these."""
    found = [(plan.method(run.method).folder, steps_of(plan, steps, run)) for run in plan.runs]
    others = {folder: one.other for folder, one in found if one and one.other}
    return ", ".join(f"{method} ({'; '.join(other)})" for method, other in sorted(others.items()))


def parts(plan: Plan) -> dict[str, set[Run]]:
    """Return the trainings that each table and figure needs; several may need the same one."""
    shown = [*plan.table_definitions.values(), *plan.figure_definitions.values()]
    needed = {name_of(d): {run for run in plan.runs_of(d) if plan.trained(run.method)} for d in shown}
    return {name: runs for name, runs in needed.items() if runs}


def growth(plan: Plan, steps: Mapping[str, Steps]) -> dict[str, float]:
    """Return by which factor the hours of all trainings grow when one thing changes."""
    seconds = run_seconds(plan, steps)
    total = sum(seconds.values())
    if not total:
        return {}
    factors = {
        "twice the slices": sum(run_seconds(plan, steps, slices=2).values()) / total,
        "twice the sides": sum(run_seconds(plan, steps, sides=2).values()) / total,
        "one more seed": 1 + 1 / len(plan.config["seeds"]),
    }
    for dataset in plan.config["datasets"]:
        own = {run: value for run, value in seconds.items() if run.dataset == dataset}
        if own:
            compared = [value for run, value in own.items() if run.method in plan.compared]
            masks = {run.mask for run in own}
            factors[f"one more mask of {dataset} in its comparison"] = 1 + sum(compared) / len(masks) / total
    return factors


def hours_rows(plan: Plan, measured: Mapping[str, Mapping[str, Steps]]) -> list[dict[str, Any]]:
    """Return a row for each part of the experiment and each measured device, the whole one last."""
    rows = []
    for device, steps in measured.items():
        seconds = run_seconds(plan, steps)
        whole = {run for run in plan.runs if plan.trained(run.method)}
        for name, runs in {**parts(plan), "all": whole}.items():
            # In one order: sums of fractions depend on it.
            own = [seconds[run] for run in sorted(runs) if run in seconds]
            hours = {on: makespan(own, n) / 3600 for on, n in zip(ON_DEVICES, DEVICES, strict=True)}
            row = {"part": name, "device": device, "trainings": len(runs), "hours": sum(own) / 3600}
            rows.append(row | hours | {"unmeasured": " ".join(unmeasured(plan, steps, runs))})
    return rows


def markdown(
    plan: Plan, measured: Mapping[str, Mapping[str, Steps]], rows: Sequence[Mapping[str, Any]]
) -> str:
    """Return cost.md: hours by part and device, and how they grow."""
    headers = ["part", "trainings", "device hours", *(f"on {count}" for count in DEVICES)]
    parts = [f"# What the trainings of `{plan.config['experiment']}` cost", ""]
    for device, steps in measured.items():
        sides = sorted({step.side for step in steps.values()})
        hours = [
            [row["part"], row["trainings"], *(hours_text(row, name) for name in ("hours", *ON_DEVICES))]
            for row in rows
            if row["device"] == device
        ]
        factors = [[name, f"{factor:.3g}"] for name, factor in growth(plan, steps).items()]
        parts += [
            f"## {escaped(device)}",
            "",
            f"Measured at {', '.join(f'{side}x{side}' for side in sides)}; other sides by their pixels.",
            "",
            tabulate(hours, headers, tablefmt="pipe", disable_numparse=True),
            "",
            "A training that several parts need is counted in each of them and once in all.",
            "",
            *_missing(unmeasured(plan, steps, plan.runs)),
            *_otherwise(measured_otherwise(plan, steps)),
            tabulate(factors, ["change", "hours times"], tablefmt="pipe", disable_numparse=True),
            "",
        ]
    return "\n".join(parts)


def _missing(methods: Sequence[str]) -> list[str]:
    if not methods:
        return []
    return [f"Not measured, and so not counted: {', '.join(methods)}.", ""]


def _otherwise(methods: str) -> list[str]:
    return [f"Measured with other parameters: {escaped(methods)}.", ""] if methods else []


def hours_text(row: Mapping[str, Any], name: str = "hours") -> str:
    """Write the hours of a row of ``hours_rows``; "at least" where a training of it was not measured."""
    value = row[name]
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"at least {text}" if row["unmeasured"] else text


def write_costs(output: Path, plan: Plan, measured: Mapping[str, Mapping[str, Steps]]) -> None:
    """Write ``cost.csv`` and ``cost.md`` into a folder."""
    rows = hours_rows(plan, measured)
    write_rows(output / "cost.csv", list(rows[0]), rows)
    write_text(output / "cost.md", markdown(plan, measured, rows))


@command
def estimate(
    config: Annotated[str, "the configuration as JSON"],
    steps: Annotated[list[Path], "measured seconds per slice"],
    output: Annotated[Path, "folder to write cost.csv and cost.md to"],
) -> None:
    """Write what an experiment costs."""
    given = from_json(dict[str, Any], config, "--config", "give the JSON of a configuration")
    methods = discover()
    plan = Plan(check_config(given, methods), methods)
    write_costs(output, plan, chosen_steps(plan, read_steps(steps)))
