"""Cells with their ids and metadata, and the bytes of the file."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from build.stitch.drafts import Line

FORMAT = 2  # of what the stitcher writes: part of the hash, so that a change in it makes every notebook stale

_ID_CHARS = 64 - 12  # leaves room for `-<cell>-<part>`


@dataclass(frozen=True)
class Cell:
    """One cell of the notebook."""

    id: str
    kind: str  # "code" or "markdown"
    source: str
    where: str  # its source file, or "imports"
    ordinal: int = 0
    tags: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()  # of code: the source line of each line, 0 where it is the stitcher's
    span: tuple[int, int] = (0, 0)  # first and last line of what it shows in its source, marker included; not written
    folded: bool = False  # shown without its code; a heading: without the cells below it


IMPORTS = "imports"  # the source of the gathered cells
CHAPTERS = "chapters"  # the source of headings that are repeated
SETUP = "set-up"  # the source of the cells that make a kernel look like a process
GENERATED = frozenset({IMPORTS, CHAPTERS, SETUP})  # what no file holds
CONTENTS = "**Contents**"
WRITES = "%%writefile "  # the beginning of a cell that writes a file


def code_cell(
    id_: str,
    where: str,
    lines: Sequence[Line],
    ordinal: int = 0,
    tags: tuple[str, ...] = (),
    span: tuple[int, int] = (0, 0),
    folded: bool = False,
) -> Cell:
    """Make a code cell; its first line names its source."""
    every = [Line(f"# {where}", 0), *lines]
    source = "\n".join(line.text for line in every)
    return Cell(id_, "code", source, where, ordinal, tags, tuple(line.number for line in every), span, folded)


def imports_cell(kind: str, lines: Sequence[str]) -> Cell:
    """Make the cell of gathered imports of one kind, e.g. `third-party`."""
    source = "\n".join([f"# {IMPORTS}: {kind.replace('-', ' ')}", *lines])
    return Cell(f"{IMPORTS}-{kind}", "code", source, IMPORTS, lines=(0,) * (len(lines) + 1), folded=True)


def make_id(where: str, *numbers: int) -> str:
    """Make a readable id from a source's path: `kernel_src-common-metric-2`."""
    stem = where.removesuffix(".py")
    name = stem.replace("/", "-")
    if len(name) > _ID_CHARS or not re.fullmatch(r"[A-Za-z0-9_-]+", name) or "-" in stem:
        # Cut or changed names may meet: eight digits of the hash keep them apart.
        name = (
            re.sub(r"[^A-Za-z0-9_-]", "_", name)[: _ID_CHARS - 9] + "-" + hashlib.sha256(where.encode()).hexdigest()[:8]
        )
    return "-".join([name, *map(str, numbers)])


def sha256_of_sources(texts: Sequence[tuple[str, str]], parameters: str) -> str:
    """Hash every source with its path, the parameters and the stitcher's format."""
    digest = _digest_of_texts(tuple(texts)).copy()
    digest.update(f"{json.dumps(parameters)}]".encode())
    return digest.hexdigest()


@lru_cache(maxsize=8)
def _digest_of_texts(texts: tuple[tuple[str, str], ...]) -> "hashlib._Hash":
    """Begin the hash of JSON's list of format, sources and parameters; nobody adds to what is returned."""
    return hashlib.sha256(f"[{FORMAT}, {json.dumps([list(pair) for pair in texts])}, ".encode())


def sign(cells: list[Cell], main: str, count: int, sha256: str) -> list[Cell]:
    """Put contents and sources into the first Markdown cell; add one on top where the notebook starts with code."""
    modules = {0: "", 1: " and one module"}.get(count, f" and {count} modules")
    note = (
        contents(cells, main)
        + f"*Stitched from `{main}`{modules}; sources sha256 `{sha256}`. Edit the sources, not this notebook.*"
    )
    if cells and cells[0].kind == "markdown":
        first = cells[0]
        return [replace(first, source=f"{first.source}\n\n{note}"), *cells[1:]]
    return [Cell("stitched", "markdown", note, main), *cells]


def contents(cells: Sequence[Cell], main: str) -> str:
    """Return links to the script's sections, between them to the chapters of the library; nothing for one section."""
    lines: list[str] = []
    sections = 0
    chapters: list[str] = []
    for cell in cells:
        for title in re.findall(r"^## +(.+?) *#*$", cell.source, re.MULTILINE) if cell.kind == "markdown" else []:
            link = f"[{title}](#{anchor(title)})"
            if cell.where != main:
                chapters.append(link)
                continue
            lines += [f"- Library, folded: {', '.join(chapters)}"] if chapters else []
            lines.append(f"- {link}")
            sections, chapters = sections + 1, []
    lines += [f"- Library, folded: {', '.join(chapters)}"] if chapters else []
    return "\n".join([CONTENTS, "", *lines, "", ""]) if sections > 1 else ""


def anchor(title: str) -> str:
    """Return the id that JupyterLab and Kaggle give a heading: its text with hyphens for spaces, as an address."""
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", title)
    return quote(shown.replace(" ", "-"), safe="-,:;!?'&=+$@/~._")


def to_bytes(cells: Sequence[Cell], main: str, sha256: str) -> bytes:
    """Write the notebook's file: sorted keys, one-space indentation, each source one string, a newline at the end."""
    return write([_as_text(cell) for cell in cells], metadata_of(main, sha256))


def metadata_of(main: str, sha256: str) -> dict[str, Any]:
    """Return the metadata of a notebook of ours."""
    return {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "stitch": {"format": FORMAT, "main": main, "source_sha256": sha256},
    }


def write(cells: Sequence[str], metadata: Mapping[str, Any]) -> bytes:
    """Put the file together from its cells' JSON, in the form in which `indented` writes them."""
    rest = {"metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    tail = json.dumps(rest, indent=1, sort_keys=True, ensure_ascii=False).removeprefix("{")
    return ('{\n "cells": [\n  ' + ",\n  ".join(cells) + f"\n ],{tail}\n").encode()


@lru_cache(maxsize=4096)
def indented(cell: Cell) -> str:
    """Write a cell's JSON as nbformat does, as deep as it stands in the file."""
    return json.dumps(as_json(cell), indent=1, sort_keys=True, ensure_ascii=False).replace("\n", "\n  ")


@lru_cache(maxsize=4096)
def _as_text(cell: Cell) -> str:
    """Do the same with the line numbers on one line, not one line per number."""
    text = indented(replace(cell, lines=()))
    return text.replace('"lines": []', f'"lines": {json.dumps(list(cell.lines))}', 1)  # no text before it has quotes


def as_json(cell: Cell) -> dict[str, Any]:
    """Return a cell as the file has it."""
    origin: dict[str, Any] = {"source": cell.where, "cell": cell.ordinal}
    metadata: dict[str, Any] = {"stitch": origin}
    result: dict[str, Any] = {"cell_type": cell.kind, "id": cell.id, "metadata": metadata, "source": cell.source}
    if cell.kind == "code":
        origin["lines"] = list(cell.lines)
        result |= {"execution_count": None, "outputs": []}
    if cell.tags:
        metadata["tags"] = list(cell.tags)
    if cell.folded and cell.kind == "code":
        metadata |= {"jupyter": {"source_hidden": True}, "_kg_hide-input": True}
    elif cell.folded:
        metadata["jp-MarkdownHeadingCollapsed"] = True
    return result
