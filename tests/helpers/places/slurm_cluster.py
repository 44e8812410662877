"""A real Slurm on this machine, of one node with two pretend GPUs, and what a test does to it."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
# The partitions of profiles/slurm/partitions.yaml, on one node; its two GPUs are /dev/null under other names.
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
# A requeued job waits for this many seconds.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES State=UP
PartitionName=gpu Nodes=ALL State=UP
"""


def missing() -> str | None:
    """Say why no Slurm can be started here; None if it can."""
    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"{absent[0]} is not installed (Debian: apt install slurm-wlm munge)"
    if find_spec("snakemake_executor_plugin_slurm") is None:
        return "the plugin is not installed (bash requirements/install.sh python slurm)"
    if os.geteuid() != 0:
        return "only root can start slurmd and make device files"
    return None


def wait_for(condition: Callable[[], object], what: str, seconds: float = 300.0) -> None:
    """Wait until ``condition`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.05)


class Cluster:
    """The running cluster.

    Attributes:
        node: name of its only node.
        environment: what its commands and a Snakemake that submits to it need.
    """

    def __init__(self, node: str, environment: Mapping[str, str]) -> None:
        self.node = node
        self.environment = environment

    def command(self, *arguments: str) -> str:
        """Run a command of Slurm and return what it prints."""
        environment = os.environ | self.environment
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self) -> dict[str, tuple[str, str]]:
        """Number -> state and comment (rule and wildcards) of all jobs that have not ended."""
        listed = self.command("squeue", "--noheader", "--format=%i|%T|%k").splitlines()
        return {number: (state, comment) for number, state, comment in (line.split("|") for line in listed)}

    def node_state(self) -> str:
        """Return the node's state, such as ``drained``."""
        return self.command("sinfo", "--noheader", "--partition=gpu", "--format=%T").strip()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start munge, the controller and the node's daemon; at the end, end all jobs and stop them."""
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool", "bin", "logs"):
        (folder / name).mkdir()
    for number in (0, 1):
        os.mknod(folder / f"gpu{number}", 0o20666, os.makedev(1, 3))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    configuration = CONFIGURATION.format(
        host=host, ports=free_ports(), folder=folder, cpus=os.cpu_count(), memory=memory
    )
    (folder / "slurm.conf").write_text(configuration)
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-1]\n")
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    # The plugin keeps SLURM_CONF from the commands in its jobs; an ordinary cluster needs no such variable.
    wrapper = folder / "bin" / "srun"
    wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    wrapper.chmod(0o755)
    found = Cluster(host, {"SLURM_CONF": str(folder / "slurm.conf")})
    munge = [f"--{name}={folder}/munge.{name}" for name in ("socket", "pid-file", "log-file", "seed-file")]
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={key}", *munge],
        ["slurmctld", "-D", "-f", str(folder / "slurm.conf")],
        ["slurmd", "-D", "-f", str(folder / "slurm.conf")],
    ]
    with ExitStack() as stack:
        for command in daemons:
            stack.enter_context(running(command, folder / "logs" / command[0]))
            if command[0] == "munged":
                wait_for((folder / "munge.socket").exists, "munge's socket", 30)

        def ready() -> bool:
            with contextlib.suppress(AssertionError):
                return found.node_state() == "idle"
            return False

        wait_for(ready, "the node", 60)
        yield found
        found.command("scancel", "--user=root", "--signal=KILL", "--full")
        found.command("scancel", "--user=root")
        wait_for(lambda: not found.jobs(), "the end of all jobs", 60)


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """Run a daemon in the foreground, its output in ``log``, and stop it at the end."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def free_ports() -> tuple[int, int]:
    """Return two ports that nobody listens on."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
