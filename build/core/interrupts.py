"""Ctrl-C that is not lost.

Python throws a KeyboardInterrupt away where it falls into a finalizer, and a library may turn one into an error of its
own. So it is also noted, and raised again by whatever goes on.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # what a shell reports after Ctrl-C
_noted = threading.Event()


@contextmanager
def noting_interrupts() -> Iterator[Callable[[], bool]]:
    """Note each Ctrl-C while the block goes on; yields what says whether there was one.

    Where the signal is ignored (a background job) or is not ours to handle (another thread), it stays so.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield _noted.is_set
        return

    def note(number: int, frame: FrameType | None) -> None:
        _noted.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield _noted.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _noted.clear()


def raise_noted() -> None:
    """Go no further if Ctrl-C was pressed.

    Raises:
        KeyboardInterrupt: it was noted, and the one of then did not end the work.
    """
    if _noted.is_set():
        raise KeyboardInterrupt
