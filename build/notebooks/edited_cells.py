"""What a notebook's cells say, after whatever editor has had them: read from the JSON, whatever 4.x it is.

Ids, metadata, outputs, counts, line ends and trailing newlines may be gone or changed; nothing here relies on them.
"""

import re
from dataclasses import dataclass, replace

from build.core.errors import UsageError
from build.notebooks.notebook_file import NotANotebook, origin_of, read_notebook, sources_sha256, tags_of

SCRATCH = "scratch"  # the tag of a cell that stays in the notebook
_NOTE = re.compile(  # on the sources, with the contents above it
    r"\n{0,9}(?:\*\*Contents\*\*\n(?:- [^\n]*\n|\n){1,999})?"
    r"\*Stitched from `[^`\n]*`[^\n]*; sources sha256 `(?P<sha256>[0-9a-f]{64})`\. "
    r"Edit the sources, not this notebook\.\*"
)
_HEADER = re.compile(r"# (\S+\.py|imports: standard library|imports: third party)\s*")
_PAPERMILL = {"injected-parameters", "papermill-error-cell-tag"}


@dataclass(frozen=True)
class EditedCell:
    """One cell, or a part of one that was merged from several sources."""

    number: int  # in the notebook as people see it, from 1
    kind: str  # "code", "markdown" or "raw"
    text: str  # without its provenance line
    id: str = ""
    claim: str = ""  # the source that its first line names
    origin: str = ""  # the source that its metadata name
    tags: tuple[str, ...] = ()
    attached: bool = False  # carries pictures

    @property
    def where(self) -> str:
        """Name it in a message."""
        return f"cell {self.number}"


@dataclass(frozen=True)
class Edited:
    """A notebook as somebody left it."""

    sha256: str  # of the sources it was built from; "" when it does not say, or says what is not a hash
    cells: list[EditedCell]


def parse(content: bytes, name: str = "the notebook") -> Edited:
    """Read a notebook's bytes.

    Raises:
        UsageError: they are not a notebook of format 4.
    """
    try:
        notebook = read_notebook(content)
    except NotANotebook as error:
        raise UsageError(f"{name} {error}") from None
    sha256 = sources_sha256(notebook)
    cells: list[EditedCell] = []
    for number, raw in enumerate(notebook["cells"], start=1):
        kind, tags = raw["cell_type"], tags_of(raw)
        text = raw["source"].replace("\r\n", "\n").replace("\r", "\n")
        if note := _NOTE.search(text) if not sha256 or kind != "code" else None:
            sha256 = sha256 or note["sha256"]
            text = text if kind == "code" else _NOTE.sub("", text)
        if _PAPERMILL & set(tags) or not text.strip():
            continue
        id_, origin, attached = str(raw.get("id", "")), origin_of(raw)["source"], bool(raw.get("attachments"))
        cell = EditedCell(number, kind, text.strip("\n"), id_, "", origin, tags, attached)
        cells += _parts(cell) if cell.kind == "code" else [cell]
    return Edited(sha256, cells)


def built_from(content: bytes) -> str:
    """Return the hash of the sources that a notebook was built from, "" when it does not say or is none."""
    try:
        return parse(content).sha256
    except UsageError:
        return ""


def header(line: str) -> str:
    """Return the source that a provenance line names, "" for any other line."""
    found = _HEADER.fullmatch(line)
    return found[1] if found else ""


def without_header(text: str) -> str:
    """Return a built cell's text as `EditedCell.text` has it."""
    first, _, rest = text.partition("\n")
    return rest.strip("\n") if header(first) else text.strip("\n")


def without_note(text: str) -> str:
    """Return a built Markdown cell's text without the note on its sources."""
    return _NOTE.sub("", text).strip("\n")


def _parts(cell: EditedCell) -> list[EditedCell]:
    """Cut a cell where a provenance line of another source stands: it was merged from two modules."""
    parts: list[EditedCell] = []
    claim, lines = "", list[str]()

    def close() -> None:
        if text := "\n".join(lines).strip("\n"):
            # The id belongs to one part only; the others are found by what they say.
            parts.append(replace(cell, text=text, claim=claim, id=cell.id if not parts else ""))

    for line in cell.text.split("\n"):
        source = header(line)
        if source and source != claim:
            close()
            claim, lines = source, []
        elif not source:  # a line that names the same source again: two of its cells, merged
            lines.append(line)
    close()
    return parts
