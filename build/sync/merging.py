"""Three texts become one: git merge-file, as everybody's git does it."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from build.problems import WrongUse

LABELS = ("sources", "build", "notebook")


@dataclass(frozen=True)
class Merge:
    """The merged text, with conflict markers where both sides changed the same lines differently."""

    text: str
    conflicts: int


def merge_text(mine: str, base: str, theirs: str) -> Merge:
    """Merge two changes of one text.

    Raises:
        WrongUse: there is no git on this machine.
    """
    if mine == base or mine == theirs:
        return Merge(theirs, 0)
    if theirs == base:
        return Merge(mine, 0)
    with tempfile.TemporaryDirectory(prefix="kit-merge-") as folder:
        paths = [Path(folder, name) for name in LABELS]
        for path, text in zip(paths, (mine, base, theirs), strict=True):
            path.write_bytes(text.encode())
        labels = [part for label in LABELS for part in ("-L", label)]
        try:
            # Outside of any repository: its settings (merge.conflictStyle) must not decide what is written.
            done = subprocess.run(
                ["git", "merge-file", "-p", *labels, *paths],
                capture_output=True,
                cwd=folder,
                env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
            )
        except FileNotFoundError:
            raise WrongUse("there is no git on this machine, which merges the edits → install git") from None
    if done.returncode < 0 or done.returncode > 127:
        raise WrongUse(f"git merge-file failed: {done.stderr.decode().strip()}")
    return Merge(done.stdout.decode(), done.returncode)
