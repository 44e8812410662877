"""The one exception a user is meant to read, and the wrapper that prints it."""

import codecs
import io
import os
import signal
import sys
from collections.abc import Callable


class BadInput(Exception):
    """Input that the user can mend.

    The message is one sentence that names the file, the field and the remedy.
    """


def run_command(main: Callable[[], None]) -> None:
    """Run a command line program: bad input and a full disk end in one sentence and exit status 1.

    Everything else keeps its traceback, because it is a defect of ours and not of the input. What is printed
    is UTF-8 whatever the locale, as are the files that are made of it. A reader that has seen enough, such as
    ``head``, ends the program without a word, with the status of a program that SIGPIPE ends.
    """
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(encoding="utf-8", errors=errors)
    try:
        try:
            main()
        finally:
            _flush()
    except BrokenPipeError:
        sys.exit(128 + signal.SIGPIPE)
    except BadInput as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno is None:
            raise
        # Not strerror, which libraries fill with lines of their own.
        sys.exit(
            f"error: {error.filename or 'output'}: {os.strerror(error.errno)}; check the path, the "
            "permissions and the free disk space, then run again (finished steps are kept)"
        )


def _flush() -> None:
    """Write what is left now, where a failure can be told, and leave nothing for the interpreter's end."""
    try:
        sys.stdout.flush()
    except OSError:
        # Not closed: the interpreter would try again and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
