"""What a failing notebook shows: the cell, its last lines, and the traceback in terms of `kernel_src/`."""

import re
from dataclasses import dataclass
from pathlib import Path

from build.core.foreign_text import hide_secrets, shown
from build.run.rehearse.executed_cells import Cells, CodeCell, error_of

ANSI = re.compile(r"\x1b\[[0-9;]*m")
# A frame in a cell has two shapes: IPython's own, and a path that carries a hash of the cell's text, from worker
# processes and the logging of libraries.
FRAME = re.compile(
    r"Cell In\[(?P<number>\d+)\], line (?P<line>\d+)"
    r'|File "?[^"\n]*ipykernel_\d+/(?P<hash>\d+)\.py"?(?:, line |:)(?P<hash_line>\d+)'
)
LAST_LINES = 15


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why and where a notebook ended early; every text in it is fit to be shown."""

    kind: str  # error, time, memory, killed or setup
    error: str  # one line
    cell: int | None = None  # n of In[n]
    title: str = ""  # the heading above that cell
    source: str = ""  # kernel_src file:line
    traceback: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()  # of the cell's output

    def __post_init__(self) -> None:
        """Let nothing pass that the notebook or Kaggle has put in for a terminal."""
        for name in ("error", "title", "source"):
            object.__setattr__(self, name, shown(getattr(self, name)))
        for name in ("traceback", "last_lines"):
            object.__setattr__(self, name, tuple(map(shown, getattr(self, name))))

    def as_text(self) -> str:
        """Write it out for a terminal, the line that says most last."""
        head = f"failing cell: In[{self.cell}]" if self.cell else "no cell had started"
        parts = [head + (f" “{self.title}”" if self.title else "") + (f", at {self.source}" if self.source else "")]
        if self.last_lines:
            parts += ["last lines of its output:", *(f"    {line}" for line in self.last_lines)]
        if self.traceback[-1:] != (self.error,):
            return "\n".join([*parts, *self.traceback[-40:], self.error])
        return "\n".join([*parts, *self.traceback[-40:]])


def explain_error(cells: Cells) -> Failure | None:
    """Explain the error output of an executed notebook; None if it has none."""
    cell = cells.failing()
    if cell is None:
        return None
    output = error_of(cell) or {}
    traceback, places = map_traceback("\n".join(output.get("traceback", [])), cells)
    return Failure(
        kind="error",
        error=f"{output.get('ename', 'Error')}: {output.get('evalue', '')}",
        cell=cell.number,
        title=cell.title,
        source=places[-1] if places else cell.place(),
        traceback=tuple(traceback.splitlines()),
        last_lines=last_lines("".join("".join(out["text"]) for out in cell.outputs if out["output_type"] == "stream")),
    )


def explain_stop(kind: str, error: str, cells: Cells, cell: CodeCell | None, *, output: str, stacks: str) -> Failure:
    """Explain an end from outside: a limit, or a kernel that was killed.

    `output` is what the cell had printed, `stacks` what faulthandler wrote when the end came.
    """
    if cell is None:
        return Failure(kind=kind, error=error, last_lines=last_lines(output))
    mapped, places = map_traceback(stacks, cells)
    return Failure(
        kind=kind,
        error=error,
        cell=cell.number,
        title=cell.title,
        source=places[0] if places else cell.place(),  # faulthandler begins with the innermost frame
        # Only the thread that runs the notebook's code, and only down to it: below lies Jupyter.
        traceback=_until_last_cell(mapped, places),
        last_lines=last_lines(output),
    )


def map_traceback(text: str, cells: Cells) -> tuple[str, list[str]]:
    """Put kernel_src file:line in place of every frame that lies in a cell; also return those places, in order."""
    places = []
    hashes = _hashes(cells) if "ipykernel_" in text else {}

    def name_source(match: re.Match[str]) -> str:
        cell = cells.numbered(int(match["number"])) if match["number"] else hashes.get(match["hash"])
        if cell is None:
            return match[0]
        line = int(match["line"] or match["hash_line"])
        places.append(cell.place(line))
        return f"{places[-1]} (cell In[{cell.number}], line {line})" if cell.source else match[0]

    return shown(FRAME.sub(name_source, ANSI.sub("", text))), places


def _hashes(cells: Cells) -> dict[str, CodeCell]:
    """Name each cell as ipykernel names its file: the murmur hash of its text."""
    from ipykernel.compiler import get_file_name

    names = (Path(get_file_name(cell.text)).stem for cell in cells.cells)
    return dict(zip(names, cells.cells, strict=True))


def last_lines(text: str) -> tuple[str, ...]:
    """Keep the end of some output as a terminal would show it: a progress bar overwrites its line."""
    clean = hide_secrets(ANSI.sub("", text))  # before it falls into lines: a secret may be broken over two
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in clean.split("\n")]
    return tuple(line for line in lines if line)[-LAST_LINES:]


def _until_last_cell(stacks: str, places: list[str]) -> tuple[str, ...]:
    lines = stacks.splitlines()
    ours = [number for number, line in enumerate(lines) if any(place in line for place in places)]
    if not ours:
        return ()
    heads = [number for number, line in enumerate(lines[: ours[0]]) if line.endswith("(most recent call first):")]
    return tuple(lines[heads[-1] if heads else 0 : ours[-1] + 1])
