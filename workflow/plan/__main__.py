r"""What a configuration asks for.

``python -m workflow.plan config/demo.yaml`` lists the runs; ``--run``, ``--table`` and ``--figure`` print
the JSON that training, tables and figures take, for use by hand. ``--check`` checks the file and prints it
with its defaults; ``--document`` prints config/README.md from the schema. ``--commands`` prints a shell
command for each run that is not finished, for a machine that has torch but not the rest of the workflow:

    python -m workflow.plan config/full_width.yaml --commands > todo
    xargs -d '\n' -n 1 -P 4 sh -c < todo
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import yaml

from data_prep.errors import BadInput
from data_prep.io.command import WrongUse, command, exclusive
from data_prep.io.json_files import to_json
from data_prep.masks.from_file import VARIABLE, registered
from data_prep.masks.registry import label
from methods.registry import discover
from workflow.plan.config import read_config
from workflow.plan.definitions import Run
from workflow.plan.document import document as config_readme
from workflow.plan.plan import Plan
from workflow.plan.probes import TrustPlan
from workflow.plan.tuning import TuningPlan
from workflow.provenance.record import read_run


def unfinished(plan: Plan) -> list[str]:
    """Return a shell command for each run that is not finished; it writes what the run's rule would.

    Split files and masks must be there when it runs. A run is finished when its ``run.json`` is of the
    spec that the configuration asks for.
    """
    return [_command(plan, run) for run in plan.runs if not _finished(plan, run)]


def _finished(plan: Plan, run: Run) -> bool:
    folder = Path(f"{plan.root}/runs/{run.path}")
    return (folder / "run.json").is_file() and read_run(folder).spec == plan.spec(run).content()


def _command(plan: Plan, run: Run) -> str:
    training = plan.config["training"]
    step = "train" if plan.trained(run.method) else "evaluate"
    log = Path(f"{plan.root}/logs/{step}/{run.path}.log")
    lease = f"--gpus {training['devices']} --per-gpu {training['trainings_per_gpu']}"
    words = [
        *("--spec", plan.spec(run).canonical()),
        *("--data", plan.subjects.folder("data", run.dataset)),
        *("--mask", f"{plan.root}/masks/{run.dataset}/{run.mask}.npz"),
        *("--output", f"{plan.root}/runs/{run.path}"),
    ]
    if step == "train":
        program = f"python -m workflow.lease {lease} -- python -m workflow.train"
    else:
        program = "python -m workflow.evaluate --device cpu"
    if names := registered():
        program = f"env {VARIABLE}={','.join(names)} {program}"
    # exec: what ends the command is to reach the training, which saves first.
    return f"mkdir -p {shlex.quote(str(log.parent))} && exec {program} {shlex.join(words)} >> {log} 2>&1"


@command
def show(
    file: Annotated[Path | None, "configuration, such as config/demo.yaml"] = None,
    /,
    run: Annotated[str | None, "print a run's --spec, e.g. brats/1d_uniform_6x/manet/seed0"] = None,
    table: Annotated[str | None, "print a table's --definition, e.g. 1"] = None,
    figure: Annotated[str | None, "print a figure's --definition, e.g. 5"] = None,
    commands: Annotated[bool, "print a shell command for each run that is not finished"] = False,
    places: Annotated[bool, "print the shared folders of each dataset, below results/shared"] = False,
    check: Annotated[bool, "check the file; print it with its defaults"] = False,
    document: Annotated[bool, "print config/README.md, without a file"] = False,
) -> None:
    """Print what a configuration asks for."""
    asked = {"--run": run, "--table": table, "--figure": figure}
    alone = {"--commands": commands, "--places": places, "--check": check, "--document": document}
    exclusive({**asked, **alone})
    if document:
        sys.stdout.write(config_readme())
        return
    if file is None:
        raise WrongUse("name a configuration file, or give --document")
    config = read_config(file)
    plan = Plan(config, discover())
    if check:
        # What a run refuses before its first job, and no schema can say.
        _ = TuningPlan(plan), TrustPlan(plan), [plan.spec(one) for one in plan.runs]
        yaml.safe_dump(config, sys.stdout, sort_keys=False)
        return
    wanted: dict[str, tuple[Any, dict[Any, str]]] = {
        "run": (run, {run.path: plan.spec(run).canonical() for run in plan.runs}),
        "table": (table, {str(n): to_json(d) for n, d in plan.table_definitions.items()}),
        "figure": (figure, {str(n): to_json(d) for n, d in plan.figure_definitions.items()}),
    }
    for kind, (name, known) in wanted.items():
        if name is not None:
            if name not in known:
                remedy = "leave --run out to see the runs"
                if kind != "run":
                    remedy = f"its {kind}s: {', '.join(map(str, known)) or 'none'}"
                raise BadInput(f"{file}: asks for no {kind} {name}; {remedy}")
            sys.stdout.write(known[name] + "\n")
            return
    if places:
        sys.stdout.writelines(f"{folder}\n" for folder in plan.subjects.folders)
        return
    if commands:
        sys.stdout.writelines(f"{line}\n" for line in unfinished(plan))
        return
    for one in plan.runs:
        sys.stdout.write(f"{one.path}  ({label(one.mask)})\n")
    trained = sum(plan.trained(one.method) for one in plan.runs)
    sys.stdout.write(f"{len(plan.runs)} runs, {trained} of them trainings\n")
