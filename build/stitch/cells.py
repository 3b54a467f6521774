"""Percent format: where a source is cut into cells, read from its tokens.

`# %%` starts a code cell, `# %% [markdown]` a Markdown one, `# %% tags=["parameters"]` tags it. The reading equals
jupytext's (a test compares them), without its import time; what jupytext reads in some richer way is refused.
"""

import ast
import json
import re
from dataclasses import dataclass

from build.stitch.library import Library
from build.stitch.modules import Comment, Module

_MARKER = re.compile(r"#\s*%%(%*\s.*|\s*)$")  # on comment tokens only, never on code
_FOREIGN_MARKER = re.compile(r"#\s*(<codecell>|In\[[0-9 ]*\]:?)\s*$")
_OPTIONS = re.compile(r"(?P<title>[^\[\]=]*?)\s*(?P<kind>\[(?:markdown|md)\])?\s*(?:tags=(?P<tags>\[[^\]]*\]))?\s*$")


@dataclass(frozen=True)
class Segment:
    """One cell of a source, as line numbers."""

    ordinal: int  # from 1
    kind: str  # "code" or "markdown"
    marker: int  # the line of its `# %%`; 0 when the cell is what stands before the first marker
    first: int  # line
    last: int  # line, inclusive; may be below `first` when the cell is empty
    title: str = ""
    tags: tuple[str, ...] = ()


def cut(module: Module, library: Library) -> list[Segment]:
    """Cut a module at its markers; what cannot be read is noted as a problem."""
    lines = module.lines
    markers = [
        comment for comment in module.comments if _is_marker(comment, lines) and _is_free(comment, module, library)
    ]
    starts = [(0, _body_start(lines)), *((comment.line, comment.line + 1) for comment in markers)]
    ends = [comment.line - 1 for comment in markers] + [len(lines)]
    options = ["", *(comment.text.lstrip("# \t").lstrip("%").strip() for comment in markers)]
    if not any(line.strip() for line in lines[starts[0][1] - 1 : ends[0]]):  # nothing stands before the first marker
        del starts[0], ends[0], options[0]
    segments = []
    for ordinal, ((marker, first), last, option) in enumerate(zip(starts, ends, options, strict=True), start=1):
        found = _OPTIONS.match(option)
        tags = _read_tags(found["tags"]) if found else None
        if found is None or tags is None:
            library.refuse(
                module.at(marker), f"cell option {option!r} is not known", 'use `[markdown]` or `tags=["…"]`'
            )
            continue
        kind = "markdown" if found["kind"] else "code"
        segments.append(Segment(ordinal, kind, marker, first, last, found["title"].strip(), tags))
        if kind == "markdown":
            for line in range(first, last + 1):
                if lines[line - 1].strip() and not lines[line - 1].startswith("#"):
                    library.refuse(module.at(line), "code in a Markdown cell", "start a code cell with `# %%`")
                    break
    return segments


def markdown(module: Module, segment: Segment) -> str:
    """Return a Markdown cell's text: its comment lines without the `# `."""
    return "\n".join(map(uncommented, module.lines[segment.first - 1 : segment.last])).strip("\n")


def uncommented(line: str) -> str:
    """Return a line of Markdown without the `# ` that makes it a comment."""
    return re.sub("^# ?", "", line)


def _is_marker(comment: Comment, lines: list[str]) -> bool:
    alone = not lines[comment.line - 1][: comment.column].strip()
    return alone and bool(_MARKER.match(comment.text) or _FOREIGN_MARKER.match(comment.text))


def _is_free(comment: Comment, module: Module, library: Library) -> bool:
    """Whether a marker stands between statements; elsewhere it would tear one apart."""
    if _FOREIGN_MARKER.match(comment.text):
        library.refuse(module.at(comment.line), f"foreign cell marker {comment.text!r}", "write `# %%`")
        return False
    for statement in module.tree.body:
        if first_line(statement) < comment.line <= (statement.end_lineno or 0):
            library.refuse(module.at(comment.line), "cell marker inside a statement", "move it between two statements")
            return False
    if comment.column:
        library.refuse(module.at(comment.line), "indented cell marker", "move it to the first column")
        return False
    return True


def first_line(statement: ast.stmt) -> int:
    """Return a statement's first line, decorators included."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return decorators[0].lineno if decorators else statement.lineno


def _body_start(lines: list[str]) -> int:
    """Return the first line after a shebang, an encoding comment and jupytext's YAML header."""
    start = 1
    while start <= len(lines) and (lines[start - 1].startswith("#!") or re.match(r"#.*coding[:=]", lines[start - 1])):
        start += 1
    if start <= len(lines) and lines[start - 1] == "# ---":
        for line in range(start + 1, len(lines) + 1):
            if lines[line - 1] == "# ---":
                return line + 1
            if not lines[line - 1].startswith("#"):
                break
    return start


def _read_tags(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return ()
    try:
        tags = json.loads(text)
    except ValueError:
        return None
    return tuple(tags) if all(isinstance(tag, str) for tag in tags) else None
