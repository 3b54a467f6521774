"""What comes from outside this machine, beyond a bundle's own names: folders inside an archive, foreign text, JSON.

Each is checked where it enters, once. `kernel_src/runtime/untrusted.py` has the checks that a notebook needs as well.
"""

import json
import re
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
