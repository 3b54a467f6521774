"""docs/faults.md: one row per fault and step, each written by its own test when it is stale, which then fails."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from build.notebooks import ROOT
from kernel_src.common.files import write_text
from tests.push.bench import Case

TABLE = ROOT / "docs" / "faults.md"
HEADING = ("fault", "step", "exit", "what is said", "exit of the second run", "in the end")
PHASES = ("account", "weights", "drift", "push", "run", "outputs", "submission", "score", "data")
ABOUT = """# Faults

Written by `tests/push/test_faults.py` (`make test-full`), never by hand: the real Kaggle client, the real command line
and the loopback stand-in `tests/push/server.py`. A fault strikes a flow once (“without end”, “every time” and bare HTTP
codes: until the run ends); then the same command runs again, with the fault gone and, where a person has to do
something, that done. The tests also demand, for every row: the ledger has one row per submission, a run after a success
changes nothing, no traceback of ours is shown, the fault really struck.

“In the end” counts what is on the site: versions of the weights · versions of the notebook · submissions; for `make
data` the files on the disk. A second version appears only where the first is of no use (sources dropped, a run that
failed, a partial dataset) or where the row starts from an older one.
"""


def row_of(case: Case, cells: Sequence[str]) -> list[str]:
    return [case.fault, case.step, *cells]


def compare_row(case: Case, cells: Sequence[str], cases: Sequence[Case]) -> str:
    """Compare one row with the table; a stale one is rewritten. Returns what differed, nothing if it is right."""
    with _locked():
        rows = read_rows()
        old, new = rows.get((case.fault, case.step)), row_of(case, cells)
        if old == new:
            return ""
        write_rows(rows | {(case.fault, case.step): new}, cases)
    return f"{TABLE} was stale and has been rewritten:\n- {old}\n+ {new}"


def compare_keys(cases: Sequence[Case]) -> list[tuple[str, str]]:
    """Return keys that are in the table and no case, or a case and not in the table; the former are dropped."""
    with _locked():
        rows = read_rows()
        wanted = [(case.fault, case.step) for case in cases]
        odd = [key for key in rows if key not in wanted] + [key for key in wanted if key not in rows]
        if odd or list(rows) != wanted or (rows and TABLE.read_text(encoding="utf-8") != as_text(rows, cases)):
            write_rows(rows, cases)
            odd = odd or [("the order or the text", "around the rows")]
    return odd


def read_rows() -> dict[tuple[str, str], list[str]]:
    if not TABLE.is_file():
        return {}
    rows = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in line.replace("\\|", "\0").strip("|").split("|")]
        cells = [cell.replace("\0", "|") for cell in cells]
        if line.startswith("|") and len(cells) == len(HEADING) and cells[0] not in (HEADING[0], "---"):
            rows[cells[0], cells[1]] = cells
    return rows


def write_rows(rows: dict[tuple[str, str], list[str]], cases: Sequence[Case]) -> None:
    write_text(TABLE, as_text(rows, cases))


def as_text(rows: dict[tuple[str, str], list[str]], cases: Sequence[Case]) -> str:
    keys = [(case.fault, case.step) for case in cases]
    kept = [rows[key] for key in keys if key in rows]
    lines = [_line(HEADING), _line(["---"] * len(HEADING)), *map(_line, kept)]
    faults = list(dict.fromkeys(row[0] for row in kept))
    count = f"{len(kept)} rows, {len(faults)} faults."
    return "\n".join([ABOUT, count, "", "## At a glance", "", *_glance(kept, faults), "", "## All", "", *lines]) + "\n"


def _glance(rows: Sequence[Sequence[str]], faults: Sequence[str]) -> list[str]:
    """Per fault and phase: ↻ recovers by itself, ⏹ ends with a message and goes on when run again, ✋ stays refused."""
    lines = [
        "↻ recovers by itself · ⏹ ends with exit 1 and a message, the same command goes on later · ✋ refused for good",
        "",
        _line(["fault", *PHASES]),
        _line(["---"] * (len(PHASES) + 1)),
    ]
    for fault in faults:
        cells = []
        for phase in PHASES:
            of = [row for row in rows if row[0] == fault and row[1].partition(":")[0] == phase]
            signs = {"↻" if row[2] == "0" else "⏹" if row[4] == "0" else "✋" for row in of}
            cells.append(" ".join(sign for sign in "↻⏹✋" if sign in signs))
        lines.append(_line([fault, *cells]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


@contextmanager
def _locked() -> Iterator[None]:
    """One test at a time, also of other processes."""
    folder = os.open(TABLE.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
