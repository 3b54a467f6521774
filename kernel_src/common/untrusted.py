"""## What a file says about itself

A bundle may come from anywhere. The names, hashes and counts in it are checked where they are read, once; from then on
they are what they seem, and no later line has to look at them again.
"""

import re
import unicodedata

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
