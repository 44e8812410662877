"""Run a command with GPUs of its own: ``python -m workflow.lease --gpus 1 -- python -m workflow.train ...``.

Snakemake's ``--resources gpu=2`` is only a counter; it tells no job which device to use. A lease is a
lock (``flock``) on one file per device in a folder that all users of the machine share. The command
replaces this process and inherits the lock, so the kernel frees it when the command ends, however it
ends. Two workflows of two people on one machine therefore never share a device.

A device has places, locks that are numbered from 0. Who allows K commands on a device at a time
(``--per-gpu``, by default 1) takes one of the first K places for itself, and all places from K on together
with others of the same mind. Whoever allows more therefore cannot come in beside somebody who does not.

- A ``CUDA_VISIBLE_DEVICES`` that is already set is respected: devices are leased within that set.
- Under Slurm (``SLURM_JOB_ID``) Slurm has already dealt the devices out: no lease is taken. Only where a job
  of Slurm holds more devices than the command asks for, as when a whole workflow runs in one, they are
  leased within the job's set.
- Without a GPU, whatever CUDA_VISIBLE_DEVICES says, or with ``--gpus 0``, the command simply runs on the CPU
  (and says so). Where there is a GPU that torch cannot use, training stops: see ``workflow.run.device``.

For tests and unusual machines, ``GPU_LEASE_DEVICES`` (comma-separated names) replaces the list of
devices that ``nvidia-smi`` gives, and ``GPU_LEASE_FOLDER`` the folder of the locks.
"""

import contextlib
import errno
import fcntl
import os
import random
import re
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from data_prep.errors import BadInput, printable
from data_prep.io.command import Choices, WrongUse, command
from data_prep.io.locks import owner, user
from data_prep.undersample.device_memory import SHARED_BY
from workflow.run.gpus import LEASED, Device, machine_devices, visible_devices

# Not below TMPDIR: that may differ between the users and jobs of one machine.
FOLDER = Path("/tmp/manet-benchmark-gpu-leases")
POLL_SECONDS = 0.5
TOLD_SECONDS = 60.0  # between two words on who is waited for
PLACES = 8
# What opening a lock meets where another user closed it, put something else there, or just removed it.
_IN_THE_WAY = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.EAGAIN, errno.ENOENT}


def acquire(
    devices: list[Device], count: int, folder: Path, per_device: int = 1
) -> tuple[list[Device], list[int]]:
    """Wait until ``count`` of the devices have a free place and lock it.

    Nothing is held while waiting, so that two jobs that want two devices each cannot block each other. What
    other users have closed to us, or put in a lock's place, counts as taken.

    Args:
        devices: to choose from.
        count: how many are wanted.
        folder: of the locks.
        per_device: commands that may share a device, this one included.

    Returns:
        The devices, in the given order, and the descriptors that hold their locks.

    Raises:
        BadInput: the folder is a link, or none.
    """
    told, due = "", 0.0
    while True:
        taken: list[Device] = []
        descriptors: list[int] = []
        for device in devices:
            held = _try_places(folder, device, per_device)
            if held is not None:
                taken.append(device)
                descriptors += held
            if len(taken) == count:
                return taken, descriptors
        for descriptor in descriptors:
            os.close(descriptor)
        if time.monotonic() >= due:
            left = [device for device in devices if device not in taken]
            text = "; ".join(f"{device.name}: {_obstacle(folder, device)}" for device in left)
            if text != told:
                _say(f"waiting for {count} of {len(devices)} GPUs (locks in {folder}); {text}")
            told, due = text, time.monotonic() + TOLD_SECONDS
        # Unequal pauses: two waiting jobs do not keep meeting.
        time.sleep(POLL_SECONDS * random.uniform(0.5, 1.5))


def _try_places(folder: Path, device: Device, per_device: int) -> list[int] | None:
    """Lock a place of the device and return the descriptors, or None where there is none for us."""
    # Nobody is beyond the places that we allow, and nobody will come while we hold them.
    held = []
    for place in range(per_device, PLACES):
        descriptor = _try_lock(folder, device, place, fcntl.LOCK_SH)
        if descriptor is None:
            break
        held.append(descriptor)
    else:
        for place in range(per_device):
            descriptor = _try_lock(folder, device, place)
            if descriptor is not None:
                return [*held, descriptor]
    for descriptor in held:
        os.close(descriptor)
    return None


def _try_lock(folder: Path, device: Device, place: int = 0, kind: int = fcntl.LOCK_EX) -> int | None:
    """Lock one place's file and return the descriptor, or None where another holds it or it is closed."""
    try:
        descriptor = _open(folder, _name(device, place))
    except _Closed:
        return None
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _name(device: Device, place: int) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", device.identity)
    return f"{name}.{place}.lock" if place else f"{name}.lock"


class _Closed(Exception):
    """A lock that we cannot take as long as its owner leaves it so; says which, whose and why."""


def _open(folder: Path, name: str) -> int:
    """Open the file of a lock; it is made where it is missing.

    Raises:
        _Closed: another user's folder or file is in the way.
        BadInput: the folder is a link, or none.
    """
    within = _open_folder(folder)
    path = folder / name
    try:
        # Opened for reading, which is enough for flock: the file may be another user's. O_CREAT only where
        # it is missing: Linux refuses it on other users' files in a shared (sticky) folder.
        with contextlib.suppress(FileExistsError):
            created = os.open(name, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=within)
            # Apart from open, whose mode the umask would narrow: other users must be able to lock it.
            os.fchmod(created, 0o644)
            os.close(created)
        # Not blocking: a pipe in its place would wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=within)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        why = os.strerror(error.errno)
        raise _Closed(f"{path} of {owner(path)} cannot be opened ({why})") from error
    finally:
        os.close(within)
    status = os.fstat(descriptor)
    # A second name would make it a lock of something else as well.
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    raise _Closed(f"{path} of {user(status.st_uid)} is no plain file of one name")


def _open_folder(folder: Path) -> int:
    """Open the folder of the locks, for all users; it is made where it is missing.

    Raises:
        _Closed: it is another user's, who may change what is in it or has not opened it to all.
        BadInput: it is a link, or no folder.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        # Writable for every user, files removable by their owners only. Apart from mkdir, as above.
        folder.chmod(0o1777)
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise BadInput(
            f"{folder}: the folder of the GPUs' locks is a link or no folder, of {owner(folder)}; have it "
            "removed, or let all users of the machine name another one in GPU_LEASE_FOLDER"
        ) from error
    status = os.fstat(descriptor)
    shared = stat.S_ISVTX | stat.S_IRWXO
    if status.st_uid in (0, os.geteuid()) or status.st_mode & shared == shared:
        return descriptor
    os.close(descriptor)
    whose = f"{folder} of {user(status.st_uid)} has mode {stat.S_IMODE(status.st_mode):o}"
    raise _Closed(
        f"{whose}; it must be 1777, or all users of the machine name another one in GPU_LEASE_FOLDER"
    )


def _obstacle(folder: Path, device: Device) -> str:
    """Say what is in the way to a device: a lock that is closed to us, and who holds others."""
    said: list[str] = []
    held = set()
    for place in range(PLACES):
        try:
            descriptor = _open(folder, _name(device, place))
        except _Closed as error:
            said = said or [str(error)]
            continue
        file = os.fstat(descriptor)
        held.add(f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}")
        os.close(descriptor)
    # A line for each lock: number, kind in three words, process, file, first and last byte. Some systems hide
    # them.
    entries: list[list[str]] = []
    with contextlib.suppress(OSError):
        entries = [line.split() for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines()]
    processes = {Path("/proc", words[4]) for words in entries if words[1] == "FLOCK" and words[5] in held}
    for process in sorted(processes):
        whose = owner(process) if process.exists() else "ended or hidden"
        said.append(f"held by process {process.name}, {whose}")
    return " and ".join(said) or "held by a process that is not seen from here"


def _say(text: str) -> None:
    print(printable(f"lease: {text}"), file=sys.stderr, flush=True)


def leased_environment(count: int, environment: Mapping[str, str], per_device: int = 1) -> dict[str, str]:
    """Return the command's environment, waiting for its devices; the locks stay open for ``exec``.

    Raises:
        BadInput: more devices are asked for than can be seen.
    """
    wanted = dict(environment)
    if count == 0:
        return wanted | {"CUDA_VISIBLE_DEVICES": ""}
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if "SLURM_JOB_ID" in environment and (visible is None or len(visible.split(",")) <= count):
        return wanted
    devices = visible_devices(machine_devices(environment), visible)
    if not devices:
        return wanted
    if count > len(devices):
        raise BadInput(f"--gpus: {count} asked for, but only {len(devices)} can be seen; ask for fewer")
    folder = Path(environment.get("GPU_LEASE_FOLDER", FOLDER))
    taken, descriptors = acquire(devices, count, folder, per_device)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    names = ",".join(device.name for device in taken)
    _say(f"CUDA_VISIBLE_DEVICES={names}")
    leased = {"CUDA_VISIBLE_DEVICES": names, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", LEASED: names}
    return wanted | leased | {SHARED_BY: str(per_device)}


@command
def lease(
    *words: Annotated[str, "-- and the command to run"],
    gpus: Annotated[int, "devices to lease (default 1); 0 hides all GPUs"] = 1,
    per_gpu: Annotated[
        int, Choices(lambda: range(1, PLACES + 1)), "commands that may share a device (default 1)"
    ] = 1,
) -> None:
    """Run a command with GPUs of its own."""
    run = words[1:] if words[:1] == ("--",) else words
    if not run:
        raise WrongUse("name a command after --")
    if gpus < 0:
        raise WrongUse("--gpus must not be negative")
    environment = leased_environment(gpus, os.environ, per_gpu)
    try:
        os.execvpe(run[0], run, environment)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        # The error names the last place that was looked into, and not what was asked for.
        raise BadInput(f"{run[0]}: is no program that can be run from here; check name and path") from error
