"""What comes from outside this machine, beyond a bundle's own names: folders inside an archive, foreign text, JSON.

Each is checked where it enters, once. `manifest.py` and `untrusted.py` of kernel_src/runtime have the checks that a
notebook needs as well.
"""

import errno
import json
import os
import re
import stat
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Any

from kernel_src.runtime.untrusted import checked_file_name, quoted

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_KEPT = "\n\t"


def inside(folder: Path, name: object) -> Path:
    """Return the path of a relative name, with `/` between its parts, that stays inside `folder`, links followed.

    Raises:
        ValueError: a part is not a plain file name (`checked_file_name`), or a link leads out of the folder.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"{quoted(name)} is not a relative path")
    try:
        parts = [checked_file_name(part) for part in name.split("/")]
    except ValueError:
        raise ValueError(f"{quoted(name)} is not a path inside {folder}") from None
    path = folder.joinpath(*PurePosixPath(*parts).parts)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{quoted(name)} leads out of {folder} by a link")
    return path


def object_in(text: str) -> dict[str, Any]:
    """Return the JSON object that a text holds; an empty one where it holds none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def plain_text(text: str) -> str:
    r"""Return foreign text as a terminal may show it: no colours, every other control character visible, as `\x1b`.

    Line feeds and tabs stay, and so do letters of every script; what moves the cursor, sets a title, clears the screen,
    or turns the direction of writing does not.
    """
    return "".join(_visible(character) for character in _COLOUR.sub("", text).replace("\r\n", "\n"))


def _visible(character: str) -> str:
    if character.isprintable() or character in _KEPT or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


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
        refuse_odd_file(os.lstat(path), limit_bytes)
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    with open(handle, "rb") as file:
        refuse_odd_file(os.fstat(handle), limit_bytes)  # it may have been exchanged meanwhile
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ValueError(f"has more than {limit_bytes:,} bytes")
    return content


def refuse_odd_file(seen: os.stat_result, limit_bytes: int) -> None:
    """Refuse what is not a plain file with one name, or has more than so many bytes.

    Raises:
        ValueError: says what it is.
    """
    if not stat.S_ISREG(seen.st_mode):
        raise ValueError(f"is {next((name for fits, name in _KINDS if fits(seen.st_mode)), 'a device')}, not a file")
    if seen.st_nlink > 1:
        raise ValueError("is a file with a second name elsewhere (a hard link)")
    if seen.st_size > limit_bytes:
        raise ValueError(f"has {seen.st_size:,} bytes, more than {limit_bytes:,}")
