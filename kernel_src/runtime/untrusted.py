"""## What a file says about itself

A bundle may come from anywhere. The names, hashes and counts in it are checked where they are read, once; from then on
they are what they seem, and no later line has to look at them again.
"""

import json
import math
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LONGEST_NAME = 200  # bytes of a file name, which most disks limit to 255
LONGEST_TEXT = 1000  # characters of a text in a bundle
DEEPEST_JSON = 32  # lists and dictionaries inside one another
LARGEST_JSON = 64 << 20  # bytes; a manifest of a thousand files has a tenth of a megabyte
LARGEST_NUMBER = 2**63  # what a file on any disk stays below


def quoted(value: object, longest: int = 80) -> str:
    """Return a value from outside as it may stand in a message: on one line, short, control characters escaped."""
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def checked_count(value: object) -> int:
    """Return a whole number from 0; ValueError for anything else, `"1"` and `True` too."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{quoted(value)} is not a count (a whole number from 0)")
    return value


def checked_text(value: object) -> str:
    """Return a line of text without control characters, perhaps empty; ValueError for anything else."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"{quoted(value)} is not a line of text")
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
def parsed_json(text: bytes, *, nan: bool = False) -> Any:
    """Read JSON that every parser reads alike; with `nan`, NaN and infinities too, as Python writes them.

    Raises:
        ValueError: it is not JSON; or a key appears twice in an object, a number is NaN, infinite or beyond 2⁶³, a text
            holds half a character, or the whole is too large or too deeply nested.
    """
    if len(text) > LARGEST_JSON:
        raise ValueError(f"{len(text):,} bytes are too many")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object_without_twins,
            parse_constant=float if nan else _refuse_constant,
            parse_float=_json_float,
            parse_int=_json_int,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    for depth, part in _json_parts(value):
        if depth > DEEPEST_JSON:
            raise ValueError("it is nested too deeply")
        if isinstance(part, str) and any("\ud800" <= character <= "\udfff" for character in part):
            raise ValueError(f"{quoted(part)} holds half a character")
    return value


def _object_without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{quoted(twin)} appears twice in one object")
    return found


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number of JSON")


def _json_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _json_int(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) >= LARGEST_NUMBER:
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _json_parts(value: Any) -> Iterator[tuple[int, Any]]:
    """Yield everything inside a JSON value, keys too, each with its depth."""
    waiting = [(0, value)]
    while waiting:
        depth, part = waiting.pop()
        yield depth, part
        if depth > DEEPEST_JSON:
            continue
        if isinstance(part, dict):
            waiting += [(depth + 1, inner) for pair in part.items() for inner in pair]
        elif isinstance(part, list):
            waiting += [(depth + 1, inner) for inner in part]


def plain_file(folder: Path, name: str) -> Path:
    """Return the path of a file that lies in the folder itself.

    Raises:
        FileNotFoundError: there is none of this name.
        ValueError: it is a folder, a device or a pipe, or a link leads out of the folder.
    """
    path = folder / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError("is a link that leads out of its folder")
    if not path.is_file():
        raise ValueError("is not a file")
    return path
