"""Three texts become one: git merge-file, as everybody's git does it."""

import os
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from build.core.errors import UsageError

LABELS = ("sources", "build", "notebook")


@dataclass(frozen=True)
class Merge:
    """The merged text, with conflict markers where both sides changed the same lines differently."""

    text: str
    conflicts: int


def merge_text(mine: str, base: str, theirs: str) -> Merge:
    """Merge two changes of one text.

    Raises:
        UsageError: there is no git on this machine.
    """
    if mine == base or mine == theirs:
        return Merge(theirs, 0)
    if theirs == base:
        return Merge(mine, 0)
    with tempfile.TemporaryDirectory(prefix="kit-merge-") as folder:
        paths = [Path(folder, name) for name in LABELS]
        for path, text in zip(paths, (mine, base, theirs), strict=True):
            path.write_bytes(text.encode())
        try:
            # Outside of any repository: its settings (merge.conflictStyle) must not decide what is written.
            done = subprocess.run(
                ["git", "merge-file", "-p", "-L", LABELS[0], "-L", LABELS[1], "-L", LABELS[2], "--", *paths],
                capture_output=True,
                cwd=folder,
                env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
            )
        except FileNotFoundError:
            raise UsageError("git, which merges the edits, is not installed → install git") from None
    if done.returncode < 0 or done.returncode > 127:
        raise UsageError(f"git merge-file failed: {done.stderr.decode().strip()}")
    text = done.stdout.decode()
    if not done.returncode and _doubled(mine, base, theirs, text):
        return Merge(_both(mine, theirs), 1)
    return Merge(text, done.returncode)


def _doubled(mine: str, base: str, theirs: str, merged: str) -> bool:
    """Whether a line that both sides brought in stands in the merged text more often than on either side.

    Between alike lines (blank ones, `# %%`) a merge may place one and the same new function twice, side by side.
    """
    one, other, both = (Counter(text.split("\n")) for text in (mine, theirs, merged))
    new = {line for line in one.keys() & other.keys() if line.strip(" #%")} - set(base.split("\n"))
    return any(both[line] > max(one[line], other[line]) for line in new)


def _both(mine: str, theirs: str) -> str:
    """Write both sides between conflict markers, without the lines that they begin and end with alike."""
    one, other = mine.split("\n"), theirs.split("\n")
    head = len(os.path.commonprefix([one, other]))
    tail = len(os.path.commonprefix([one[head:][::-1], other[head:][::-1]]))
    middle = ["<<<<<<< sources", *one[head : len(one) - tail], "=======", *other[head : len(other) - tail]]
    return "\n".join([*one[:head], *middle, ">>>>>>> notebook", *one[len(one) - tail :]])
