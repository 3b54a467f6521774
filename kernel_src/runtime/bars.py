"""## Progress bars of several processes

The lock of tqdm's bars is shared with every forked process.
"""

from threading import RLock

from tqdm.auto import tqdm


def own_bars() -> None:
    """Give the bars of a forked process a lock of its own; call it before the first of them.

    A process that is killed while it holds the shared lock keeps it for ever: the next bar of its parent, or of the
    process that takes its place, would wait for it without end.
    """
    tqdm.set_lock(RLock())
