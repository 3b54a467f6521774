"""Bytes come down: resumed at the byte, bounded in size, confined to their folder, in place only when whole.

The limit counts the bytes that come, after decompression, whatever length the server announces, or none.

An unfinished download is `<name>.part` beside its place, with `<name>.part.json` saying of which object it is a part:
only where the server's own mark (ETag or date) and the size agree, bytes are added to it.
"""

import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from build.core.errors import CheckFailed, Problem
from build.core.foreign_text import shown
from build.core.progress import counting
from build.core.secret_scan import holds_secret
from build.kaggle.explain import Asked
from build.kaggle.retry import send
from build.kaggle.wire import open_session
from kernel_src.runtime.files import write_json
from kernel_src.runtime.untrusted import LONGEST_NAME, quoted

if TYPE_CHECKING:
    from requests import Response

BLOCK = 1 << 18  # bytes
Advance = Callable[[int, int], None]  # bytes done, bytes in all (0: not known)
DEEPEST = 32  # folders within each other
MOST_PROBLEMS = 20  # of one kind in one message
_PATH_STEPS = {".", ".."}
_PART = re.compile(r"(?!\.\.?$)[^\\/:\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True)
class Mark:
    """Which object a part belongs to."""

    validator: str  # ETag or Last-Modified
    size: int


def safe_path(folder: Path, name: str) -> Path:
    """Return where a file named by somebody else belongs, below `folder`.

    Raises:
        CheckFailed: it would lie outside, also by way of a link that is already there; it is hidden, cannot be a file's
            name, or holds a credential.
    """
    if fault := _fault_of_name(folder, name):
        what = f"the server names a file {quoted(name)}, {fault}; nothing of it was written"
        raise CheckFailed([Problem(what=what, where=str(folder), cure="look at the page on Kaggle; do not use it")])
    return folder.joinpath(*PurePosixPath(name).parts)


def is_hidden(name: str) -> bool:
    """Return whether a part of a name begins with a dot: programs read such files unasked (.git/hooks, .bashrc)."""
    return any(part.startswith(".") for part in name.split("/"))


def _fault_of_name(folder: Path, name: str) -> str:
    """Say why not to write a file of this name below `folder`; "" if nothing."""
    parts = name.split("/")
    if name.startswith("/") or not all(_PART.fullmatch(part) for part in parts):
        return "which would not stay in its folder"
    if is_hidden(name):
        return "which is hidden: programs read such files unasked"
    if not name.isprintable() or len(parts) > DEEPEST or max(len(part.encode()) for part in parts) > LONGEST_NAME:
        return "which is too long, too deep or not printable"
    if holds_secret(name):
        return "with a credential of this machine in it"
    step = folder
    for number, part in enumerate(parts, 1):
        step = step / part
        if step.is_symlink():
            return "which would not stay in its folder: a link leads out of it"
        if step.exists() and step.is_dir() == (number == len(parts)):
            return f"and {step} is {'a folder' if step.is_dir() else 'a file'} already"
    return ""


def conflicting_names(names: Iterable[str]) -> list[str]:
    """Say which names are one file on some disks (case, Unicode forms), or a file and a folder at once."""
    found: list[str] = []
    seen: dict[str, str] = {}
    for name in names:
        folded = fold_name(name)
        if folded in seen:
            found.append(f"{quoted(name)} is there twice, if only as {quoted(seen[folded])}")
        seen[folded] = name
    for folded, name in seen.items():
        parents = (parent.as_posix() for parent in PurePosixPath(folded).parents)
        if other := next((parent for parent in parents if parent in seen), ""):
            found.append(f"{quoted(name)} lies in what is also a file, {quoted(seen[other])}")
    return found


def fold_name(name: str) -> str:
    """Return the name as the least particular disk sees it."""
    return "/".join(unicodedata.normalize("NFKC", part).casefold().rstrip(". ") for part in name.split("/"))


def read_small(limit_bytes: int) -> Callable[["Response"], bytes]:
    """Return a reader of a whole response into memory, up to a limit."""

    def read(response: "Response") -> bytes:
        found = b""
        for block in response.iter_content(BLOCK):
            found += block
            if len(found) > limit_bytes:
                raise too_large(response.url.partition("?")[0], limit_bytes)
        return found

    return read


def fetch_files(addresses: Mapping[str, str], into: Path, asked: Asked, *, limit_bytes: int) -> dict[str, int]:
    """Download files that the API named into a folder; return name → bytes.

    Raises:
        CheckFailed: a name that leads out of the folder, or two that are one (then nothing is written), or too many
            bytes.
    """
    if hidden := sorted(name for name in addresses if is_hidden(name) and not _PATH_STEPS & set(name.split("/"))):
        print(f"      hidden files are not downloaded: {shown(', '.join(map(quoted, hidden)))}", file=sys.stderr)
        addresses = {name: address for name, address in addresses.items() if name not in hidden}
    if problems := conflicting_names(addresses):
        cure = "look at the page on Kaggle; nothing was written"
        raise CheckFailed([Problem(what=what, where=str(into), cure=cure) for what in problems[:MOST_PROBLEMS]])
    places = {name: safe_path(into, name) for name in addresses}
    into.mkdir(parents=True, exist_ok=True)
    sizes: dict[str, int] = {}
    with counting("downloading, files", quiet=not sys.stdout.isatty()) as advance:
        for number, (name, address) in enumerate(sorted(addresses.items())):
            advance(number, len(addresses))
            left = limit_bytes - sum(sizes.values())
            take = continue_download(places[name], limit_bytes=left)
            places[name].parent.mkdir(parents=True, exist_ok=True)

            def attempt(address: str = address, take: Callable[["Response"], None] = take) -> None:
                with open_session() as session:
                    response = session.get(address, stream=True, headers={"Accept-Encoding": "identity"})
                    response.raise_for_status()
                    take(response)

            send(attempt, asked)
            sizes[name] = places[name].stat().st_size
    return sizes


def continue_download(
    place: Path, *, limit_bytes: int, advance: Advance = lambda done, total: None
) -> Callable[["Response"], None]:
    """Return a reader that writes a response's body to `place`; called again after a break it goes on at the byte."""

    def take(response: "Response") -> None:
        size = _length(response)
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        mark = Mark(validator, size) if validator and size else None
        if size > limit_bytes:
            raise too_large(place.name, limit_bytes, size)
        part = place.with_name(f"{place.name}.part")
        start = _held(part, mark)
        if start and mark and start < mark.size:
            response.close()
            _add(part, response.url, start, mark, limit_bytes, advance)
        elif not (start and mark):
            _note(part, mark)
            _write(part, "wb", response, 0, size, limit_bytes, advance)
        found = part.stat().st_size
        if mark and found != mark.size:
            _discard(part)
            raise ConnectionError(f"{found} bytes came instead of {mark.size}")
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(part, place)
        _discard(part)

    return take


def _add(part: Path, address: str, start: int, mark: Mark, limit_bytes: int, advance: Advance) -> None:
    """Ask for the rest; a server that sends everything instead is taken from the start."""
    headers = {"Range": f"bytes={start}-", "If-Range": mark.validator, "Accept-Encoding": "identity"}
    with open_session() as session:
        rest = session.get(address, stream=True, headers=headers)
        rest.raise_for_status()
        if rest.status_code == 206 and rest.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            _write(part, "ab", rest, start, mark.size, limit_bytes, advance)
        elif rest.status_code == 200:
            _write(part, "wb", rest, 0, mark.size, limit_bytes, advance)
        else:
            _discard(part)
            raise ConnectionError("the server sends another part than it was asked for")


def _write(part: Path, mode: str, source: "Response", start: int, size: int, limit: int, advance: Advance) -> None:
    done = start
    with part.open(mode) as handle:
        for block in source.iter_content(BLOCK):
            done += len(block)
            if done > limit or (size and done > size):
                handle.close()
                _discard(part)
                raise too_large(part.stem, min(limit, size or limit))
            handle.write(block)
            advance(done, size)


def _length(response: "Response") -> int:
    """Return how many bytes will come, as far as the server says: 0 if it does not, or if they come compressed."""
    said = response.headers.get("Content-Length", "")
    plain = response.headers.get("Content-Encoding", "identity") == "identity"
    return int(said) if plain and said.isdecimal() else 0


def _held(part: Path, mark: Mark | None) -> int:
    """Return how many bytes of this very object are there; 0 if they are of another, or none."""
    try:
        known = Mark(**json.loads(part.with_name(f"{part.name}.json").read_text(encoding="utf-8")))
        return part.stat().st_size if mark and known == mark else 0
    except (OSError, ValueError, TypeError):
        return 0


def _note(part: Path, mark: Mark | None) -> None:
    _discard(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    if mark:
        write_json(part.with_name(f"{part.name}.json"), asdict(mark))


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.json").unlink(missing_ok=True)


def too_large(name: str, limit_bytes: int, size: int = 0) -> CheckFailed:
    """Say that a file is larger than it may be, or than the server said."""
    what = f"{name} has {size:,} bytes" if size else f"{name} goes on after {limit_bytes:,} bytes"
    cure = f"{limit_bytes:,} are allowed here; look at the page on Kaggle"
    return CheckFailed([Problem(what=f"{what}: it was not kept", cure=cure)])
