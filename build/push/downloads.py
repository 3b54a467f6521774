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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from build.problems import CheckFailed, Problem
from build.progress import counting
from build.push.explain import Asked
from build.push.retry import send
from build.push.wire import open_session
from kernel_src.common.files import write_json

if TYPE_CHECKING:
    from requests import Response

BLOCK = 1 << 18  # bytes
Advance = Callable[[int, int], None]  # bytes done, bytes in all (0: not known)
_PART = re.compile(r"(?!\.\.?$)[^\\/:\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True)
class Mark:
    """Which object a part belongs to."""

    validator: str  # ETag or Last-Modified
    size: int


def safe_path(folder: Path, name: str) -> Path:
    """Return where a file named by somebody else belongs, below `folder`.

    Raises:
        CheckFailed: it would lie outside, also by way of a link that is already there.
    """
    parts = PurePosixPath(name).parts
    sound = bool(parts) and not name.startswith("/") and all(_PART.fullmatch(part) for part in name.split("/"))
    place = folder.joinpath(*parts) if sound else folder
    if sound:
        step = folder
        for part in parts:
            step = step / part
            sound = sound and not step.is_symlink()
    if not sound:
        what = f"the server names a file {name!r}, which would not stay in its folder; nothing of it was written"
        raise CheckFailed([Problem(what=what, where=str(folder), cure="look at the page on Kaggle; do not use it")])
    return place


def read_small(limit_bytes: int) -> Callable[["Response"], bytes]:
    """Return a reader of a whole answer into memory, up to a limit."""

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
        CheckFailed: a name that leads out of the folder (then nothing is written), or too many bytes.
    """
    places = {name: safe_path(into, name) for name in addresses}
    _refuse_twins(into, list(addresses))
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


def _refuse_twins(into: Path, names: list[str]) -> None:
    """Refuse names that some disk takes for the same (case, Unicode form), and a file that another needs as folder."""
    known: dict[str, str] = {}
    for name in names:
        parts = unicodedata.normalize("NFC", name).casefold().split("/")
        for depth in range(1, len(parts) + 1):
            exact = "/".join(name.split("/")[:depth]) + ("" if depth == len(parts) else "/")
            other = known.setdefault("/".join(parts[:depth]), exact)
            if other != exact:
                what = f"the server names {other!r} and {exact!r}, which cannot both be; nothing was written"
                raise CheckFailed([Problem(what=what, where=str(into), cure="write each file under a name of its own")])


def continue_download(
    place: Path, *, limit_bytes: int, advance: Advance = lambda done, total: None
) -> Callable[["Response"], None]:
    """Return a reader that brings an answer's body to `place`; called again after a break it goes on at the byte."""

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
