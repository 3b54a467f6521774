"""The folder for what a rehearsal and its sandbox exchange: locked while in use, removed, also by the next run."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PREFIX = "i2b-rehearsal-"
LOCK = "i2b-rehearsal.lock"
# Ours alone; everything else lies in `box`, which the notebook can write to.
_OURS = {"plan": "plan.json", "log": "log", "report": "report", "rootfs": "rootfs", "resolver": "resolv.conf"}


@dataclass(frozen=True)
class Scratch:
    """The files that a rehearsal and its sandbox exchange; all throw-away."""

    root: Path

    @property
    def box(self) -> Path:
        """The part that the sandbox can write to: nothing in it is what it was when it was put there."""
        return self.root / "box"

    def __getattr__(self, name: str) -> Path:
        """Name a file by its role: `scratch.progress`, `scratch.events`, …."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self.root / _OURS[name] if name in _OURS else self.box / name


@contextmanager
def scratch_folder() -> Iterator[Scratch]:
    """Make the folder, and remove it in the end; first removes what killed rehearsals left of theirs."""
    remove_leftovers(Path(tempfile.gettempdir()))
    scratch = Scratch(Path(tempfile.mkdtemp(prefix=PREFIX)))
    lock = os.open(scratch.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # goes with this process, however that ends
        scratch.box.mkdir()
        yield scratch
    finally:
        remove_tree(scratch.root)
        os.close(lock)


def remove_leftovers(temporary: Path) -> list[Path]:
    """Remove the folders of rehearsals that were killed: of this user, made by us, and locked by nobody.

    A folder without a lock file is either being made this moment or not ours.
    """
    removed = []
    for folder in sorted(temporary.glob(f"{PREFIX}*")):
        try:
            seen = folder.lstat()
            if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid() or stat.S_IMODE(seen.st_mode) != 0o700:
                continue
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # it went meanwhile, or has no lock
        try:
            if not stat.S_ISREG(os.fstat(lock).st_mode):
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # a rehearsal that runs
        else:
            remove_tree(folder)
            removed.append(folder)
        finally:
            os.close(lock)
    return removed


def remove_tree(folder: Path) -> None:
    """Remove a folder that a notebook wrote to: folders without rights are opened first, links are not followed."""
    for inner, names, _ in os.walk(folder):
        for name in names:
            path = Path(inner, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)
