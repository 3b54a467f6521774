"""The log of a run on Kaggle: why the notebook ended, in terms of `kernel_src/`.

Kaggle hands the log out as JSON, a list of `{"stream_name", "time", "data"}`; papermill's last words in it are the
traceback of the failing cell. The notebook that was pushed says which file and line each of its frames is.
"""

import json
import re

from build.core.foreign_text import hide_in_pieces, hide_secrets, shown
from build.run.rehearse.executed_cells import Cells
from build.run.rehearse.failure import ANSI, Failure, last_lines, map_traceback

# papermill: `Exception encountered at "In [5]":`, above it and below it a rule.
_FAILING_CELL = re.compile(r'Exception encountered at "In \[(\d+)\]"')
_TRACEBACK = re.compile(r"^-{20,}$", re.MULTILINE)
# Kaggle converts whatever came of the notebook to HTML afterwards; its log goes on after the traceback.
_AFTERWARDS = re.compile(r"^(?:\[NbConvertApp\]|.*jupyter nbconvert|.*/nbconvert/|.*traitlets)", re.MULTILINE)


def log_text(log: str) -> str:
    """Return the log as it may be kept and shown, line by line; one that is no JSON is taken as text."""
    return shown(_joined(log).replace("\r\n", "\n").replace("\r", "\n"))


def _joined(log: str) -> str:
    """Put the pieces of a log together, without colours and without credentials, which a cut may run through."""
    try:
        entries = json.loads(log)
    except (ValueError, RecursionError):
        return hide_secrets(ANSI.sub("", log))
    if not isinstance(entries, list):
        return hide_secrets(ANSI.sub("", log))
    streams = [str(entry.get("stream_name", "")) for entry in entries if isinstance(entry, dict)]
    pieces = [str(entry.get("data", "")) for entry in entries if isinstance(entry, dict)]
    for stream in sorted(set(streams)):  # the pieces of another may lie between those of one
        numbers = [number for number, name in enumerate(streams) if name == stream]
        for number, piece in zip(numbers, hide_in_pieces([pieces[number] for number in numbers]), strict=True):
            pieces[number] = piece
    return ANSI.sub("", "".join(hide_in_pieces(pieces)))


def explain_log(log: str, cells: Cells, failure_message: str) -> Failure:
    """Find the failing cell and its traceback in the log; without one, keep the last lines.

    `cells` are those of the notebook as it was pushed, none of which has a number of its own yet: the n-th code cell is
    In[n], since Kaggle runs them in order. `failure_message` is what Kaggle itself says.
    """
    text = _joined(log)
    encountered = list(_FAILING_CELL.finditer(text))
    if not encountered:
        error = failure_message or "Kaggle says ERROR and nothing else"
        return Failure(kind="killed", error=error, last_lines=last_lines(text))
    start = encountered[-1]
    report = text[start.end() :].lstrip(":\r\n")
    if rule := _TRACEBACK.match(report):
        report = report[rule.end() :].lstrip()
    if afterwards := _AFTERWARDS.search(report):
        report = report[: afterwards.start()]
    traceback, places = map_traceback(report.strip(), cells)
    lines = tuple(line for line in traceback.splitlines() if line.strip())
    number = int(start[1])
    cell = cells.numbered(number)
    before = text[: start.start()].rpartition("Traceback (most recent call last)")[0] or text[: start.start()]
    return Failure(
        kind="error",
        error=lines[-1] if lines else failure_message or "Kaggle says ERROR and nothing else",
        cell=number,
        title=cell.title if cell else "",
        source=places[-1] if places else cell.place() if cell else "",
        traceback=lines,
        last_lines=last_lines(before),
    )
