"""The one exception a user is meant to read, and the wrapper that prints it."""

import os
import sys
from collections.abc import Callable


class BadInput(Exception):
    """Input that the user can mend.

    The message is one sentence that names the file, the field and the remedy.
    """


def run_command(main: Callable[[], None]) -> None:
    """Run a command line program: bad input and a full disk end in one sentence and exit status 1.

    Everything else keeps its traceback, because it is a defect of ours and not of the input.
    """
    try:
        main()
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
