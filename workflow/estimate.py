"""What a configuration will cost: jobs, hours, disk and memory, before anything runs.

``python -m workflow.estimate my.yaml`` reckons from measured seconds, those of
``workflow/resources/measured_steps*.csv`` or of ``--steps``, and says whose they are, and which methods had
other parameters than yours. ``--measure`` takes a
few steps of every trained method here, added ones included, and reckons with those; ``--to DIR`` writes
``cost.csv`` and ``cost.md``, and with ``--measure`` ``measured_steps.csv``, which ``--steps`` takes another
time. How it is reckoned: docs/cost.md. A method that nobody measured is named, and hours are "at least".

No scan is opened, and nothing of the experiment is made. What other experiments have prepared is not counted.
"""

import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated

from tabulate import tabulate

from data_prep.errors import BadInput, printable
from data_prep.io.command import command, exclusive
from data_prep.io.files import check_place, then_print, write_rows
from data_prep.io.json_files import canonical
from methods.registry import discover
from workflow.cost.estimate import (
    Row,
    Steps,
    chosen_steps,
    hours_rows,
    makespan,
    measured_otherwise,
    read_steps,
    run_seconds,
    steps_of,
    unmeasured,
    write_costs,
)
from workflow.cost.jobs import START, Table, data_jobs, jobs_done, read_jobs, run_jobs, seconds_per_job
from workflow.cost.steps import Measured, measured_apart
from workflow.plan.config import read_config, split_numbers
from workflow.plan.definitions import Run
from workflow.plan.plan import Plan
from workflow.plan.room import (
    data_files,
    free_bytes,
    gigabytes,
    short_of_room,
    slice_bytes,
    slices_of,
    split_slices,
    too_few_gpus,
)
from workflow.provenance.files import check_outside
from workflow.provenance.sources import RESOURCES
from workflow.run.gpus import machine_devices, visible_devices

_STEPS = ["device", "method", "parameters", "side", "batch", "precision"]
_STEPS += ["training", "reconstruction", "memory"]
# Of examples.npz: target, auxiliary, zero filling, reconstruction, mask; a line of metrics.csv.
_EXAMPLE_BYTES_PER_PIXEL, _LINE = 17, 125
_THERE, _UNITS = "there already", (("h", 3600), ("min", 60))
_COPIES = 5  # of the weights while a training runs: they, their gradients, two of Adam, the best ones


def measured_methods(plan: Plan) -> dict[str, Run]:
    """Return the trained methods that are measured, each with the run that it is measured as.

    Points of the grid of loss weights cost what their method does. A dataset with a batch of its own has
    each method once more, as "method on dataset".
    """
    grid = {point.method for shown in plan.figure_definitions.values() for point in shown.grid}
    chosen: dict[str, Run] = {}
    for run in plan.runs:
        if plan.trained(run.method) and (
            run.method not in grid or run.method == plan.method(run.method).folder
        ):
            chosen.setdefault(run.method, run)
    for run in plan.runs:
        folder = plan.method(run.method).folder
        if plan.trained(run.method) and not {run.method, folder} & set(chosen):
            chosen[folder] = run
    batches = {(name, plan.spec(run).training.batch_size) for name, run in chosen.items()}
    names = {run.method: name for name, run in chosen.items()}
    for run in {(run.method, run.dataset): run for run in plan.runs if run.method in names}.values():
        asked = names[run.method], plan.spec(run).training.batch_size
        if asked not in batches:
            batches.add(asked)
            chosen[f"{names[run.method]} on {run.dataset}"] = run
    return chosen


def measure_all(plan: Plan) -> tuple[dict[str, Measured], dict[str, str]]:
    """Measure every trained method here; return what was found, and why not of those that failed."""
    found, failed = {}, {}
    chosen = measured_methods(plan)
    for number, (method, run) in enumerate(chosen.items(), 1):
        side = plan.config["datasets"][run.dataset]["matrix"]
        said = f"measuring {method} at {side} x {side} ({number} of {len(chosen)})"
        print(said, file=sys.stderr, flush=True)
        answer = measured_apart(plan.spec(run), side)
        if isinstance(answer, Measured):
            found[method] = answer
        else:
            failed[method] = answer
    return found, failed


def devices_here(plan: Plan) -> tuple[int, str]:
    """Return how many trainings run at once on this machine, and on what."""
    training = plan.config["training"]
    gpus = len(visible_devices(machine_devices(os.environ), os.environ.get("CUDA_VISIBLE_DEVICES")))
    if gpus:
        return max(1, gpus // training["devices"]), f"{gpus} GPUs"
    cores = len(os.sched_getaffinity(0))
    return max(1, cores // (training["threads"] * training["devices"])), f"{cores} cores"


def weight_bytes(plan: Plan) -> dict[str, int | None]:
    """Return trained method -> bytes of its weights in a file; None where it cannot be built here."""
    import torch

    from workflow.run.model import build_model

    found: dict[str, int | None] = {}
    for method, run in {run.method: run for run in plan.runs if plan.trained(run.method)}.items():
        side = plan.config["datasets"][run.dataset]["matrix"]
        try:
            state = build_model(plan.spec(run), (side, side)).state_dict()
        except (BadInput, ImportError):
            found[method] = None
            continue
        stored = BytesIO()
        torch.save(state, stored)
        found[method] = stored.tell()
    return found


def disk_rows(plan: Plan, weights: Mapping[str, int | None], table: Table) -> list[tuple[str, float, str]]:
    """Return what is to be written: its kind, bytes, and what there is to say of it."""
    jobs, done, rows = data_jobs(plan, table), jobs_done(plan), []
    for name in plan.config["datasets"]:
        if plan.subjects.embedded(name):
            count, job = jobs[f"embed_{name}"]
            count -= done[f"embed_{name}"]
            said = _THERE if not count else "about" if job else "not known"
            rows.append((f"raw {name}", count * job.extra if job else 0.0, said))
        else:
            files = [Path(p) for s in plan.subjects[name].values() for p in (s.target, s.auxiliary)]
            there = sum(path.stat().st_size for path in files if path.is_file())
            said = (
                f"yours, {gigabytes(there)}, stay where they are" if there else "not there yet, not counted"
            )
            rows.append((f"raw {name}", 0.0, said))
        count, job = jobs[f"align {name}"]
        own = [files for files in data_files(plan) if files.dataset == name]
        pictures = (count - done[f"align {name}"]) * job.extra if job else 0.0
        for kind, extra in (("aligned", pictures), ("prepared", 0.0)):
            size = sum(files.to_come for files in own if files.kind == kind)
            rows.append((f"{kind} {name}", size + extra, "" if size else _THERE))
    donors, job = jobs.get("fetch_donor", (0, None))
    if job:
        donors -= done["fetch_donor"]
        rows.append(("raw donors", donors * job.extra, "at most" if donors else _THERE))
    unknown = sorted(name for name, size in weights.items() if size is None)
    said = f"without the weights of {', '.join(unknown)}" if unknown else ""
    rows.append(("runs", sum(run_bytes(plan, run, weights.get(run.method) or 0) for run in plan.runs), said))
    return rows


def run_bytes(plan: Plan, run: Run, weights: int) -> float:
    """Return the bytes of a finished run: weights twice, for scoring and for going on, examples, scores."""
    configured = plan.config["datasets"][run.dataset]
    subjects = split_numbers(configured["splits"])["test"]
    examples = min(plan.config["examples"], subjects) * _EXAMPLE_BYTES_PER_PIXEL * configured["matrix"] ** 2
    return float(2 * weights + examples + subjects * (slices_of(configured) + 1) * _LINE)


def memory_rows(
    plan: Plan, weights: Mapping[str, int | None], steps: Mapping[str, Steps], table: Table
) -> Iterator[tuple[str, str]]:
    """Yield what one job of each kind holds in memory."""
    for rule, (_, job) in data_jobs(plan, table).items():
        if job is not None and job.memory:
            yield rule, gigabytes(job.memory)
    limit = plan.config["training"]["resident_gigabytes"] * 1e9
    for name, configured in plan.config["datasets"].items():
        splits = [split_slices(configured)[s] * slice_bytes(name, configured) for s in ("train", "val")]
        held = sum(size for size in splits if size <= limit)
        of_dataset = {run.method: run for run in plan.runs if run.dataset == name}
        for method in (method for method in measured_methods(plan) if method in of_dataset):
            size = weights[method] or 0
            measured, side = steps_of(plan, steps, of_dataset[method]), configured["matrix"]
            step = measured.at(side).memory if measured else 0.0
            total = held + (step or _COPIES * size)
            if not (measured and step) or side < measured.side:
                bound = "at least "
            elif measured.other:
                bound = "about "
            else:
                # What a process takes beside its maps does not grow with the pixels.
                bound = "at most " if side > measured.side else ""
            yield f"train {method} on {name}", f"{bound}{gigabytes(total)}, {gigabytes(held)} of it slices"


def _time(seconds: float) -> str:
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= 2 * size), ("s", 1))
    # As many as 99.5 would be 1e+02.
    return f"{seconds / size:,.0f} {unit}" if seconds >= 99.5 * size else f"{seconds / size:.2g} {unit}"


def _least(missing: object) -> str:
    return "at least " if missing else ""


def report(
    plan: Plan,
    measured: Mapping[str, Mapping[str, Steps]],
    bases: Sequence[str],
    table: Table,
) -> Iterator[str]:
    """Yield the lines that are printed."""
    config = plan.config
    yield f"{config['experiment']}: {len(plan.runs)} runs on {', '.join(config['datasets'])}"
    yield from (f"based on {base}" for base in bases)
    yield ""
    at_once, here = devices_here(plan)
    first = next(iter(measured.values()))
    each = seconds_per_job(plan, first, table)
    rows, done = [], jobs_done(plan)
    for rule, (count, job) in data_jobs(plan, table).items():
        count -= done[rule]
        known = [_time(job.seconds), _time(count * job.seconds)] if job else ["not known", "not known"]
        rows.append([rule, count, *known])
    for rule, count in run_jobs(plan).items():
        known = [_time(each[rule]), _time(count * each[rule])] if rule != "train" else ["", "see below"]
        rows.append([rule, count, *known])
    yield tabulate(rows, ["job", "number", "each", "one after another"], disable_numparse=True)
    yield "Beside these: a job of some seconds for each table and figure, and the page."
    if done:
        made = ", ".join(f"{number} {rule}" for rule, number in done.items())
        yield f"Not counted, also on disk, as {plan.subjects.root} has what they make: {made}."
    for device, steps in measured.items():
        parts = [
            [row["part"], row["trainings"], _least(row["unmeasured"]) + _time(3600 * row["hours"])]
            for row in hours_rows(plan, {device: steps})
        ]
        seconds = run_seconds(plan, steps)
        yield ""
        yield f"Trainings on {device}, one after another"
        yield tabulate(parts, ["part", "trainings", "time"], disable_numparse=True)
        missing = unmeasured(plan, steps, plan.runs)
        if missing:
            yield f"Not measured: {', '.join(missing)}; --measure does it here."
        if others := measured_otherwise(plan, steps):
            yield f"Measured with other parameters: {others}; --measure takes yours."
        if seconds:
            shared = plan.config["training"]["devices"]
            ends = _time(makespan([START + one / shared for one in seconds.values()], at_once))
            least = _least(missing)
            yield f"This machine ({here}, {at_once} at once): {least}{ends}, if each is as fast as that."
    weights = weight_bytes(plan)
    disk = disk_rows(plan, weights, table)
    yield ""
    shown = [[kind, gigabytes(size) if size else "", said] for kind, size, said in disk]
    total, free = sum(size for _, size, _ in disk), free_bytes(Path(plan.root))
    shown.append(["all", gigabytes(total), f"{gigabytes(free)} are free at {plan.root}"])
    yield tabulate(shown, ["on disk", "size", ""], disable_numparse=True)
    yield ""
    yield tabulate(
        [*memory_rows(plan, weights, first, table)], ["memory of one job", ""], disable_numparse=True
    )
    for said in filter(None, (short_of_room(plan), too_few_gpus(plan))):
        yield ""
        yield f"warning: {said}"


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.writelines(f"{printable(part)}\n" for part in line.split("\n"))


@command
def estimate(
    file: Annotated[Path, "configuration, such as config/paper.yaml"],
    /,
    measure: Annotated[bool, "take a few steps of every trained method here first"] = False,
    steps: Annotated[
        list[Path] | None, "files of measured seconds per slice (default: the repository's)"
    ] = None,
    to: Annotated[Path | None, "folder to write cost.csv and cost.md into"] = None,
) -> None:
    """Print what an experiment will cost."""
    exclusive({"--measure": measure, "--steps": steps})
    if to is not None:
        check_place("--to", to, folder=True)
    checked = read_config(file)
    plan = Plan(checked, discover())
    if to is not None:
        # There the workflow's own estimate has the same names.
        check_outside("--to", to, Path(plan.root))
    if said := plan.subjects.too_few():
        raise BadInput(said)
    if measure:
        found, failed = measure_all(plan)
        if not found:
            why = "; ".join(failed.values()) or "none is trained"
            raise BadInput(f"--measure: no method could be measured ({why}); leave --measure out")
        runs, lines, rows = measured_methods(plan), [], dict[str, list[Row]]()
        for name, one in found.items():
            parameters = plan.spec(runs[name]).parameters
            method = name.partition(" on ")[0]
            lines.append({"method": method, **vars(one), "parameters": canonical(parameters)})
            seconds = Steps(one.side, one.training, one.reconstruction, one.memory)
            of_device = rows.setdefault(f"{one.device}, {one.precision}", [])
            of_device.append(Row(method, one.batch, parameters, seconds))
        by_device = chosen_steps(plan, rows)
        bases = [f"steps measured here, of {', '.join(found)}"]
        wanted = {name: plan.spec(runs[name]).training.batch_size for name in found}
        devices = checked["training"]["devices"]
        parts = {
            name: one.batch for name, one in found.items() if one.batch < math.ceil(wanted[name] / devices)
        }
        bases += [f"parts of {n} slices of {name}, whose batches do not fit" for name, n in parts.items()]
        bases += [f"nothing for {name}: {why}" for name, why in failed.items()]
    else:
        files = steps or sorted(RESOURCES.glob("measured_steps*.csv"))
        by_device, lines = chosen_steps(plan, read_steps(files)), []
        told = [(path.name, [*filter(by_device.__contains__, read_steps([path]))]) for path in files]
        bases = [f"{name}, measured on {', '.join(devices)}" for name, devices in told if devices]
    bases.append("measured_jobs.csv for all that is no training")
    with then_print(partial(_print, report(plan, by_device, bases, read_jobs()))):
        if to is not None and lines:
            write_rows(to / "measured_steps.csv", _STEPS, lines)
        if to is not None:
            write_costs(to, plan, by_device)
