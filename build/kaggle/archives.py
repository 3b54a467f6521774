"""A downloaded archive is unpacked: every name is looked at before the first byte is written.

Refused: names that lead out of the folder, hidden ones (.git/hooks, .bashrc), links and devices, names twice (also when
only case or the Unicode form differs: they are one file on some disks), encrypted members, more bytes or files than
expected. The content is checked by its CRC-32.
"""

import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.kaggle.downloads import MOST_PROBLEMS, conflicting_names, fold_name, safe_path
from kernel_src.runtime.untrusted import quoted

MAX_FILES = 200_000
# What Python's zipfile and its decompressors raise for what is not a whole, plain zip; bz2 raises a bare OSError.
DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    IndexError,
    OSError,
)
_BLOCK = 1 << 20


def unpack(archive: Path, into: Path, *, limit_bytes: int, advance: Callable[[int, int], None]) -> dict[str, int]:
    """Unpack a zip into a folder, each file whole or not at all; return name → bytes.

    Raises:
        CheckFailed: no zip, damaged, or with something that must not be written; then nothing was.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            if problems := find_problems(opened.infolist(), into, archive, limit_bytes):
                raise CheckFailed(problems)
            for number, member in enumerate(members):
                place = safe_path(into, member.filename)
                place.parent.mkdir(parents=True, exist_ok=True)
                _extract(opened, member, place)
                advance(number + 1, len(members))
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            what, cure = f"this machine could not unpack it: {error}", "free some space or allow access, then run again"
        else:
            what = f"the archive is damaged, or of a kind that Python cannot unpack ({error})"
            cure = "download it again"
        raise CheckFailed([Problem(what=what, where=str(archive), cure=cure)]) from error
    return {member.filename: member.file_size for member in members}


def find_problems(members: list[zipfile.ZipInfo], into: Path, archive: Path, limit_bytes: int) -> list[Problem]:
    """List the reasons not to unpack."""
    found: list[Problem] = []

    def add(what: str) -> None:
        found.append(Problem(what=what, where=str(archive), cure="nothing was unpacked; do not use this archive"))

    total = sum(member.file_size for member in members)
    if total > limit_bytes:
        add(f"it would unpack to {total:,} bytes; {limit_bytes:,} are allowed")
    if len(members) > MAX_FILES:
        add(f"it holds {len(members):,} files; {MAX_FILES:,} are allowed")
    free = shutil.disk_usage(into if into.exists() else _existing(into)).free
    if limit_bytes >= total > free:
        add(f"it would unpack to {total:,} bytes; the disk has {free:,}")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            add(f"{quoted(member.filename)} is a link or a device")
        if member.flag_bits & 1:
            add(f"{quoted(member.filename)} is encrypted")
        try:
            if member.is_dir():
                safe_path(into, f"{member.filename.rstrip('/')}/x")
            else:
                safe_path(into, member.filename)
        except CheckFailed as failed:
            found += failed.problems
    for what in conflicting_names(member.filename for member in members if not member.is_dir()):
        add(what)
    files = {fold_name(member.filename) for member in members if not member.is_dir()}
    for folder in sorted({member.filename.rstrip("/") for member in members if member.is_dir()}):
        if fold_name(folder) in files:
            add(f"{quoted(folder)} is a file and a folder")
    if len(found) > MOST_PROBLEMS:
        rest = f"{len(found) - MOST_PROBLEMS} more of these"
        found = [*found[:MOST_PROBLEMS], Problem(what=rest, where=str(archive), cure=found[0].cure)]
    return found


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path) -> None:
    draft = place.with_name(f".{place.name}.unpacking")  # one that a kill has left is written over
    try:
        with opened.open(member) as source, draft.open("wb") as target:
            while block := source.read(_BLOCK):  # never more than file_size; the CRC is checked at the end
                target.write(block)
        os.replace(draft, place)
    finally:
        draft.unlink(missing_ok=True)
