"""What the lines of a running notebook say to the person who waits: the cell, a notice, progress, or just a line.

Text of the log is foreign: what is handed on has no credential, no colour and no control character in it, and is not
longer than a screen. A frame of a traceback that lies in a cell is named by its file and line in the sources.
"""

import re
from dataclasses import dataclass
from typing import Literal

from build.core.foreign_text import hide_in_pieces, shown
from build.kaggle.log_events import Piece
from build.kaggle.running_cell import RunningCell
from build.run.rehearse.executed_cells import Cells, CodeCell
from build.run.rehearse.failure import ANSI, map_traceback

Kind = Literal["cell", "notice", "progress", "line"]
LONGEST = 1000  # characters of a line; the whole log is kept with the outputs
LONGEST_UNENDED = 1 << 16  # characters that wait for their line's end
# What the kit's notebooks print of what is not as it should be: kernel_src/runtime/faults.py, NOT USED, NOT WHOLE, …
_NOTICE = re.compile(r"\s*(?:NOTE\b|WARNING\b|FAULT\b|NOT [A-Z]{2,}|fold \d+ is given up)")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)|Exception encountered at \"In \[\d+\]\"")
_AFTERWARDS = re.compile(r"\[NbConvertApp\]|.*/nbconvert/|.*traitlets")  # Kaggle goes on with the notebook's page
# A bar of tqdm: `fold 0:  33%|███   | 120/360 [00:34<01:02,  3.85batch/s, epoch=2, loss=0.512]`.
_BAR = re.compile(
    r"(?P<what>[^|%]*?):?\s*\d+%\|[^|]*\|\s*(?P<done>[\d.]+\w?)/(?P<total>[\d.]+\w?)\s*"
    r"\[[\d:]+<(?P<left>[\d:?]+),\s*(?P<rate>[^,\]]*)(?:,\s*(?P<more>[^\]]*))?\]"
)
_UNIT = re.compile(r"([A-Za-z]+)/s|s/([A-Za-z]+)")
_EPOCH = re.compile(r"(?P<what>(?:fold \d+\b)?).*?\bepoch\b", re.I)


@dataclass(frozen=True)
class Said:
    """One thing to show."""

    kind: Kind
    text: str
    subject: str = ""  # of progress: what it is of; a later one of the same takes its place
    passing: bool = False  # it was overwritten, or will be: a bar


class LogReader:
    """Puts the pieces of a log together to lines, and says what each is."""

    def __init__(self, cells: Cells) -> None:
        """`cells` are those of the notebook that runs."""
        self._cells = cells
        self._running = RunningCell(cells)
        self._unended: dict[str, str] = {}  # by stream
        self._before = ""  # the last line, for what was cut in two
        self._in_traceback = False

    def read(self, piece: Piece) -> list[Said]:
        """Take a piece; return what it completes."""
        text = self._unended.get(piece.stream, "") + ANSI.sub("", piece.text).replace("\r\n", "\n")
        *lines, rest = text.split("\n")
        if len(rest) > LONGEST_UNENDED:
            lines, rest = [*lines, rest], ""
        said = [one for line in lines for one in self._line(line)]
        *passed, self._unended[piece.stream] = rest.split("\r")
        passing = next((text for text in (self._unended[piece.stream], *reversed(passed)) if text.strip()), "")
        bar = self._progress(shown(passing[:LONGEST]), passing=True) if "%|" in passing else None
        return [*said, bar] if bar else said

    def close(self) -> list[Said]:
        """Return the lines that never ended."""
        rests, self._unended = [rest for rest in self._unended.values() if rest.strip()], {}
        return [one for rest in rests for one in self._line(rest)]

    def _line(self, raw: str) -> list[Said]:
        raw = next((text for text in reversed(raw.split("\r")) if text.strip()), "")
        if not raw.strip():
            return []
        raw, self._before = hide_in_pieces([self._before, raw])[1], raw
        text = map_traceback(raw[: 4 * LONGEST], self._cells)[0].rstrip()
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(raw):,} characters)"
        said = []
        if self._running.read(raw[:LONGEST]) and self._running.cell:
            said.append(Said("cell", cell_words(self._running.cell, certain=self._running.certain)))
        return [*said, self._classified(text)]

    def _classified(self, text: str) -> Said:
        if _TRACEBACK.search(text):
            self._in_traceback = True
        elif self._in_traceback and _AFTERWARDS.match(text):
            self._in_traceback = False
        if self._in_traceback or _NOTICE.match(text):
            return Said("notice", text)
        return self._progress(text, passing=False) or Said("line", text)

    def _progress(self, text: str, *, passing: bool) -> Said | None:
        if bar := _BAR.match(text):
            unit = _UNIT.search(bar["rate"])
            words = f"{bar['done']} of {bar['total']} {(unit[1] or unit[2]) if unit else ''}".rstrip()
            more = f", {bar['more']}" if bar["more"] else ""
            left = f", {bar['left']} left" if "?" not in bar["left"] else ""
            subject = bar["what"].strip() or "progress"
            return Said("progress", f"{subject}: {words}{more}{left}", subject, passing)
        if epoch := _EPOCH.match(text):
            return Said("progress", text.strip(), epoch["what"] or "epoch", passing)
        return None


def cell_words(cell: CodeCell, *, certain: bool) -> str:
    """Name a cell by its heading and its file."""
    heading = f" “{shown(cell.title)}”" if cell.title else ""
    return f"cell In[{cell.number}]{heading}, {cell.source or 'notebook'}{'' if certain else ', as its lines suggest'}"
