"""Ending a training on a signal, between two steps."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TERMINATED = 128 + signal.SIGTERM


class Termination:
    """SIGTERM, by which clusters announce the end: obeyed at once, or at a safe point while deferred.

    Attributes:
        noticed: whether the signal has come.
    """

    def __init__(self) -> None:
        self.noticed = False
        self._deferred = False

    def listen(self) -> None:
        """Handle SIGTERM from now on."""
        signal.signal(signal.SIGTERM, self._handle)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Leave it to the block to look at ``noticed``; a signal that it did not see counts at its end."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.noticed:
            sys.exit(TERMINATED)

    def _handle(self, *_: object) -> None:
        self.noticed = True
        if not self._deferred:
            sys.exit(TERMINATED)
