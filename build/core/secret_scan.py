"""The credentials of this machine in files that are about to leave it: found by content, whatever the file is called.

A file is read in blocks for a secret as it is, in UTF-16, in hex and in base64 (so also of `user:key`); a text is read
as foreign_text.py reads one, and of a zip (.npz, .pt, .whl) each compressed member as well.
"""

import os
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from build.core.credentials import CREDENTIAL_FILES, CREDENTIAL_SUFFIXES, TOKEN_PAGE, credential_files, secrets
from build.core.errors import Problem
from build.core.foreign_text import SHORT, encoded_forms, secret_spans

BLOCK = 1 << 22  # bytes
TEXT_BYTES = 8_000_000  # of a file that is also read as text
UNPACKED_BYTES = 20 * 10**9  # of a zip's members; one that holds more is refused
_ISSUED = re.compile(r"[0-9a-f]{32}|KGAT_.+|eyJ.+")
WITHDRAW = f"revoke it at {TOKEN_PAGE}, then remove it here and from git's history"


def is_credential_name(name: str) -> bool:
    """Say whether files of this name hold credentials."""
    lower = name.lower()
    return lower in CREDENTIAL_FILES or lower.endswith(CREDENTIAL_SUFFIXES) or lower.lstrip(".") in CREDENTIAL_FILES


def is_credential_file(path: Path) -> bool:
    """Say whether this is a credential file of this machine under another name: a hard link."""
    return any(os.path.samefile(path, one) for one in credential_files())


def find_secret(path: Path, among: Collection[str] | None = None) -> str:
    """Return where in a file a credential (of this machine, or `among` others) stands: "line 3"; "" if nowhere.

    Raises:
        OSError: it cannot be read.
    """
    among = secrets() if among is None else among
    forms = _forms(among)
    if not forms:
        return ""
    if path.stat().st_size <= TEXT_BYTES and (text := _as_text(path.read_bytes())) is not None:
        spans = secret_spans(text, words=False, among=among)
        return f"line {text.count(chr(10), 0, spans[0][0]) + 1}" if spans else ""
    with path.open("rb") as handle:
        if (at := _scan(handle, forms)) >= 0:
            return f"byte {at:,}"
    return _find_in_zip(path, forms) if zipfile.is_zipfile(path) else ""


def real_credentials(root: Path, folders: tuple[str, ...]) -> list[Problem]:
    """List every file below `folders`, and every file beside them, in which a credential of this machine stands.

    Below tests/ only what looks as Kaggle makes them: a key made up for a test stands in that test. Notebooks are
    generated, and megabytes: they are not read as text, their sources are.
    """
    among = secrets()
    if not _forms(among):
        return []
    issued = {secret for secret in among if _ISSUED.fullmatch(secret)}
    problems = []
    for path in _sources(root, folders):
        wanted = issued if path.is_relative_to(root / "tests") else among
        if path.suffix == ".ipynb":
            place = _line_of_bytes(path.read_bytes(), _forms(wanted))
        else:
            place = find_secret(path, wanted) if path.stat().st_size <= TEXT_BYTES else ""
        if place:
            where = f"{path.relative_to(root).as_posix()} {place}"
            problems.append(Problem(what="this is a credential of this machine", where=where, cure=WITHDRAW))
    return problems


def holds_secret(text: str) -> bool:
    """Say whether a credential of this machine stands in a text."""
    return bool(secret_spans(text, words=False))


def _sources(root: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    yield from sorted(path for path in root.glob("*") if path.is_file() and not path.is_symlink())
    for name in folders:
        for folder, below, files in os.walk(root / name):
            below[:] = sorted(one for one in below if one != "__pycache__" and not one.startswith("."))
            yield from (path for one in sorted(files) if (path := Path(folder, one)).is_file())


def _forms(among: Collection[str]) -> list[bytes]:
    return sorted({form for secret in among if len(secret) >= SHORT for form in encoded_forms(secret)})


def _line_of_bytes(data: bytes, forms: list[bytes]) -> str:
    at = min((found for form in forms if (found := data.find(form)) >= 0), default=-1)
    return "" if at < 0 else f"line {data.count(10, 0, at) + 1}"


def _as_text(data: bytes) -> str | None:
    """Read bytes as text, None if they are none."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _scan(handle: BinaryIO, forms: list[bytes]) -> int:
    """Return the place of the first secret in a stream, -1 if there is none."""
    overlap, before, offset = max(map(len, forms)) - 1, b"", 0
    while block := handle.read(BLOCK):
        joined = before + block
        for form in forms:
            if (at := joined.find(form)) >= 0:
                return offset - len(before) + at
        offset += len(block)
        before = joined[-overlap:]
    return -1


def _find_in_zip(path: Path, forms: list[bytes]) -> str:
    """Look into the compressed members; the others were read as bytes of the file itself."""
    try:
        with zipfile.ZipFile(path) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            if named := next((m.filename for m in members if is_credential_name(PurePosixPath(m.filename).name)), ""):
                return f"a member called {named!r}, or so its name says"
            if sum(member.file_size for member in members) > UNPACKED_BYTES:
                return f"perhaps a member: they unpack to more than {UNPACKED_BYTES / 1e9:.0f} GB"
            for member in members:
                if member.compress_type != zipfile.ZIP_STORED:
                    with opened.open(member) as stream:
                        if _scan(stream, forms) >= 0:  # type: ignore[arg-type]  # ZipExtFile reads as a file does
                            return f"its member {member.filename!r}"
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return f"perhaps a member: the archive cannot be read ({error})"
    return ""
