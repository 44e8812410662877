"""Runs of the workflow at one time: who makes files in a shared folder, and who reads them.

Snakemake's own lock covers all files that a run makes, until it ends, and the locks of all runs are gone when
one of them ends. Folders that experiments share need more and less: an experiment may begin while another
trains, but nobody may plan with files that are being made, or make again what others read. So two locks of
the system (``flock``), which it frees however a process ends, stand in each folder:

- ``.making`` is taken before the plan is made, waited for, and freed when the last job in the folder has
  ended;
- ``.reading`` is shared by all runs that need the folder, until they end; only who makes anew what is there
  has it alone, and is refused if another run reads.
"""

import errno
import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_prep.errors import BadInput
from data_prep.io.locks import owner

_POLL = 1.0  # seconds
# A folder of another user, or one that cannot be written: nothing is made there by this run either.
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Turns:
    """The turns of one run."""

    def __init__(self, own: str, folders: Iterable[str], say: Callable[[str], None]) -> None:
        """Plan for turns in these folders.

        Args:
            own: folder of the experiment, which no other run may work on.
            folders: all that the run shares with others.
            say: tells a sentence to who looks on.
        """
        self._own = Path(own)
        # In one order for all runs, of which none waits for another that waits for it.
        self._folders = sorted(map(Path, folders))
        self._say = say
        self._making: dict[Path, int] = {}
        self._reading: dict[Path, int] = {}
        self._waited = self._mended = False

    def wait(self, persistence: Any) -> None:
        """Wait, while the plan is made, until no other run makes files in the folders.

        Args:
            persistence: Snakemake's, whose lock leaves the folders to these from now on.
        """
        if self._waited:
            return
        self._waited = True
        for folder in self._folders:
            if (lock := _opened(folder / ".making", self._say)) is not None:
                _patiently(lock, folder, self._say)
                self._making[folder] = lock
        self.mend(persistence)

    def mend(self, persistence: Any) -> None:
        """Have Snakemake's lock leave shared folders out, and the locks of other runs alone."""
        if self._mended:
            return
        self._mended = True
        every, read = persistence.all_outputfiles, persistence._read_locks
        persistence.all_outputfiles = lambda: (file for file in every() if self._folder(str(file)) is None)
        # Of its own it removes the folder of all locks when it ends, even while another run writes its lock.
        Path(persistence._lockdir).mkdir(parents=True, exist_ok=True)

        def unlock() -> None:
            for path in persistence._lockfile.values():
                Path(path).unlink(missing_ok=True)

        def locks() -> list[tuple[str, str]]:
            while True:
                # Another run may end between the look into the folder and that into its lock.
                with suppress(FileNotFoundError):
                    return list(read())

        persistence.unlock, persistence._read_locks = unlock, locks

    def begin(self, dag: Any) -> None:
        """Take what the plan needs; turns are given to others as soon as the jobs of a folder have ended.

        Raises:
            BadInput: another run works on this experiment, or reads files that are to be made again.
        """
        if (lock := _opened(self._own / ".making", self._say)) is not None:
            try:
                # Held, like those of reading, until this process ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(
                    f"{self._own}: another run of this experiment is at work; wait for it, or give this one "
                    "another name (the key experiment)"
                ) from None
        jobs: dict[Path, list[Any]] = {folder: [] for folder in self._making}
        for job in dag.needrun_jobs():
            for folder in jobs.keys() & {self._folder(str(file)) for file in job.output}:
                jobs[folder].append(job)
        for folder, making in jobs.items():
            again = [str(file) for job in making for file in job.output if Path(file).exists()]
            if (lock := _opened(folder / ".reading", self._say)) is None:
                continue
            self._reading[folder] = lock
            try:
                fcntl.flock(lock, (fcntl.LOCK_EX if again else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(
                    f"{again[0]}: is to be made again, but another run of the workflow reads {folder}; start "
                    "this one when that has ended"
                ) from None
        threading.Thread(target=self._give_back, args=(dag, jobs), daemon=True).start()

    def _give_back(self, dag: Any, jobs: dict[Path, list[Any]]) -> None:
        while jobs:
            for folder in [folder for folder, making in jobs.items() if all(map(dag.finished, making))]:
                del jobs[folder]
                if folder in self._reading:
                    fcntl.flock(self._reading[folder], fcntl.LOCK_SH)
                os.close(self._making.pop(folder))
            time.sleep(_POLL)

    def _folder(self, file: str) -> Path | None:
        """Return the shared folder that a file lies in."""
        return next((folder for folder in self._folders if file.startswith(f"{folder}/")), None)


def _opened(path: Path, say: Callable[[str], None]) -> int | None:
    """Open a lock's file, for all users; None where there can be none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with suppress(PermissionError):
            os.fchmod(lock, 0o666)
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(lock, fcntl.LOCK_UN)
    except BlockingIOError:
        return lock
    except OSError as error:
        if error.errno in _NO_LOCKS:
            say(f"{path.parent}: its file system has no locks; start no other run until this one has ended")
            return None
        if error.errno in _NOT_OURS:
            return None
        raise
    return lock


def _patiently(lock: int, folder: Path, say: Callable[[str], None]) -> None:
    """Take a lock when it is free; Ctrl-C ends the waiting."""
    told, before = False, signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread():
        # The loop in which Snakemake plans would pass it on only when it has its turn again.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not told:
                    say(f"waiting for another run, which makes files in {folder} (of {owner(folder)})")
                    told = True
                time.sleep(_POLL)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
