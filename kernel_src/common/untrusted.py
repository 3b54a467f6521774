"""## What a file says about itself

A bundle may come from anywhere. The names, hashes and counts in it are checked where they are read, once; from then on
they are what they seem, and no later line has to look at them again.
"""

import errno
import os
import re
import stat
import unicodedata
from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")
LONGEST_NAME = 200  # bytes of a file name, which most disks limit to 255


def quoted(value: object, longest: int = 80) -> str:
    """Return a value from outside as it may stand in a message: on one line, short, control characters escaped."""
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def checked_sha256(value: object) -> str:
    """Return the value if it is a sha256 in hex.

    Raises:
        ValueError: it is anything else.
    """
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{quoted(value)} is not a sha256 (64 hex digits)")
    return value


def checked_count(value: object) -> int:
    """Return the value if it is a whole number that is not negative.

    Raises:
        ValueError: it is anything else; `"1"` and `True` are no numbers here.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{quoted(value)} is not a count (a whole number from 0)")
    return value


def checked_file_name(value: object) -> str:
    """Return the value if it names a file of a flat folder, and that folder only.

    Raises:
        ValueError: it is empty, hidden, too long, begins like an option, leads elsewhere (`/`, `..`), holds control
            characters, or can be written in two ways (Unicode that is not in its composed form).
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"{quoted(value)} is not a file name")
    if value[0] in ".-" or "/" in value or "\\" in value or ":" in value:
        raise ValueError(f"{quoted(value)} is not the name of a file in this folder")
    if len(value.encode(errors="surrogatepass")) > LONGEST_NAME:
        raise ValueError(f"{quoted(value)} is too long for a file name")
    if not value.isprintable() or unicodedata.normalize("NFC", value) != value:
        raise ValueError(f"{quoted(value)} is not a plain file name")
    return value


# %%
_KINDS = ((stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))


def read_foreign_file(path: Path, limit_bytes: int) -> bytes:
    """Read a file that somebody else's code left: a plain one with this name only, and not beyond a size.

    Of anything else not a byte is read: a link, or a second name of a file elsewhere, may lead to what that code could
    not see itself, and a pipe would keep its reader waiting.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: what is there is no such file; the message says what it is.
    """
    try:
        _refuse_odd_file(os.lstat(path), limit_bytes)
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    with open(handle, "rb") as file:
        _refuse_odd_file(os.fstat(handle), limit_bytes)  # it may have been exchanged meanwhile
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ValueError(f"has more than {limit_bytes:,} bytes")
    return content


def _refuse_odd_file(seen: os.stat_result, limit_bytes: int) -> None:
    if not stat.S_ISREG(seen.st_mode):
        raise ValueError(f"is {next((name for fits, name in _KINDS if fits(seen.st_mode)), 'a device')}, not a file")
    if seen.st_nlink > 1:
        raise ValueError("is a file with a second name elsewhere (a hard link)")
    if seen.st_size > limit_bytes:
        raise ValueError(f"has {seen.st_size:,} bytes, more than {limit_bytes:,}")
