"""What a failed step is told in: one line with its own sentence, or with what is known of its end."""

import re
import signal
from collections.abc import Sequence

_STATUS = re.compile(r"returned non-zero exit status (\d+)|died with <Signals\.\w+: (\d+)>")
_DEFECT = "a defect of the program, not of your data; please report it with the log"
_ABSENT = "a package is missing; activate the environment (source .venv/bin/activate), or make it anew"
_MEMORY = "run fewer steps at once or on a machine with more"
_REMEDY = {
    signal.SIGKILL: f"as the system does when memory is full; {_MEMORY}",
    signal.SIGTERM: "as a scheduler does when time is over; give it more time",
    signal.SIGBUS: "as the system does when a disk is full or gone; make room",
}


def exit_status(text: str) -> int | None:
    """Read a command's exit status from Snakemake's own text; that of a signal is negative."""
    found = _STATUS.search(text)
    if found is None:
        return None
    # A shell tells of a signal by a status above 128.
    status = int(found[1] or 128 + int(found[2]))
    return 128 - status if status > 128 else status


def reason(lines: Sequence[str], status: int | None, told: str | None = None) -> str:
    """Return why a step failed, as one line.

    Args:
        lines: the last ones of its log.
        status: its exit status, see ``exit_status``, if it is known.
        told: what the executor says of it, such as a cluster's state.
    """
    if status is not None and status < 0:
        try:
            by = signal.Signals(-status)
        except ValueError:
            return f"ended by signal {-status}"
        return f"ended by signal {by.name}, {_REMEDY.get(by, _DEFECT)}"
    last = lines[-1].strip() if lines else ""
    for line in reversed(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
        if line.startswith("Traceback "):
            kind = last.partition(":")[0]
            if kind.endswith("MemoryError"):
                return f"{last}: memory is full; {_MEMORY}"
            return f"{last}: {_ABSENT if kind == 'ModuleNotFoundError' else _DEFECT}"
    if told:
        return told.strip().replace("\n", " ")
    return last or ("Snakemake says above why" if status is None else f"exit status {status}, without a word")
