"""`make data`: the competition's files, downloaded once, checked against Kaggle's list, unpacked safely.

What is there with the right size is not fetched again. A broken download goes on at the byte; files that are already in
the folder and that Kaggle does not name are left alone.
"""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.core.progress import counting
from build.kaggle.archives import unpack
from build.kaggle.client import Kaggle
from build.kaggle.downloads import safe_path

SPARE_BYTES = 10**8  # of the disk that are left free


@dataclass(frozen=True, kw_only=True)
class Data:
    """The competition's files on this machine."""

    folder: str
    files: int
    bytes: int
    outcome: str  # "downloaded" or "already there"
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in one line, and a line per note."""
        lines = (f"{self.outcome}: {self.folder}, {self.files} files, {self.bytes / 1e6:.1f} MB", *self.notes)
        return "\n".join(lines)


def fetch_data(client: Kaggle, competition: str, folder: Path, *, limit_bytes: int) -> Data:
    """Download the competition's files into a folder, unless they are there.

    Raises:
        CheckFailed: rules not accepted, no room, or an archive that is damaged, unsafe, or not what Kaggle lists.
    """
    listed = client.competition_files(competition)
    for name in listed:
        safe_path(folder, name)
    if listed and not find_missing(listed, folder):
        return _data(folder, listed, "already there")
    total = sum(listed.values())
    _check_room(folder, total, limit_bytes)
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder.with_name(f".{folder.name}.zip")
    quiet = not sys.stdout.isatty()
    if not archive.is_file():  # whole, from a run that was stopped while it unpacked
        with counting("downloading, bytes", quiet) as advance:
            client.download_competition(competition, archive, limit_bytes=limit_bytes, advance=advance)
    with counting("unpacking, files", quiet) as advance:
        try:
            unpacked = unpack(archive, folder, limit_bytes=limit_bytes, advance=advance)
        finally:
            # A stop by Ctrl-C keeps it, too; an archive that was refused or is damaged would be so again.
            if not isinstance(sys.exc_info()[1], KeyboardInterrupt):
                archive.unlink(missing_ok=True)
    if lost := sorted(set(listed) - set(unpacked)):
        what = f"the archive lacks {len(lost)} of the {len(listed)} files that Kaggle lists, e.g. {lost[0]}"
        raise CheckFailed([Problem(what=what, where=str(folder), cure="run the same command again")])
    # The archive's CRC-32 vouches for the bytes; a listed size that differs is worth a line, not a refusal.
    other = [name for name, size in listed.items() if size and unpacked[name] != size]
    notes = (f"{len(other)} files are of another size than Kaggle lists, e.g. {other[0]}",) if other else ()
    return _data(folder, unpacked, "downloaded", notes)


def find_missing(listed: Mapping[str, int], folder: Path) -> list[str]:
    """Name the listed files that are not there, or of another size."""
    places = {name: folder / name for name in listed}
    return [name for name, place in places.items() if not place.is_file() or place.stat().st_size != listed[name]]


def _check_room(folder: Path, total: int, limit_bytes: int) -> None:
    """Stop before the first byte where there is no room for the archive and what comes out of it."""
    there = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if total > limit_bytes:
        what, cure = f"the data are {total / 1e9:.1f} GB; the limit is {limit_bytes / 1e9:.1f}", "raise it: --limit-gb"
    elif 2 * total + SPARE_BYTES > free:
        what = f"the data are {total / 1e9:.1f} GB, once packed and once unpacked; the disk has {free / 1e9:.1f}"
        cure = "make room, or name another disk with --folder"
    else:
        return
    raise CheckFailed([Problem(what=what, where=str(folder), cure=cure)])


def _data(folder: Path, files: Mapping[str, int], outcome: str, notes: tuple[str, ...] = ()) -> Data:
    return Data(folder=str(folder), files=len(files), bytes=sum(files.values()), outcome=outcome, notes=notes)
