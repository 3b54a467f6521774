"""What came of a run: network attempts, the failure, the times, the submission, each read from what the run left."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.problems import CheckFailed, Problem
from build.rehearse.cells import Cells, CodeCell
from build.rehearse.failure import Failure, explain_error, explain_stop
from build.rehearse.report import CellTime, NetworkAttempt, SubmissionCheck
from build.rehearse.runner import KERNEL_DIED, OK
from build.rehearse.sandbox import Scratch, setup_error
from build.rehearse.watch import Watched
from kernel_src.common.competition import (
    ID_COLUMN,
    ID_SEPARATOR,
    IMAGE_COLUMN,
    SAMPLE_CSV,
    SUBMISSION_FILE,
    TEST_CSV,
    TRAIN_CSV,
)
from kernel_src.common.submission import read_column, submission_problems

# {"images": n, "predict_seconds": s, "device": {…}}, in /kaggle/working if the notebook writes it
INFERENCE_REPORT = "inference_report.json"
SCALE_IMAGES = 800  # about the size of the competition's hidden test


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run may use."""

    limit_s: float
    memory_gb: float


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def last_started(scratch: Scratch, cells: Cells) -> CodeCell | None:
    """Find the cell that was running when the run ended."""
    started = [entry["index"] for entry in read_lines(scratch.progress) if entry["state"] == "started"]
    return cells.at(started[-1]) if started else None


def cell_times(scratch: Scratch, cells: Cells) -> tuple[CellTime, ...]:
    """Pair the start and end of each cell; one that never ended is left out."""
    started: dict[int, float] = {}
    times = []
    for entry in read_lines(scratch.progress):
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
    for entry in read_lines(scratch.events):
        running, line_cell = cells.numbered(entry["cell"]), cells.numbered(entry["line_cell"])
        if running is None:  # another process of the notebook: the time says which cell started it
            running = _running_at(entry["time"], scratch, cells)
        source = line_cell.place(entry["line"]) if line_cell else running.place() if running else ""
        attempts.append(NetworkAttempt(target=entry["target"], source=source))
    if not attempts and scratch.counters.exists():
        refused = json.loads(scratch.counters.read_text())["refused_packets"]
        if refused:
            target = f"an unknown address, not from Python ({refused} packets refused)"
            attempts.append(NetworkAttempt(target=target, source=""))
    return tuple(attempts)


def _running_at(time: float, scratch: Scratch, cells: Cells) -> CodeCell | None:
    begun = [e["index"] for e in read_lines(scratch.progress) if e["state"] == "started" and e["time"] <= time]
    return cells.at(begun[-1]) if begun else None


def find_failure(watched: Watched, scratch: Scratch, cells: Cells, limits: Limits) -> Failure | None:
    """Explain why the notebook did not run to its end; None if it did."""
    cell = last_started(scratch, cells)
    where = f" in cell In[{cell.number}]" if cell else " before the first cell"

    def stop(kind: str, error: str, *, output: str = "") -> Failure:
        output = output or _text(scratch.output)
        return explain_stop(kind, error, cells, cell, output=output, stacks=_text(scratch.stacks))

    if watched.stopped_by == "time":
        return stop("time", f"time limit of {limits.limit_s:g} s exceeded{where} after {watched.seconds:.1f} s")
    if watched.stopped_by == "memory":
        return stop("memory", f"memory limit of {limits.memory_gb:g} GB exceeded{where}: {watched.peak_gb:.2f} GB")
    if error := setup_error(scratch):
        return stop("setup", f"the sandbox could not be set up: {error}")
    if not scratch.result.exists():
        error = f"papermill itself came to an end{where} (status {watched.exit_status})"
        return stop("died", error, output=_text(scratch.log))
    result = json.loads(scratch.result.read_text())
    if result["status"] == OK:
        return None
    if result["status"] == KERNEL_DIED:
        error = (
            f"the kernel died without a word{where}: killed by the system (out of memory? the peak seen was "
            f"{watched.peak_gb:.2f} GB) or by a crash in compiled code"
        )
        return stop("died", error)
    return explain_error(cells) or stop("setup", result["message"])


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the mounted competition asks for; read before the run, since a notebook might change it."""

    sample_ids: list[str]
    test_ids: list[str]
    test_images: int
    train_images: int


def read_expected(competition: Path) -> Expected:
    """Read the ids and count the images of a competition folder.

    A test.csv without ids is for the notebook to tell of: the sample submission says what it must write.

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
    rows = 0
    if path.is_file():
        with path.open(newline="", encoding="utf-8", errors="replace") as handle:
            rows = max(0, sum(1 for _ in csv.reader(handle)) - 1)
    return SubmissionCheck(rows=rows, valid=not problems, problems=tuple(problems))


def inference_report(working: Path) -> dict[str, Any]:
    """Read what the notebook says of its own prediction; nothing if it says nothing usable."""
    path = working / INFERENCE_REPORT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def project(seconds: float, images: int | None, said: dict[str, Any]) -> tuple[float | None, str]:
    """Estimate the seconds for 800 test images: what is fixed stays, what goes with the images is scaled.

    Without a word from the notebook everything counts as going with the images, which overestimates.
    """
    predicting, predicted = said.get("predict_seconds"), said.get("images")
    if isinstance(predicting, int | float) and isinstance(predicted, int) and predicted > 0 and predicting >= 0:
        fixed = max(0.0, seconds - predicting)
        each = predicting / predicted
        return fixed + SCALE_IMAGES * each, f"{fixed:.1f} s fixed, {each:.3f} s per image, says {INFERENCE_REPORT}"
    if not images:
        return None, ""
    return seconds / images * SCALE_IMAGES, f"the whole run scaled by images: no {INFERENCE_REPORT} says what is fixed"
