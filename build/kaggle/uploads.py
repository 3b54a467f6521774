"""One file goes up: announced, sent, and resumed at the byte after a broken connection or a killed process.

Announced through the real client, sent by us: `KaggleApi.upload_complete` (2.2.4) opens a `requests.Session` of its own
with no time limit and mounts adapters of its own on it, so neither a limit nor our guard (wire.py) can be put under it
short of replacing `requests` in the client's module. And when it fails, `_upload_blob` returns None and `upload_files`
goes on without the file, so a dataset without it is published; its notes go by path, size and time, not by content.

The protocol is the one that it speaks too (resumable uploads of Google's store, facts/kaggle-platform.md); a file that
does not arrive stops everything before the dataset is touched.

What was announced is kept in `<state>/<digest>.json`, named by content, so that bytes of two versions never mix.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from build.core.errors import CheckFailed, Problem
from build.kaggle.explain import Asked
from build.kaggle.retry import failures, send
from build.kaggle.wire import open_session
from kernel_src.runtime.files import sha256_of

if TYPE_CHECKING:
    from requests import Response

EXPIRY_S = 6 * 24 * 3600  # Google's store keeps a resumable upload for a week
Announce = Callable[[Path], tuple[str, str]]  # path → token, address
Advance = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True)
class Announced:
    """An upload that the server waits for."""

    token: str
    address: str
    begun: float  # seconds since the epoch


@dataclass(frozen=True)
class Uploads:
    """The uploads of one dataset."""

    state: Path  # folder of what was announced
    account: str
    asked: Asked
    announce: Announce
    sent_before: dict[str, int] = field(default_factory=dict)  # file → bytes that an earlier run had sent

    def upload(self, path: Path, advance: Advance) -> str:
        """Send one file, or the rest of it, and return its token.

        Raises:
            CheckFailed: it did not arrive whole.
        """
        note = self._note(path)
        known = _recall(note)
        if known is not None and self._finish(known, path, advance, resume=True):
            return known.token
        # Nothing to go on with, or the server forgot it: from the start.
        token, address = self.announce(path)
        known = Announced(token, address, time.time())
        _remember(note, known)
        if not self._finish(known, path, advance, resume=False):
            note.unlink(missing_ok=True)
            what = "Kaggle's store refused the upload, or lost it on the way"
            raise CheckFailed([Problem(what=what, where=str(path), cure="run the same command again")])
        return token

    def forget(self, paths: list[Path]) -> None:
        """Throw the notes away: these uploads are part of a dataset now, or useless."""
        for path in paths:
            self._note(path).unlink(missing_ok=True)

    def _note(self, path: Path) -> Path:
        identity = "\n".join([self.account, self.asked.ref, path.name, sha256_of(path)])
        return self.state / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.json"

    def _finish(self, known: Announced, path: Path, advance: Advance, *, resume: bool) -> bool:
        """Send what is missing; False: the server knows nothing of this upload."""
        size = path.stat().st_size
        attempts = 0

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            start = 0
            if resume or attempts > 1:
                response = _ask(known.address, size)
                if _is_final(response):
                    return False
                whole = response.status_code != 308
                if whole:
                    response.raise_for_status()
                start = size if whole else _received(response)
                if attempts == 1:
                    self.sent_before[path.name] = start
                if whole:
                    return True
            response = _put(known.address, path, start, size, advance)
            if _is_final(response):
                return False
            response.raise_for_status()
            if response.status_code == 308:  # taken, but not all of it
                raise ConnectionError("the store has only a part of the file")
            return True

        # Asking how much is there and sending the rest changes nothing twice, so a lost response needs no settling.
        return send(attempt, self.asked)


def break_off(address: str, path: Path, at: int) -> int:
    """Send the first bytes of a file and break the connection off; return how many were handed over."""
    sent = 0

    def advance(done: int, _: int) -> None:
        nonlocal sent
        if done > at:
            raise ConnectionError("broken off on purpose")
        sent = done

    with contextlib.suppress(*failures()):
        _put(address, path, 0, path.stat().st_size, advance)
    return sent


def bytes_there(address: str, size: int, asked: Asked) -> int | None:
    """Ask the store how much of a file it has; None: it knows nothing of it.

    Raises:
        CheckFailed: it does not answer.
    """

    def look() -> int | None:
        response = _ask(address, size)
        if _is_final(response):
            return None
        if response.status_code != 308:
            response.raise_for_status()
            return size
        return _received(response)

    return send(look, asked)


def send_rest(address: str, path: Path, start: int, asked: Asked) -> bool:
    """Send a file from a byte on; return whether the store then has it whole.

    Raises:
        CheckFailed: it does not answer.
    """
    size = path.stat().st_size
    return send(lambda: _put(address, path, start, size, lambda done, total: None).status_code in (200, 201), asked)


def _ask(address: str, size: int) -> "Response":
    with open_session() as session:
        headers = {"Content-Length": "0", "Content-Range": f"bytes */{size}"}
        return session.put(address, headers=headers, allow_redirects=False)


def _put(address: str, path: Path, start: int, size: int, advance: Advance) -> "Response":
    headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
    with path.open("rb") as handle, open_session() as session:
        handle.seek(start)
        body = _Counted(handle, start, size, advance)
        return session.put(address, data=body, headers=headers, allow_redirects=False)


def _is_final(response: "Response") -> bool:
    """Return whether this upload is lost: expired or unknown (4xx), other than 408 and 429."""
    return 400 <= response.status_code < 500 and response.status_code not in (408, 429)


class _Counted:
    """A file with the count of what was read of it; requests takes `len` for the Content-Length."""

    def __init__(self, handle: object, start: int, size: int, advance: Advance) -> None:
        self._handle, self._done, self._size, self._advance = handle, start, size, advance
        self._left = size - start

    def __len__(self) -> int:
        return self._left

    def __iter__(self) -> "_Counted":  # requests streams only what can be iterated
        return self

    def read(self, size: int = -1) -> bytes:
        block: bytes = self._handle.read(size)  # type: ignore[attr-defined]
        self._done += len(block)
        self._advance(self._done, self._size)
        return block

    def __next__(self) -> bytes:
        if block := self.read(1 << 16):
            return block
        raise StopIteration


def _received(response: "Response") -> int:
    """Read how many bytes the store has; no header means none."""
    header = response.headers.get("Range", "")
    if not header:
        return 0
    found = re.fullmatch(r"bytes=0-(\d+)", header.strip())
    if not found:
        raise ConnectionError(f"the store's Range header is {header!r}")
    return int(found[1]) + 1


def _recall(note: Path) -> Announced | None:
    try:
        known = Announced(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return known if known.begun > time.time() - EXPIRY_S else None


def _remember(note: Path, known: Announced) -> None:
    """Write the note so that only its owner can read it: the address is as good as a password for this one file."""
    note.parent.mkdir(parents=True, exist_ok=True)
    note.parent.chmod(0o700)
    draft = note.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as handle:
        json.dump(asdict(known), handle)
    draft.replace(note)
