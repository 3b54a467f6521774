"""## Tables in files

Kaggle's CSVs are UTF-8 with commas. The same table that went through a spreadsheet is not: UTF-16, semicolons, decimal
commas, a byte-order mark. What has one meaning only is read; everything else is refused by name.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Hashable, Mapping
from pathlib import Path

import pandas as pd

from kernel_src.runtime.untrusted import quoted

SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# Other files that are met under the name of a table, by their first bytes.
FILE_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook (.xlsx)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"{\\rtf", "a text document (.rtf)"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "a Feather file"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x80", "a pickle"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d+\.\d+(?:[eE][+-]?\d+)?")
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?\n', re.IGNORECASE)


def read_csv(path: Path, dtype: Mapping[Hashable, type[str]] | None = None) -> pd.DataFrame:
    """Read a table with one line of headings; `dtype` by heading, as pandas takes it.

    UTF-8, UTF-16 and Windows' own encoding are read; commas, semicolons, tabs and bars; decimal commas where something
    else separates. Blanks around headings and invisible characters in them are dropped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a table; the message names the file, what it is, and what to do.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    except OSError as error:  # a directory, no permission
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    text = _decoded(path, raw)
    separator = ""
    if named := _EXCEL_SEPARATOR.match(text):  # Excel's own first line
        separator, text = named[1], text[named.end() :]
    if not text.strip():
        raise ValueError(f"{path} is empty")
    unquoted = re.sub(r'"[^"]*"', "", text.lstrip("\n").partition("\n")[0])
    separator = separator or max(SEPARATORS, key=unquoted.count)
    rows = _rows(path, text, separator)
    plain = io.StringIO()
    csv.writer(plain).writerows(rows)
    plain.seek(0)
    return pd.read_csv(plain, decimal=_decimal(path, rows), dtype=dtype)


def _decoded(path: Path, raw: bytes) -> str:
    if what := _what_else(raw):
        raise ValueError(f"{path} is {what}, not a CSV: save or download the table itself")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif 2 * (zeros := raw[:200].count(0)) > 0.6 * len(raw[:200]):  # UTF-16 without its mark: every other byte is 0
        encoding = "utf-16-le" if 2 * raw[1:200:2].count(0) > zeros else "utf-16-be"
    else:
        encoding = "utf-8-sig"
    for one in (encoding, "cp1252"):  # the second: what Excel on Windows saves
        try:
            text = raw.decode(one)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text.replace("\r\n", "\n").replace("\r", "\n")
    raise ValueError(f"{path} is not text (neither UTF-8 nor UTF-16): save the table as CSV in UTF-8")


def _what_else(raw: bytes) -> str:
    """Name a file that is certainly not a table, by how it begins; empty for all others."""
    found = next((what for begin, what in FILE_SIGNATURES if raw.startswith(begin)), "")
    start = raw[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page"
    if not found and start.startswith((b"{", b"[")):
        return "JSON"
    return found


# %%
def _rows(path: Path, text: str, separator: str) -> list[list[str]]:
    """Return each row that is not blank, as texts; the first are the headings.

    Raises:
        ValueError: a row has more fields than the heading, or the last one fewer; two headings are the same; a
            quotation mark is not closed.
    """
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            width = len(rows[0]) if rows else len(row)
            if any(field.strip() for field in row[width:]):
                cure = "decimal commas without quotation marks? save it with decimal points"
                if width == 1:
                    cure = "is the first line a title or a note? delete what stands above the headings"
                raise ValueError(
                    f"{path}, line {reader.line_num}: {len(row)} fields between "
                    f"{SEPARATOR_NAMES.get(separator, quoted(separator))}, the heading has {width}: {cure}"
                )
            rows.append(row[:width])
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}: save the table as CSV again") from None
    if len(rows[-1]) < len(rows[0]):
        raise ValueError(
            f"{path} ends in the middle of a row: {len(rows[-1])} fields of {len(rows[0])} in line {reader.line_num}; "
            "download or save it again"
        )
    rows[0] = ["".join(c for c in name if unicodedata.category(c) not in ("Cc", "Cf")).strip() for name in rows[0]]
    if doubled := sorted({name for name in rows[0] if name and rows[0].count(name) > 1}):
        raise ValueError(f"{path}: the heading {doubled[0]!r} appears twice: rename one of them")
    return rows


def _decimal(path: Path, rows: list[list[str]]) -> str:
    """Return what stands before the decimals; in quotation marks that may be a comma between commas, too."""
    fields = [field.strip() for row in rows[1:] for field in row]
    commas = [field for field in fields if _DECIMAL_COMMA.fullmatch(field)]
    points = [field for field in fields if _DECIMAL_POINT.fullmatch(field)]
    if commas and points:
        raise ValueError(
            f"{path} has decimal commas ({commas[0]}) and decimal points ({points[0]}): one of them marks "
            "thousands, and it is not clear which; save it with decimal points"
        )
    return "," if commas else "."
