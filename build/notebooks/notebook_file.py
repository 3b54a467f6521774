"""The border for notebooks from outside: what is not a notebook of format 4 is named in one line, with what to do.

Notebooks come by mail, from a site, from editors and from pull requests. Here alone it is decided whether a file is
one; behind it `cells` is a list of objects whose kind and text are text, and metadata and outputs have their types.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

from kernel_src.runtime.manifest import checked_sha256
from kernel_src.runtime.untrusted import quoted

LARGEST_BYTES = 512 << 20  # many times what Kaggle takes; a device or a film ends here
_CONFLICT = re.compile(rb"^(<<<<<<< |>>>>>>> )", re.MULTILINE)
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
}
_OTHERS = {
    b"%PDF": "a PDF",
    b"{\\rtf": "a word processor's text (RTF)",
    b"\x89PNG": "a picture (PNG)",
    b"\xff\xd8\xff": "a picture (JPEG)",
}
_EXPECTED = "a Jupyter notebook (JSON, format 4)"


class NotANotebook(ValueError):
    """A file that cannot be read as a notebook: what it is instead, and what to do."""

    def __init__(self, what: str, cure: str) -> None:
        """Keep both; `what` begins with a verb, as after the file's name."""
        super().__init__(f"{what} → {cure}")
        self.what, self.cure = what, cure


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a notebook's file.

    Raises:
        NotANotebook: there is no such file, or none that could be a notebook.
    """
    try:
        if path.exists() and not path.is_file():
            raise NotANotebook("is a folder or a device, not a file", "name the .ipynb file itself")
        if path.is_file() and (size := path.stat().st_size) > LARGEST_BYTES:
            raise NotANotebook(f"has {size:,} bytes, too many for a notebook", f"name {_EXPECTED}")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, NotANotebook):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise NotANotebook(f"cannot be read: {reason}", "name a built notebook, or a copy of one") from None


def read_notebook(content: bytes) -> dict[str, Any]:
    """Return a notebook's JSON, each cell with its text as one string, and with metadata and outputs.

    Raises:
        NotANotebook: it is something else, in one short line.
    """
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _not_json(content, error) from None
    if not isinstance(notebook, dict):
        raise NotANotebook(f"is JSON, but {_kind(notebook)}, not a notebook", f"name {_EXPECTED}")
    if "cells" not in notebook and "nbformat" not in notebook:
        keys = ", ".join(quoted(key, 30) for key in [*notebook][:3]) or "nothing"
        raise NotANotebook(f"is JSON, but not a notebook: it holds {keys}", f"name {_EXPECTED}")
    if (found := notebook.get("nbformat")) != 4 or isinstance(found, bool):
        cure = "open it in Jupyter and save it, or `jupyter nbconvert --to notebook --nbformat 4`"
        raise NotANotebook(f"is of notebook format {quoted(found, 20)}, not 4", cure)
    if not isinstance(notebook.get("cells"), list):
        raise NotANotebook("is a notebook without a list of cells", "open it in Jupyter and save it")
    notebook["metadata"] = _object(notebook, "metadata", "the notebook")
    notebook["cells"] = [_cell(raw, number) for number, raw in enumerate(notebook["cells"], start=1)]
    return notebook


def sources_sha256(notebook: dict[str, Any]) -> str:
    """Return the hash of the sources that a notebook's metadata name, "" where they name none that is a hash."""
    stitched = notebook["metadata"].get("stitch")
    try:
        return checked_sha256(stitched.get("source_sha256") if isinstance(stitched, dict) else None)
    except ValueError:
        return ""


def tags_of(cell: dict[str, Any]) -> tuple[str, ...]:
    """Return a cell's tags."""
    tags = cell["metadata"].get("tags")
    return tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()


def origin_of(cell: dict[str, Any]) -> dict[str, Any]:
    """Return what the stitcher noted in a cell's metadata: its source as text, its lines as numbers."""
    noted = cell["metadata"].get("stitch")
    noted = noted if isinstance(noted, dict) else {}
    source, lines = noted.get("source"), noted.get("lines")
    numbers = [line if isinstance(line, int) else 0 for line in lines] if isinstance(lines, list) else []
    return {"source": source if isinstance(source, str) else "", "lines": numbers}


def _cell(raw: object, number: int) -> dict[str, Any]:
    where = f"cell {number}"
    if not isinstance(raw, dict):
        raise _odd(where, f"is {_kind(raw)}")
    if not isinstance(raw.get("cell_type"), str):
        raise _odd(where, f"is of the kind {quoted(raw.get('cell_type'), 30)}")
    source = raw.get("source") or ""
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise _odd(where, f"has {_kind(source)} for its text")
    if "\0" in source or any("\ud800" <= character <= "\udfff" for character in source):
        raise _odd(where, "contains half a character or a NUL, which no source can")
    outputs = raw.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise _odd(where, "has malformed outputs")
    return raw | {"source": source, "metadata": _object(raw, "metadata", where), "outputs": outputs}


def _object(holder: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = holder.get(key)
    if value is not None and not isinstance(value, dict):
        raise _odd(where, f"has {_kind(value)} for its {key}")
    return value or {}


def _odd(where: str, what: str) -> NotANotebook:
    return NotANotebook(f"is not a whole notebook: {where} {what}", "open it in Jupyter and save it, or take another")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def _not_json(content: bytes, error: Exception) -> NotANotebook:
    """Name what the bytes are."""
    begin = content[:4096]
    if not begin.strip():
        return NotANotebook("is empty", "take another copy of the notebook")
    if encoding := _wide(begin):
        cure = "save it again as UTF-8 (PowerShell's > writes UTF-16: copy the file, or `Out-File -Encoding utf8`)"
        return NotANotebook(f"is {encoding} text, not UTF-8, in which every notebook is written", cure)
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"version https://git-lfs"):
        return NotANotebook("is a Git LFS pointer: the notebook itself was not fetched", "run `git lfs pull`")
    if text[:1] == b"<" and not text.startswith(b"<<<<<<<"):
        cure = "download the file itself: Kaggle's ⋮ → Download code, GitHub's Raw; or `make pull-kernel EXPERIMENT=…`"
        return NotANotebook("is a web page (HTML or XML) that was saved under this name, not a notebook", cure)
    for magic, name in (_ARCHIVES | _OTHERS).items():
        if begin.startswith(magic):
            cure = "unpack it and name the .ipynb file in it" if magic in _ARCHIVES else f"name {_EXPECTED}"
            return NotANotebook(f"is {name}, not a notebook", cure)
    if _CONFLICT.search(content):
        cure = "resolve them (`git show :2:FILE` and `:3:FILE` are the sides); a built notebook is built again anyway"
        return NotANotebook("contains git's conflict markers (<<<<<<<)", cure)
    if isinstance(error, RecursionError):
        return NotANotebook("is JSON that is nested too deeply for a notebook", "take another copy of the notebook")
    if isinstance(error, UnicodeDecodeError):
        return NotANotebook("is not UTF-8 text, as every notebook is", "save it again as UTF-8, or take another copy")
    if text[:1] in b"{[":
        line = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        cut = isinstance(error, json.JSONDecodeError) and error.pos >= len(content.decode("utf-8-sig").rstrip()) - 1
        what = f"is JSON that {'ends too early' if cut else 'cannot be read'}{line}"
        return NotANotebook(what, "take another copy: a download or a save did not finish, or it was edited by hand")
    if _is_python(content):
        cure = "edit kernel_src/ itself where you work with scripts; sync reads the built .ipynb"
        return NotANotebook("is a Python script, not a notebook", cure)
    return NotANotebook("is text, but not JSON, as every notebook is", f"name {_EXPECTED}")


def _wide(begin: bytes) -> str:
    """Name the encoding of a text whose characters have several bytes each, with a byte-order mark or without."""
    if begin.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if begin.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    ends = (begin[:200:2], begin[1:200:2])  # of plain English, one of each two bytes is 0
    return "UTF-16" if len(begin) > 3 and any(half and not half.strip(b"\0") for half in ends) else ""


def _is_python(content: bytes) -> bool:
    try:
        body = ast.parse(content).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(not isinstance(node, ast.Expr) for node in body)
