"""docs/faults.md: one row per fault and step, each written by its own test when it is stale, which then fails."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from build.notebooks.builder import ROOT
from kernel_src.runtime.files import write_text
from tests.build.kaggle.bench import Case

TABLE = ROOT / "docs" / "faults.md"
HEADING = ("fault", "step", "outcome", "exit", "what the user reads", "in the end", "duplicates", "lost")
PHASES = ("check", "account", "weights", "drift", "push", "run", "outputs", "submission", "score")
VERBS = ("data", "external", "training", "queue", "preflight")
SIGNS = {"recovers": "↻", "stops": "⏹", "refused": "✋"}
ABOUT = """# Faults of a push

For anyone whose push stopped, or who wonders what a lost connection can cost.

Written by `tests/build/kaggle/test_faults.py` (`make test-full`), never by hand: the real Kaggle client, the real
command line and the loopback stand-in `tests/build/kaggle/server.py`. A fault strikes a flow once (“without end”,
“every time” and bare HTTP codes: until the run ends); then the same command runs again, with the fault gone and, where
a person has to do something, that done.

“Duplicates” are versions of a dataset or notebook and submissions that the site has twice without having been asked
for. “Lost” is what should be there in the end and is not: every byte of the weights, the notebook as it was built, the
submission, its row in the ledger with its score, an edit made in the browser, the files of `make data`, a bundle. The
tests demand 0 and 0 in every row, a cure in every message, an exit code that is not 0 unless everything is there, that
a run after a success changes nothing, that no traceback of ours is shown, that credentials went to the API only, and
that the fault really struck.

“In the end” counts what is on the site: versions of datasets · versions of notebooks · submissions; for `make data` the
files on the disk. A second version appears only where the first is of no use (sources dropped, a run that failed, a
partial dataset) or where the row starts from an older one.
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
    glance = ["## At a glance: push-inference", "", *_glance(kept, faults, PHASES)]
    glance += ["", "## At a glance: the other verbs", "", *_glance(kept, faults, VERBS)]
    return "\n".join([ABOUT, summary(kept), "", *glance, "", "## All", "", *lines]) + "\n"


def summary(rows: Sequence[Sequence[str]]) -> str:
    """Count, in one line."""
    words = [row[2].partition(";")[0] for row in rows]
    counts = [
        f"{words.count('recovers')} recover by themselves",
        f"{words.count('stops')} end with a message and go on",
    ]
    counts.append(f"{words.count('refused')} are refused for good")
    twice, lost = (sum(int(row[column]) for row in rows) for column in (6, 7))
    faults = len({row[0] for row in rows})
    return f"{faults} faults, {len(rows)} rows: {', '.join(counts)}; duplicates {twice}, lost {lost}."


def _glance(rows: Sequence[Sequence[str]], faults: Sequence[str], phases: Sequence[str]) -> list[str]:
    """Per fault and phase: what became of it."""
    lines = [
        "↻ recovers by itself · ⏹ ends with a message, the same command goes on · ✋ refused for good",
        "",
        _line(["fault", *phases]),
        _line(["---"] * (len(phases) + 1)),
    ]
    for fault in faults:
        cells = []
        for phase in phases:
            of = [row for row in rows if row[0] == fault and row[1].partition(":")[0] == phase]
            signs = {SIGNS[row[2].partition(";")[0]] for row in of}
            cells.append(" ".join(sign for sign in SIGNS.values() if sign in signs))
        if any(cells):
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
