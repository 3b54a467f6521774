"""What the store, a commit or a notebook's text says, checked where it enters: names of sources, and values."""

import ast

from build.notebooks.stamp import SOURCES
from build.stitch.parameters import assigned, literal
from kernel_src.runtime.untrusted import checked_file_name, quoted

LONGEST_LITERAL = 1 << 20  # characters; a notebook's whole parameters cell is far shorter


def is_source_name(name: object) -> bool:
    """Tell whether a value is the path of a Python file below `kernel_src/`, hidden files and caches excluded."""
    if not isinstance(name, str) or not name.endswith(".py") or len(name) > 1000:
        return False
    parts = name.split("/")
    try:
        return parts[0] == SOURCES and len(parts) > 1 and "__pycache__" not in [*map(checked_file_name, parts)]
    except ValueError:
        return False


def is_relative_name(name: object) -> bool:
    """Tell whether a value is the path of a file below some folder, hidden files and caches excluded."""
    try:
        parts = [checked_file_name(part) for part in name.split("/")] if isinstance(name, str) else []
    except ValueError:
        return False
    return bool(parts) and "__pycache__" not in parts and len(str(name)) <= 1000


def read_values(text: str) -> dict[str, object]:
    """Return the literals that a text of Python assigns to names, as `NAME = …` or `NAME: type = …`.

    Raises:
        ValueError: it is too long, is no Python, is nested too deeply, or a value is not a literal.
    """
    if len(text) > LONGEST_LITERAL:
        raise ValueError(f"{len(text):,} characters are too many for values")
    try:
        values = {name: ast.literal_eval(value) for name, value in assigned(ast.parse(text).body).items()}
        literal(values)  # what cannot be written again is not what was built
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"{quoted(text)} is not made of plain values: {type(error).__name__}") from None
    return values


def read_parameters(text: object) -> dict[str, object]:
    """Return the parameters that the store noted as Python's text of a dictionary.

    Raises:
        ValueError: it is anything else.
    """
    values = read_values(f"noted = {text}").get("noted") if isinstance(text, str) else None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise ValueError(f"{quoted(text)} is not a dictionary of parameters")
    return values
