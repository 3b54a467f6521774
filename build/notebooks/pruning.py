"""out/builds/ stays small: builds that nothing here needs any more are deleted, the oldest first.

Needed are the builds of the notebooks that lie here (built, kept, pulled, overwritten) and of the last pushes of each
kernel: their edits could not be written back otherwise. A deleted build that was committed is still found in git's history.
"""

import time
from collections import Counter
from pathlib import Path

from build.notebooks.base import BUILDS, TEXTS, blobs_of, store_held
from build.notebooks.edited_cells import built_from
from build.notebooks.writing import SYNC

LIMIT_BYTES = 100 << 20
LIMIT_S = 90 * 24 * 3600  # since it was built last
YOUNG_S = 24 * 3600  # younger ones stay whatever they weigh: a copy may be open in some editor
PUSHES = 3  # of each kernel: the site may or may not have a push whose answer was lost
_PUSHED = Path("out", "push", "pushed")
_LYING = ("notebooks/*/*.ipynb", "out/overwritten/*/*.ipynb", f"{SYNC}/kept/*.ipynb", f"{SYNC}/pulled/*.ipynb")


def prune(root: Path, limit_bytes: int = LIMIT_BYTES, limit_s: float = LIMIT_S) -> list[str]:
    """Forget builds that are old, or the oldest where there is too much of them; return their hashes."""
    folder = root / BUILDS
    now = time.time()
    with store_held(root):
        entries = {path: path.stat() for path in folder.glob("*.json")}
        sizes = {path.name: path.stat().st_size for path in (folder / TEXTS).glob("*") if path.is_file()}
        total = sum(sizes.values()) + sum(status.st_size for status in entries.values())
        if total <= limit_bytes and all(now - status.st_mtime <= limit_s for status in entries.values()):
            return []
        needed = needed_builds(root)
        blobs = {path: blobs_of(path) for path in entries}
        users = Counter(blob for names in blobs.values() for blob in names)
        for blob in sizes.keys() - users.keys():  # left by a kill
            (folder / TEXTS / blob).unlink()
            total -= sizes[blob]
        deleted = []
        for path, status in sorted(entries.items(), key=lambda item: item[1].st_mtime):
            age_s = now - status.st_mtime
            if path.stem in needed or not (age_s > limit_s or (total > limit_bytes and age_s > YOUNG_S)):
                continue
            path.unlink()  # first: a kill leaves texts without a build, never a build without its texts
            deleted.append(path.stem)
            total -= status.st_size
            users.subtract(blobs[path])
            for blob in blobs[path]:
                if users[blob] == 0:
                    (folder / TEXTS / blob).unlink(missing_ok=True)
                    total -= sizes.get(blob, 0)
    return deleted


def needed_builds(root: Path) -> set[str]:
    """Return the hashes of the builds whose notebooks may still be edited."""
    notebooks = [path for pattern in _LYING for path in root.glob(pattern)]
    for kernel in (root / _PUSHED).glob("*"):
        notebooks += sorted(kernel.glob("*.ipynb"), key=lambda path: path.stat().st_mtime)[-PUSHES:]
    return {built_from(path.read_bytes()) for path in notebooks if path.is_file()} - {""}
