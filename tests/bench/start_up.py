"""What a process costs before it does anything."""

import resource
import subprocess
import sys

from tests.bench.common import seconds_text, table


def cpu_seconds(*arguments: str) -> float:
    """Return what one Python process spends on the processor, the less of two runs."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once(), once())


def bench_start_up() -> None:
    """Compare what a process costs before it does anything with `import torch` alone."""
    commands = {
        "import torch": ("-c", "import torch"),
        "import torch, lightning_fabric": ("-c", "import torch, lightning_fabric"),
        "all that a training imports": (
            "-c",
            "import workflow.train.__main__, workflow.train.loop, workflow.metrics.volume",
        ),
        "all that an evaluation imports": (
            "-c",
            "import data_prep.undersample.acquisition, workflow.run.model, workflow.evaluate.__main__, "
            "workflow.metrics.volume",
        ),
        "python -m workflow.train --help": ("-m", "workflow.train", "--help"),
        "nothing (bare Python)": ("-c", "pass"),
    }
    spent = {name: cpu_seconds(*arguments) for name, arguments in commands.items()}
    alone = spent["import torch"]
    rows = [[name, seconds_text(value), f"{value / alone:.2f}"] for name, value in spent.items()]
    table("Start-up", ["process", "CPU time", "of import torch"], rows)
