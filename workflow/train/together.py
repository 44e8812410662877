"""Training on several devices: one process for each, which this one starts, watches and ends.

The processes meet through a file, not at a port, so that no two trainings of one machine can meet by mistake.
They end when the kernel sees this process end, however it ends.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path

import torch.distributed
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from data_prep.errors import BadInput, run_command
from data_prep.undersample.device_memory import out_of_memory
from workflow.evaluate.form import check_form
from workflow.run.job import Job
from workflow.train.progress import say
from workflow.train.start import begin
from workflow.train.team import Team
from workflow.train.termination import TERMINATED, Termination

# Exit status of a process whose device was too small; no other failure has it.
OUT_OF_MEMORY = 77
# For the others to save and leave after the first has left.
GRACE_SECONDS = 30.0
POLL_SECONDS = 0.2


def train_together(job: Job, termination: Termination) -> None:
    """Train with ``training.devices`` processes until the stored state says that the training has ended.

    Raises:
        BadInput: fewer GPUs can be seen.
        SystemExit: SIGTERM came (after saving), or a process failed (after saying why).
    """
    devices, seen = job.spec.training.devices, torch.cuda.device_count()
    if job.device != "cpu" and 0 < seen < devices:
        raise BadInput(
            f"training.devices: {devices} asked for, but {seen} GPUs can be seen; lease more or lower it"
        )
    halve = False
    while not _attempt(job, termination, halve):
        halve = True


def _attempt(job: Job, termination: Termination, halve: bool) -> bool:
    """Return whether the training ended; False if a device was too small."""
    with tempfile.TemporaryDirectory() as folder, termination.deferred():
        context = start_processes(
            _take_part,
            (job, Path(folder) / "meeting", halve),
            nprocs=job.spec.training.devices,
            join=False,
            start_method="spawn",
        )
        try:
            ended, told = False, False
            while not ended:
                if termination.noticed and not told:
                    told = True
                    for process in context.processes:
                        process.terminate()
                ended = context.join(timeout=POLL_SECONDS, grace_period=GRACE_SECONDS)
        except ProcessExitedException as error:
            if termination.noticed:
                sys.exit(TERMINATED)
            if any(process.exitcode == OUT_OF_MEMORY for process in context.processes):
                return False
            if error.exit_code < 0:
                say(f"process {error.error_index} of the training was ended by {error.signal_name}")
            sys.exit(1)
    return True


def _train(job: Job, termination: Termination, process: int, halve: bool) -> None:
    """Train from where the stored state ends, as one of the processes that have met."""
    training = begin(job, termination, Team(job.spec.training.devices, process), halve=halve)
    try:
        check_form(training.model, job.spec, training.stores["val"], training.acquisition)
        training.fit()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        # Not by sys.exit, which waits for others that wait for this one.
        os._exit(OUT_OF_MEMORY)


def _take_part(process: int, job: Job, meeting: Path, halve: bool) -> None:
    """Train as one of several processes, until the training ends or this one is told to leave."""

    def work() -> None:
        # At the end of the first process the kernel sends SIGINT, for torch. The background ignores that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        termination = Termination()
        termination.listen()
        os.environ["LOCAL_RANK"] = str(process)
        # All processes are on this machine, whose name need not be known to any network.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        on_gpu = job.device != "cpu" and torch.cuda.is_available()
        backend, processes = "nccl" if on_gpu else "gloo", job.spec.training.devices
        torch.distributed.init_process_group(backend, f"file://{meeting}", rank=process, world_size=processes)
        _train(job, termination, process, halve)
        # The training, and with it DDP's reducer, must be gone. Were the reducer the last to hold the group,
        # its destructor would wait, with the interpreter locked, for a thread that may need the interpreter.
        torch.distributed.destroy_process_group()

    try:
        run_command(work)
    except SystemExit as leaving:
        # All find the same fault with the input; one says it.
        sys.exit(leaving.code if process == 0 or isinstance(leaving.code, int) else 1)
