"""Devices are never shared, a dead holder frees its own at once, and what is set already is respected."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from users import ALICE, MALLORY, as_user, common_folder

from data_prep.errors import BadInput
from workflow import lease
from workflow.run import gpus as machine
from workflow.run.gpus import Device

ROOT = Path(__file__).parents[2]

LISTING = """\
GPU 0: NVIDIA H200 (UUID: GPU-aaaa1111-0000)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb2222-0000)
  MIG 1g.18gb     Device  0: (UUID: MIG-cccc-0000)
  MIG 1g.18gb     Device  1: (UUID: MIG-dddd-0000)
"""
TWO = [Device("0", "GPU-aaaa1111"), Device("1", "GPU-bbbb2222")]


def leased(
    environment: dict[str, str], gpus: int, script: str, *arguments: str, per_gpu: int = 1
) -> "subprocess.Popen[str]":
    """Start a shell script under a lease."""
    command = ["sh", "-c", script, "sh", *arguments]
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "workflow.lease",
            "--gpus",
            str(gpus),
            "--per-gpu",
            str(per_gpu),
            "--",
            *command,
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def pretended(tmp_path: Path) -> dict[str, str]:
    """Environment of a machine with three GPUs and a lock folder of its own."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")}
    return inherited | {"GPU_LEASE_DEVICES": "0,1,2", "GPU_LEASE_FOLDER": str(tmp_path / "locks")}


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


# ---- many processes -----------------------------------------------------------------------------

# A device is entered by making its folder, which fails where somebody is inside.
OCCUPY = """
for device in $(echo "$CUDA_VISIBLE_DEVICES" | tr , ' '); do mkdir "$1/$device" || exit 9; done
sleep 0.2
for device in $(echo "$CUDA_VISIBLE_DEVICES" | tr , ' '); do rmdir "$1/$device" || exit 9; done
echo "$CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER"
"""


def test_many_processes_never_share_a_device(tmp_path, pretended):
    inside = tmp_path / "inside"
    inside.mkdir()
    processes = [leased(pretended, gpus, OCCUPY, str(inside)) for gpus in (1, 2, 1, 1, 2, 1, 1, 3)]
    used = set()
    for process, gpus in zip(processes, (1, 2, 1, 1, 2, 1, 1, 3), strict=True):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        devices, order = out.split()
        assert order == "PCI_BUS_ID"
        assert len(set(devices.split(","))) == gpus
        used |= set(devices.split(","))
    assert used == {"0", "1", "2"}


def test_kill_9_frees_the_device_at_once_and_waiting_is_announced(tmp_path, pretended):
    one = pretended | {"GPU_LEASE_DEVICES": "0"}
    entered = tmp_path / "entered"
    holder = leased(one, 1, 'touch "$1"; exec sleep 100', str(entered))
    wait_for(entered.exists)
    waiter = leased(one, 1, "true")
    assert "waiting for 1 of 1" in waiter.stderr.readline()
    assert waiter.poll() is None
    # The command took the lease's place: killing this one process is all there is to kill.
    os.kill(holder.pid, signal.SIGKILL)
    killed = time.monotonic()
    assert waiter.wait(timeout=20) == 0
    assert time.monotonic() - killed < 10 * lease.POLL_SECONDS
    holder.communicate()
    waiter.communicate()


def test_a_child_of_the_command_keeps_the_device(tmp_path, pretended):
    one = pretended | {"GPU_LEASE_DEVICES": "0"}
    # A command that leaves a process behind, such as a worker still using the GPU.
    left = leased(one, 1, "sleep 100 >/dev/null 2>&1 & echo $!")
    worker = int(left.communicate(timeout=20)[0])
    folder = Path(one["GPU_LEASE_FOLDER"])
    try:
        assert lease._try_lock(folder, Device("0", "0")) is None
    finally:
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: lease._try_lock(folder, Device("0", "0")) is not None)


def test_the_commands_exit_status_is_passed_on(pretended):
    process = leased(pretended, 1, "exit 7")
    process.communicate(timeout=20)
    assert process.returncode == 7


def test_a_missing_command_is_one_sentence(pretended):
    process = subprocess.run(
        [sys.executable, "-m", "workflow.lease", "--", "no-such-program"],
        env=pretended,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    said = "error: no-such-program: is no program that can be run from here; check name and path\n"
    assert process.stderr.endswith(said)
    assert "Traceback" not in process.stderr


# ---- shared devices -----------------------------------------------------------------------------


def test_as_many_commands_share_a_device_as_each_allows(tmp_path):
    gpu = Device("0", "0")

    def enter(per_device: int) -> list[int] | None:
        return lease._try_places(tmp_path / "locks", gpu, per_device)

    def leave(held: list[int] | None) -> None:
        for descriptor in held or ():
            os.close(descriptor)

    first, second = enter(2), enter(2)
    assert first
    assert second
    assert enter(2) is None
    # Those inside allow two: one who would allow more may not be a third, nor anyone who wants it alone.
    assert enter(3) is None
    assert enter(lease.PLACES) is None
    assert enter(1) is None
    leave(first)
    assert enter(1) is None
    leave(second)
    alone = enter(1)
    assert alone
    assert enter(1) is None
    assert enter(lease.PLACES) is None
    leave(alone)
    crowd = [enter(lease.PLACES) for _ in range(lease.PLACES)]
    assert all(crowd)
    assert enter(lease.PLACES) is None
    for held in crowd:
        leave(held)
    assert enter(1)


def test_places_are_shared_between_processes_and_freed_by_a_kill(tmp_path, pretended):
    one = pretended | {"GPU_LEASE_DEVICES": "0"}
    entered = [tmp_path / "a", tmp_path / "b"]
    script = 'touch "$1"; exec sleep 100'
    holders = [leased(one, 1, script, str(path), per_gpu=2) for path in entered]
    wait_for(lambda: all(path.exists() for path in entered))
    waiter = leased(one, 1, "true", per_gpu=2)
    assert "waiting for 1 of 1" in waiter.stderr.readline()
    os.kill(holders[0].pid, signal.SIGKILL)
    assert waiter.wait(timeout=20) == 0
    os.kill(holders[1].pid, signal.SIGKILL)
    for process in (*holders, waiter):
        process.communicate()


@pytest.mark.parametrize("places", ["0", "9", "many"])
def test_an_impossible_number_of_places_is_refused(places):
    command = [sys.executable, "-m", "workflow.lease", "--per-gpu", places, "--", "true"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--per-gpu" in refused.stderr


# ---- two users ----------------------------------------------------------------------------------


def test_folder_and_locks_are_open_to_all_users_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        os.close(lease._try_lock(tmp_path / "locks", Device("0", "0")) or -1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "locks").stat().st_mode) == 0o1777
    (lock,) = (tmp_path / "locks").iterdir()
    assert stat.S_IMODE(lock.stat().st_mode) == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_two_users_share_the_locks():
    with common_folder(0o755) as folder:
        _two_users_share_the_locks(folder / "locks")


def _two_users_share_the_locks(folder: Path) -> None:
    mine = lease._try_lock(folder, Device("0", "0"))
    assert mine is not None
    # A program of its own: a fork of this one would have its locks, but not the threads that release them.
    other_user = (
        "import os, sys\nfrom pathlib import Path\nfrom workflow.lease import Device, _try_lock\n"
        "os.setuid(65534)\n"
        "taken, free = (_try_lock(Path(sys.argv[1]), Device(name, name)) for name in '01')\n"
        "sys.exit(0 if taken is None and free is not None else 1)\n"
    )
    subprocess.run([sys.executable, "-c", other_user, str(folder)], cwd=ROOT, check=True)
    # And the other way round: a file made by the other user.
    assert lease._try_lock(folder, Device("1", "1")) is not None


def _pipe(path: Path) -> None:
    os.mkfifo(path)
    path.chmod(0o666)


def _link(path: Path) -> None:
    path.with_name("elsewhere").touch()
    path.symlink_to(path.with_name("elsewhere"))


def _second_name(path: Path) -> None:
    path.with_name("elsewhere").touch()
    path.hardlink_to(path.with_name("elsewhere"))


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


IN_THE_WAY = {
    "pipe": _pipe,
    "link": _link,
    "second name": _second_name,
    "socket": _socket,
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("put", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_what_stands_in_a_locks_place_counts_as_taken_and_another_device_is_leased(put, pretended):
    folder = Path(pretended["GPU_LEASE_FOLDER"])
    folder.mkdir()
    put(folder / "0.lock")
    process = leased(pretended | {"GPU_LEASE_DEVICES": "0,1"}, 1, 'echo "$CUDA_VISIBLE_DEVICES"')
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "1\n"), err
    waiter = leased(pretended | {"GPU_LEASE_DEVICES": "0"}, 1, "true")
    assert f"; 0: {folder / '0.lock'} of {lease.user(os.getuid())} " in waiter.stderr.readline()
    # It is no fault of the waiting: what is removed is out of the way.
    (Path.rmdir if put is Path.mkdir else Path.unlink)(folder / "0.lock")
    assert waiter.wait(timeout=20) == 0
    waiter.communicate()


def _wait_as(uid: int, folder: Path, devices: list[Device], monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as another user, for one round."""

    class Enough(Exception):
        pass

    def leave(_: float) -> None:
        raise Enough

    monkeypatch.setattr(lease.time, "sleep", leave)
    with as_user(uid), pytest.raises(Enough):
        lease.acquire(devices, 1, folder)


def test_a_lock_closed_by_another_user_counts_as_taken_and_its_owner_is_named(monkeypatch, capsys):
    first, second = Device("0", "0"), Device("1", "1")
    with common_folder() as folder:
        with as_user(MALLORY):
            lock = lease._open(folder, "0.lock")
            os.fchmod(lock, 0o600)
        with as_user(ALICE):
            taken, held = lease.acquire([first, second], 1, folder)
        assert taken == [second]
        for descriptor in (lock, *held):
            os.close(descriptor)
        _wait_as(ALICE, folder, [first], monkeypatch)
        said = f"0: {folder / '0.lock'} of {lease.user(MALLORY)} cannot be opened (Permission denied)"
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777])
def test_a_folder_that_another_user_has_not_opened_to_all_is_waited_for_by_name(mode, monkeypatch, capsys):
    with common_folder() as place:
        folder, devices = place / "locks", [Device("0", "0")]
        with as_user(MALLORY):
            folder.mkdir()
            folder.chmod(mode)
        _wait_as(ALICE, folder, devices, monkeypatch)
        assert list(folder.iterdir()) == []
        said = f"0: {folder} of {lease.user(MALLORY)} has mode {mode:o}; it must be 1777, or all users"
        assert said in capsys.readouterr().err
        with as_user(MALLORY):
            folder.chmod(0o1777)
        with as_user(ALICE):
            taken, held = lease.acquire(devices, 1, folder)
        assert taken == devices
        for descriptor in held:
            os.close(descriptor)


@pytest.mark.parametrize("there", [True, False], ids=["to a folder", "to nothing"])
def test_a_folder_that_is_a_link_is_refused_in_one_sentence(there, pretended, tmp_path):
    folder, target = Path(pretended["GPU_LEASE_FOLDER"]), tmp_path / "elsewhere"
    if there:
        target.mkdir(mode=0o777)
    folder.symlink_to(target)
    process = leased(pretended, 1, "true")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.startswith(f"error: {folder}: the folder of the GPUs' locks is a link or no folder, of ")
    assert err.endswith("name another one in GPU_LEASE_FOLDER\n")
    assert err.count("\n") == 1
    assert not target.exists() or list(target.iterdir()) == []


def test_who_waits_is_told_whose_process_holds_which_device(tmp_path, pretended):
    two = pretended | {"GPU_LEASE_DEVICES": "0,1"}
    entered = [tmp_path / "a", tmp_path / "b"]
    script = 'echo $CUDA_VISIBLE_DEVICES > "$1"; exec sleep 100'
    holders = [leased(two, 1, script, str(path)) for path in entered]
    wait_for(lambda: all(path.exists() and path.read_text() for path in entered))
    waiter = leased(two, 1, "true")
    said = waiter.stderr.readline()
    for process, path in zip(holders, entered, strict=True):
        device = path.read_text().strip()
        assert f"{device}: held by process {process.pid}, {lease.user(os.getuid())}" in said
    for process in (*holders, waiter):
        process.kill()
        process.communicate()


def test_who_waits_is_told_again_when_the_holder_is_another(tmp_path, monkeypatch, capsys):
    device = Device("0", "0")
    descriptor, rounds = lease._try_lock(tmp_path, device), iter(range(3))

    def pause(_: float) -> None:
        if next(rounds) == 1:
            os.close(descriptor)
            os.mkfifo(tmp_path / "fifo")
            (tmp_path / "fifo").replace(tmp_path / "0.lock")

    monkeypatch.setattr(lease, "TOLD_SECONDS", 0.0)
    monkeypatch.setattr(lease.time, "sleep", pause)
    with pytest.raises(StopIteration):
        lease.acquire([device], 1, tmp_path)
    first, second = capsys.readouterr().err.splitlines()
    assert f"held by process {os.getpid()}" in first
    assert "is no plain file of one name" in second


# ---- which devices ------------------------------------------------------------------------------


def test_the_listing_of_nvidia_smi_is_read():
    assert machine.parse_device_list(LISTING) == [
        Device("0", "GPU-aaaa1111-0000"),
        Device("MIG-cccc-0000", "MIG-cccc-0000"),
        Device("MIG-dddd-0000", "MIG-dddd-0000"),
    ]


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["0", "1"]),
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        ("GPU-bbbb", ["GPU-bbbb"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
    ],
)
def test_devices_are_leased_within_what_is_visible_already(visible, names):
    chosen = machine.visible_devices(TWO, visible)
    assert [device.name for device in chosen] == names
    identities = {"0": "GPU-aaaa1111", "1": "GPU-bbbb2222", "GPU-bbbb": "GPU-bbbb2222"}
    assert [device.identity for device in chosen] == [identities[name] for name in names]


@pytest.mark.parametrize("visible", ["2", "GPU-", "GPU-ffff"])
def test_an_unknown_or_ambiguous_device_is_refused(visible):
    with pytest.raises(BadInput, match="CUDA_VISIBLE_DEVICES"):
        machine.visible_devices(TWO, visible)


def test_a_number_and_a_uuid_lock_the_same_device(tmp_path):
    by_number = machine.visible_devices(TWO, "1")[0]
    by_uuid = machine.visible_devices(TWO, "GPU-bbbb")[0]
    held = lease._try_lock(tmp_path, by_number)
    assert held is not None
    assert lease._try_lock(tmp_path, by_uuid) is None


def test_a_lease_stays_within_the_visible_set(pretended):
    process = leased(pretended | {"CUDA_VISIBLE_DEVICES": "2"}, 1, 'echo "$CUDA_VISIBLE_DEVICES"')
    assert process.communicate(timeout=20)[0].strip() == "2"


def test_no_gpus_asked_for_hides_all(tmp_path):
    environment = {"GPU_LEASE_DEVICES": "0,1", "GPU_LEASE_FOLDER": str(tmp_path / "locks")}
    assert lease.leased_environment(0, environment)["CUDA_VISIBLE_DEVICES"] == ""
    assert not (tmp_path / "locks").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"GPU_LEASE_DEVICES": ""},
        {"GPU_LEASE_DEVICES": "0,1", "SLURM_JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "1"},
        {"GPU_LEASE_DEVICES": "0,1", "SLURM_JOB_ID": "17"},
        {"GPU_LEASE_DEVICES": "0,1", "CUDA_VISIBLE_DEVICES": ""},
        {"GPU_LEASE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "0"},
        {"GPU_LEASE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "GPU-aaaa1111"},
    ],
    ids=["no GPU", "Slurm", "Slurm that names none", "all hidden", "no GPU, 0", "no GPU, a UUID"],
)
def test_nothing_is_leased_where_there_is_nothing_to_lease(tmp_path, given):
    environment = given | {"GPU_LEASE_FOLDER": str(tmp_path / "locks")}
    assert lease.leased_environment(1, environment) == environment
    assert not (tmp_path / "locks").exists()


def test_a_leased_command_is_told_how_many_may_share_its_devices(pretended):
    assert lease.leased_environment(1, pretended, 3)["GPU_SHARED_BY"] == "3"


def test_a_whole_workflow_in_one_slurm_job_shares_out_that_jobs_devices(tmp_path, pretended):
    held = pretended | {"SLURM_JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "1,2"}
    inside = tmp_path / "inside"
    inside.mkdir()
    processes = [leased(held, 1, OCCUPY, str(inside)) for _ in range(4)]
    used = set()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        used.add(out.split()[0])
    assert used == {"1", "2"}
    # One that asks for all of them takes what Slurm dealt.
    assert lease.leased_environment(2, held) == held


def test_a_training_under_a_lease_does_not_end_up_on_the_cpu(pretended):
    """The lease gave a device, and torch has none: what the job does about it is to stop."""
    code = (
        "import torch\nfrom data_prep.errors import run_command\n"
        "from workflow.run.device import set_up_torch\n"
        "torch.cuda.is_available = lambda: False\n"
        "run_command(lambda: set_up_torch(1, 'auto'))"
    )
    command = [sys.executable, "-m", "workflow.lease", "--", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=pretended, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is a GPU (0), but torch" in done.stderr


def test_more_than_there_are_is_refused_instead_of_waiting_for_ever(tmp_path):
    environment = {"GPU_LEASE_DEVICES": "0,1", "GPU_LEASE_FOLDER": str(tmp_path)}
    with pytest.raises(BadInput, match="3 asked for, but only 2"):
        lease.leased_environment(3, environment)


def test_a_broken_driver_means_no_gpu_and_is_said(tmp_path, monkeypatch, capsys):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert machine.machine_devices({}) == []
    assert "has failed" in capsys.readouterr().err


def test_devices_come_from_nvidia_smi(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<END\n{LISTING}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert [device.name for device in machine.machine_devices({})] == ["0", "MIG-cccc-0000", "MIG-dddd-0000"]
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert machine.machine_devices({}) == []
