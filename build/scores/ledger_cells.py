r"""What people's programs do to the ledger, and what its cells could do to people's programs.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@`, and saves a table in its own notation: semicolons or
tabs, decimal commas, other dates, a BOM, CRLF, UTF-16. Both are undone here: `guarded` writes a text so that no
spreadsheet computes it, `plain` reads it back exactly; the readers of rows, numbers and times take each notation for
what it is, and refuse what could be read in two ways. Tables of measurements have kernel_src/runtime/csv_table.py.
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

GUARD = "'"  # in front of a text: what spreadsheets take for "text, not a formula"
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20|%]")
# A field that begins inside a text for a program with another separator.
_INNER = re.compile(r"[;\t|](?=[\s\"']*[=+\-@\uff1d\uff0b\uff0d\uff20])")
_ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
_NAMES = {letter: f"\\{name}" for name, letter in _LETTERS.items()}
_GROUPED = re.compile(r"\d{1,3}(?:([.,' \u00a0\u202f])\d{3})(?:\1\d{3})*")
_SHORTENED = re.compile(r"(\d)(?:[.,](\d+))?[eE]\+?(\d+)")
_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ]+(.*))?")
_OTHER = re.compile(r"(\d{1,2})([./-])(\d{1,2})[./-](\d{4}|\d{2})(?:,?[T ]+(.*))?")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?\s*([AaPp])?\.?[Mm]?\.?\s*(Z|UTC|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True)
class Sheet:
    """A table as it lay in the file."""

    rows: list[tuple[int, list[str]]]  # the number of the line where a row ends, and its cells
    separator: str
    changed: bool  # a program has saved it in its own notation


def guarded(text: str) -> str:
    """Write a text so that no spreadsheet takes it for a formula, and on one line."""
    if not (
        _FORMULA.match(text)
        or _INNER.search(text)
        or text.startswith(GUARD)
        or any(not (character.isprintable() or character == " ") for character in text)
    ):
        return text
    inner = "".join(_escaped(character) for character in text)
    return GUARD + _INNER.sub(lambda match: f"\\u{ord(match[0]):04x}", inner)


def plain(cell: str) -> str:
    """Read such a cell back."""
    if not cell.startswith(GUARD):
        return cell

    def letter(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if not code:
            return _LETTERS.get(match[3], match[0])
        return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else match[0]

    return _ESCAPE.sub(letter, cell[len(GUARD) :])


def _escaped(character: str) -> str:
    if character in _NAMES:
        return _NAMES[character]
    if character.isprintable() or character == " ":
        return character
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"


def rows_of(data: bytes, columns: Iterable[str]) -> Sheet:
    """Read a table with a heading of these columns, whatever program saved it last.

    Raises:
        ValueError: it is not text, or in an unknown encoding; says how to save it.
    """
    text, changed = _decoded(data)
    lines = text.splitlines(keepends=True)
    skipped = 0
    if lines and re.fullmatch(r"\"?sep=.\"?\s*", lines[0], re.IGNORECASE):  # Excel's own first line
        lines, skipped, changed = lines[1:], 1, True
    heading = lines[0] if lines else ""
    wanted = set(columns)
    separator = max(",;\t", key=lambda one: len(wanted & {cell.strip() for cell in _cells(heading, one)}))
    reader = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=separator)
    try:
        rows = [(reader.line_num + skipped, row) for row in reader]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num + skipped} cannot be read as a table ({error})") from None
    return Sheet(rows, separator, changed or separator != ",")


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _decoded(data: bytes) -> tuple[str, bool]:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16"), True
        except UnicodeDecodeError:
            raise ValueError("it is UTF-16 text that is cut short") from None
    for encoding in ("utf-8-sig", "cp1252"):  # the second: Excel's plain "CSV" on Windows
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, encoding != "utf-8-sig" or data.startswith(b"\xef\xbb\xbf")
    raise ValueError("it is not the text of a table: save it as “CSV UTF-8”")


def number_of(cell: str) -> float:
    """Read a number with a decimal point or a decimal comma.

    Raises:
        ValueError: it is none.
    """
    text = cell.strip().replace("\u2212", "-")
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    if not re.fullmatch(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", text, re.IGNORECASE):
        raise ValueError("not a number")
    return float(text)


def integer_of(cell: str) -> int:
    """Read a whole number, also one that a program has grouped, given decimals, or written with an exponent, unharmed.

    Raises:
        ValueError: it is none, or digits of it are lost.
    """
    text = cell.strip()
    if re.fullmatch(r"\d+", text):
        return int(text)
    if _GROUPED.fullmatch(text):
        return int(re.sub(r"\D", "", text))
    if match := re.fullmatch(r"(\d+)[.,]0+", text):
        return int(match[1])
    if match := _SHORTENED.fullmatch(text):
        digits, exponent = match[1] + (match[2] or "").rstrip("0"), int(match[3])
        if exponent <= 15 and len(digits) == exponent + 1:
            return int(digits)
        raise ValueError("not whole: a spreadsheet has cut its digits")
    raise ValueError("not a whole number")


def times_of(cells: list[str]) -> list[str]:
    """Return a column of times in ISO 8601, UTC; what is not a time of a known notation stays as it is.

    Raises:
        ValueError: day and month could be either, in every one of them.
    """
    day_first = _day_first(cells)
    return [_time_of(cell, day_first) for cell in cells]


def _day_first(cells: list[str]) -> bool | None:
    """Whether the day comes before the month, by the whole column; None: nothing shows it."""
    found = [match for cell in cells if (match := _OTHER.fullmatch(cell.strip()))]
    if any(match[2] == "." for match in found):
        return True  # with dots nobody writes the month first
    if any(int(match[1]) > 12 for match in found):
        return True
    return False if any(int(match[3]) > 12 for match in found) else None


def _time_of(cell: str, day_first: bool | None) -> str:
    text = cell.strip()
    if iso := _ISO.fullmatch(text):
        if re.fullmatch(r"\d{4}-\d\d-\d\dT.*", text):
            return text  # as we write it
        year, month, day, clock = int(iso[1]), int(iso[2]), int(iso[3]), iso[4]
    elif other := _OTHER.fullmatch(text):
        first, second, clock = int(other[1]), int(other[3]), other[5]
        if day_first is None and first != second:
            raise ValueError(f"time is {cell!r}, and nothing says which is the month: write 2026-11-29T14:03:00+00:00")
        day, month = (first, second) if day_first else (second, first)
        year = int(other[4]) + (2000 if len(other[4]) == 2 else 0)
    else:
        return cell
    hours, minutes, seconds, zone = _clock(clock or "0:00", cell)
    try:
        moment = datetime(year, month, day, hours, minutes, seconds, tzinfo=UTC)
        if zone not in ("", "Z", "UTC"):
            moment = datetime.fromisoformat(f"{moment:%Y-%m-%dT%H:%M:%S}{zone}").astimezone(UTC)
    except ValueError:
        raise ValueError(f"time is {cell!r}, which is not a date") from None
    return moment.isoformat()


def _clock(text: str, cell: str) -> tuple[int, int, int, str]:
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"time is {cell!r}, whose hour cannot be read")
    hours = int(match[1])
    if match[4]:
        hours = hours % 12 + (12 if match[4] in "Pp" else 0)
    return hours, int(match[2]), int(match[3] or 0), match[5] or ""
