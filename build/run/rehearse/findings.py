"""What came of a run: network attempts, the failure, the times, the submission, each read from what the run left."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.core.submission_file import read_column, read_rows, submission_problems
from build.core.untrusted import object_in, plain_text, read_foreign_file
from build.run.rehearse.executed_cells import Cells, CodeCell
from build.run.rehearse.failure import Failure, explain_error, explain_stop
from build.run.rehearse.report import CellTime, NetworkAttempt, SubmissionCheck
from build.run.rehearse.runner import KERNEL_DIED, OK
from build.run.rehearse.sandbox import launcher_report, setup_error
from build.run.rehearse.scratch import Scratch
from build.run.rehearse.watch import Watched
from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competitions.biomass.constants import (
    ID_COLUMN,
    ID_SEPARATOR,
    SAMPLE_CSV,
    SUBMISSION_FILE,
    TEST_CSV,
    TRAIN_CSV,
)

# {"images": n, "predict_seconds": s, "device": {…}}, in /kaggle/working if the notebook writes it
INFERENCE_REPORT = "inference_report.json"
LARGEST_NOTE = 16 << 20  # bytes, of any file in which a run notes how it goes
SCALE_IMAGES = 800  # about the size of the competition's hidden test


def read_text(path: Path) -> str:
    """Read what a run left in the box, which the notebook can write to: "" where it is not a plain file."""
    try:
        return read_foreign_file(path, LARGEST_NOTE).decode("utf-8", errors="replace")
    except (FileNotFoundError, ValueError):
        return ""


def read_lines(path: Path, **fields: type) -> list[dict[str, Any]]:
    """Read JSON lines that have these fields, of these types; others, and a last line cut short, are left out."""
    entries = map(object_in, read_text(path).split("\n")[:-1])
    return [
        entry
        for entry in entries
        if all(isinstance(entry.get(name), kind) and not isinstance(entry[name], bool) for name, kind in fields.items())
        and math.isfinite(entry.get("time", 0.0))
    ]


def _read_progress(scratch: Scratch) -> list[dict[str, Any]]:
    return read_lines(scratch.progress, index=int, state=str, time=float)


def last_started(scratch: Scratch, cells: Cells) -> CodeCell | None:
    """Find the cell that was running when the run ended."""
    started = [entry["index"] for entry in _read_progress(scratch) if entry["state"] == "started"]
    return cells.at(started[-1]) if started else None


def cell_times(scratch: Scratch, cells: Cells) -> tuple[CellTime, ...]:
    """Pair the start and end of each cell; one that never ended is left out."""
    started: dict[int, float] = {}
    times = []
    for entry in _read_progress(scratch):
        if entry["state"] == "started":
            started[entry["index"]] = entry["time"]
        elif (cell := cells.at(entry["index"])) and entry["index"] in started:
            seconds = round(entry["time"] - started[entry["index"]], 3)
            times.append(CellTime(cell=cell.number, title=cell.title, source=cell.source, seconds=seconds))
    return tuple(times)


def network_attempts(scratch: Scratch, cells: Cells) -> tuple[NetworkAttempt, ...]:
    """List every try to leave the machine, with the place in the notebook as far as it is known.

    Python's own are seen by the guard; the packets that the namespace refused also show those of other programs.
    """
    attempts = []
    for entry in read_lines(scratch.events, target=str, time=float):
        running, line_cell = cells.numbered(entry.get("cell")), cells.numbered(entry.get("line_cell"))
        if running is None:  # another process of the notebook: the time says which cell started it
            running = _running_at(entry["time"], scratch, cells)
        line = entry.get("line") if isinstance(entry.get("line"), int) else None
        source = line_cell.place(line) if line_cell else running.place() if running else ""
        attempts.append(NetworkAttempt(target=plain_text(entry["target"][:200]), source=source))
    if not attempts:
        refused = launcher_report(scratch).get("refused_packets")
        if refused:
            target = f"an unknown address, not from Python ({refused} packets refused)"
            attempts.append(NetworkAttempt(target=target, source=""))
    return tuple(attempts)


def _running_at(time: float, scratch: Scratch, cells: Cells) -> CodeCell | None:
    begun = [e["index"] for e in _read_progress(scratch) if e["state"] == "started" and e["time"] <= time]
    return cells.at(begun[-1]) if begun else None


def find_failure(
    watched: Watched, scratch: Scratch, cells: Cells, *, limit_s: float, memory_gb: float
) -> Failure | None:
    """Explain why the notebook did not run to its end; None if it did."""
    cell = last_started(scratch, cells)
    where = f" in cell In[{cell.number}]" if cell else " before the first cell"

    def stop(kind: str, error: str, *, output: str = "") -> Failure:
        output = output or read_text(scratch.output)
        return explain_stop(kind, error, cells, cell, output=output, stacks=read_text(scratch.stacks))

    if watched.stopped_by == "time":
        return stop("time", f"time limit of {limit_s:g} s exceeded{where} after {watched.seconds:.1f} s")
    if watched.stopped_by == "memory":
        return stop("memory", f"memory limit of {memory_gb:g} GB exceeded{where}: {watched.peak_gb:.2f} GB")
    if error := setup_error(scratch):
        return stop("setup", f"the sandbox could not be set up: {error}")
    result = object_in(read_text(scratch.result))
    if not isinstance(result.get("message"), str):
        error = f"papermill itself came to an end{where} (status {watched.exit_status})"
        return stop("killed", error, output=read_text(scratch.log))
    if result.get("status") == OK:
        return None
    if result.get("status") == KERNEL_DIED:
        error = (
            f"the kernel was killed without a message{where}: killed by the system (out of memory? the peak seen was "
            f"{watched.peak_gb:.2f} GB) or by a crash in compiled code"
        )
        return stop("killed", error)
    return explain_error(cells) or stop("setup", result["message"])


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the mounted competition asks for; read before the run, since a notebook might change it."""

    sample_ids: list[str]
    test_ids: list[str]
    test_images: int
    train_images: int


def read_expected(competition: Path) -> Expected:
    """Read the ids and count the images of a competition folder.

    A test.csv without ids is for the notebook to refuse: the sample submission says what it must write.

    Raises:
        CheckFailed: the sample submission or train.csv cannot be read.
    """
    try:
        sample_ids = read_column(competition / SAMPLE_CSV, ID_COLUMN)
        train_images = len(set(read_column(competition / TRAIN_CSV, IMAGE_COLUMN)))
    except ValueError as error:
        raise CheckFailed([Problem(what=str(error), cure="give the competition's data as it was downloaded")]) from None
    try:
        test_ids = read_column(competition / TEST_CSV, ID_COLUMN)
    except ValueError:
        test_ids = sample_ids
    return Expected(
        sample_ids=sample_ids,
        test_ids=test_ids,
        test_images=len({name.rpartition(ID_SEPARATOR)[0] for name in test_ids}),
        train_images=train_images,
    )


def check_submission(working: Path, expected: Expected) -> SubmissionCheck:
    """Hold submission.csv against both the sample submission and test.csv."""
    path = working / SUBMISSION_FILE
    problems = submission_problems(path, expected.sample_ids)
    if set(expected.test_ids) != set(expected.sample_ids):
        against_test = submission_problems(path, expected.test_ids)
        problems += [text.replace("the sample submission", TEST_CSV) for text in against_test if text not in problems]
    # The path inside the sandbox is the one that the author of the notebook knows.
    problems = [problem.replace(str(path), f"/kaggle/working/{SUBMISSION_FILE}") for problem in problems]
    try:
        rows = max(0, len(read_rows(path)) - 1)
    except (FileNotFoundError, ValueError):
        rows = 0  # the problems say why
    return SubmissionCheck(rows=rows, valid=not problems, problems=tuple(problems))


def inference_report(working: Path) -> dict[str, Any]:
    """Read what the notebook says of its own prediction; nothing if it says nothing usable."""
    return object_in(read_text(working / INFERENCE_REPORT))


def stated_device(said: dict[str, Any]) -> dict[str, Any]:
    """Return what the notebook says of its device, as far as that is plain text and numbers."""
    stated = said.get("device")
    kept = {plain_text(name[:80]): value for name, value in stated.items()} if isinstance(stated, dict) else {}
    return {
        name: plain_text(value[:200]) if isinstance(value, str) else value
        for name, value in kept.items()
        if isinstance(value, str | bool | None) or _is_sound(value)
    }


def _is_sound(value: object) -> bool:
    """Say whether a value from a notebook's JSON is a number to calculate with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15  # NaN is not below


def project(seconds: float, images: int | None, said: dict[str, Any]) -> tuple[float | None, str]:
    """Estimate the seconds for 800 test images: what is fixed stays, what goes with the images is scaled.

    Where the notebook states nothing, everything counts as going with the images, which overestimates.
    """
    predicting: Any = said.get("predict_seconds")
    predicted: Any = said.get("images")
    known = isinstance(predicting, int | float) and isinstance(predicted, int)
    if known and _is_sound(predicting) and _is_sound(predicted) and predicted > 0 and predicting >= 0:
        fixed = max(0.0, seconds - predicting)
        each = predicting / predicted
        return fixed + SCALE_IMAGES * each, f"{fixed:.1f} s fixed, {each:.3f} s per image, says {INFERENCE_REPORT}"
    if not images:
        return None, ""
    return seconds / images * SCALE_IMAGES, f"the whole run scaled by images: no {INFERENCE_REPORT} says what is fixed"
