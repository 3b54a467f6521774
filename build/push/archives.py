"""A downloaded archive is unpacked: every name is looked at before the first byte is written.

Refused: names that lead out of the folder, links and devices, names twice (also when only case differs: they are one
file on some disks), encrypted members, more bytes or files than expected. The content is checked by its CRC-32.
"""

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from build.problems import CheckFailed, Problem
from build.push.downloads import safe_path

MAX_FILES = 200_000
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
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        problem = Problem(what=f"the archive is damaged ({error})", where=str(archive), cure=f"rm {archive}, run again")
        raise CheckFailed([problem]) from error
    return {member.filename: member.file_size for member in members}


def find_problems(members: list[zipfile.ZipInfo], into: Path, archive: Path, limit_bytes: int) -> list[Problem]:
    """List what speaks against unpacking."""
    found: list[Problem] = []
    seen: set[str] = set()

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
            add(f"{member.filename!r} is a link or a device")
        if member.flag_bits & 1:
            add(f"{member.filename!r} is encrypted")
        try:
            safe_path(into, member.filename.rstrip("/") if member.is_dir() else member.filename)
        except CheckFailed as failed:
            found += failed.problems
        folded = member.filename.rstrip("/").casefold()
        if folded in seen:
            add(f"{member.filename!r} is there twice")
        seen.add(folded)
    files = {member.filename.casefold() for member in members if not member.is_dir()}
    for name in sorted(files):
        if any(parent.as_posix() in files for parent in PurePosixPath(name).parents):
            add(f"{name!r} lies in what is also a file")
    return found


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path) -> None:
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with opened.open(member) as source, draft.open("wb") as target:
            while block := source.read(_BLOCK):  # never more than file_size; the CRC is checked at the end
                target.write(block)
        os.replace(draft, place)
    finally:
        draft.unlink(missing_ok=True)
