"""What a failed step is told in: one line with its own sentence, or with what is known of its end."""

import re
import signal
from collections.abc import Sequence

_STATUS = re.compile(r"returned (?:non-zero exit status|exit code) (-?\d+)")
_DEFECT = "a defect of the program, not of your data; please report it with the log"
_REMEDY = {
    signal.SIGKILL: "as the system does when memory is full; "
    "run fewer steps at once or on a machine with more",
    signal.SIGTERM: "as a scheduler does when time is over; give it more time",
    signal.SIGBUS: "as the system does when a disk is full or gone; make room",
}


def exit_status(text: str) -> int | None:
    """Read a command's exit status from Snakemake's own text; a signal's number is negative."""
    found = _STATUS.search(text)
    if found is None:
        return None
    status = int(found[1])
    return 128 - status if status > 128 else status


def reason(lines: Sequence[str], status: int | None, told: str | None = None) -> str:
    """Return why a step failed, as one line.

    Args:
        lines: the last ones of its log.
        status: its exit status, see ``exit_status``, if it is known.
        told: what the executor says of it, such as a cluster's state.
    """
    own = next((line for line in reversed(lines) if line.startswith("error: ")), None)
    if own is not None:
        return own.removeprefix("error: ")
    if status is not None and status < 0:
        try:
            by = signal.Signals(-status)
        except ValueError:
            return f"ended by signal {-status}"
        return f"ended by signal {by.name}, {_REMEDY.get(by, _DEFECT)}"
    if told:
        return told.strip().replace("\n", " ")
    if any(line.startswith("Traceback ") for line in lines):
        return f"{lines[-1].strip()}: {_DEFECT}"
    if lines:
        return lines[-1].strip()
    return "Snakemake says above why" if status is None else f"exit status {status}, without a word"
