"""A training longer than a session: from a run that ended unfinished to the session that goes on with it.

The notebook ends itself before Kaggle would end it, and leaves the folds that it has finished and the checkpoints of
the others (kernel_src/training/session.py); begun again, it looks for such a run among its inputs (resumption.py).

1. Unfinished is a downloaded run that says what it was begun with and lacks what a finished one has.
2. It is gone on with if it is of this experiment, was begun with the same recipe, data and weights as the session
   before, and has come further. Otherwise another session would cost GPU hours for nothing. One that an error has
   ended, not its clock, is gone on with where that is asked for (`--again`).
3. What resuming needs of it and nothing else becomes a version of one private dataset, `<prefix>-<experiment>-run`.
4. The same notebook is pushed with this dataset attached, once it is READY and whole. The hash of its files is among
   the inputs of that push, as those of starting weights are.
5. The journal notes for each version what it has left, so that a command that comes later finds the newest session
   without the files of those before.

Kaggle could attach the notebook's own output instead (`kernel_sources`). That names no version: what is mounted is the
last complete run, so also one that somebody saves in the browser meanwhile. Of a dataset every size and hash is
compared before the notebook is pushed.
"""

import math
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from build.core.bundle_files import content_sha256
from build.core.errors import CheckFailed, Problem
from build.core.untrusted import object_in, read_foreign_file
from build.kaggle.client import Kaggle
from build.kaggle.explain import QuotaSpent
from build.kaggle.journal import Journal
from build.kaggle.kernels import Version
from build.kaggle.outputs import RUN_FOLDER
from build.kaggle.quota import quota_now, reset_of, until, utc_now
from kernel_src.competitions.kernel_cards import slug_stem
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.files import WeightsError, sha256_of
from kernel_src.runtime.untrusted import quoted

SESSIONS = Path("out", "push", "staging", "sessions")  # <slug>/, laid out anew each time
LEFT, NO_PROGRESS = "session", "no progress"  # in the journal: the step, and how a run ended
FINGERPRINT_FILE, CHECKPOINTS = "fingerprint.json", "checkpoint*.safetensors"  # as in kernel_src.training.resumption
# Of a run: finished folds or chunks, folds that were given up. Their modules would load torch.
DONE = ("fold*.safetensors", "given_up*.txt", "chunk*.safetensors")
# All that resuming reads. A run also holds the manifest of the dataset that it was itself resumed from.
NEEDED = (FINGERPRINT_FILE, "sources.json", "precision.json", "log[0-9]*.csv", CHECKPOINTS, *DONE)
LARGEST_FINGERPRINT = 1 << 20  # bytes
GOING_ON = "going on with"  # what a notebook prints that has found a run among its inputs
_CLOCK = re.compile(r"session's \d+ s are nearly over")  # what the training prints when it stops in time
_CRASH = re.compile(
    r"^(?P<ignored>Exception ignored .*\n)?Traceback \(most recent call last\):\n(?:[ \t].*\n)+(?P<error>\S.*)", re.M
)


@dataclass(frozen=True, kw_only=True, order=True)
class Progress:
    """How far a run has come; more of the first counts for more than any number of the second."""

    done: int = 0  # folds, or chunks of features
    steps: int = 0  # of the folds that are not finished
    unit: str = field(default="fold", compare=False)

    def __str__(self) -> str:
        """Say it."""
        steps = f" and {self.steps} steps" if self.steps else ""
        return f"{self.done} {self.unit}{'' if self.done == 1 else 's'}{steps}"


@dataclass(frozen=True, kw_only=True)
class Left:
    """What an unfinished run left for the next session."""

    version: Version  # that left it
    slug: str  # of the dataset
    sha256: str  # of its files
    fingerprint: str  # sha256 of what the run was begun with
    progress: Progress


def run_slug(experiment: str) -> str:
    """Name the dataset that carries an experiment's unfinished run from session to session."""
    return f"{slug_stem(experiment)}-run"


def is_unfinished(folder: Path, last_file: str) -> bool:
    """Return whether the outputs in a folder hold a run without its last file, which resuming can go on with."""
    run = folder / RUN_FOLDER
    return (run / FINGERPRINT_FILE).is_file() and not (run / last_file).is_file()


def verify_unfinished(folder: Path, experiment: str) -> Path:
    """Check what an unfinished run left and return its run/ folder.

    Raises:
        CheckFailed: it is of another experiment, or a checkpoint cannot be read.
    """
    run = folder / RUN_FOLDER
    path = run / FINGERPRINT_FILE
    try:
        begun = object_in(read_foreign_file(path, LARGEST_FINGERPRINT).decode("utf-8", errors="replace"))
    except ValueError as error:
        raise CheckFailed([Problem(what=str(error), where=str(path), cure="download it again")]) from None
    said = begun.get("experiment")
    name = said.get("name") if isinstance(said, dict) else said
    if name != experiment:
        what = f"this is an unfinished run of {quoted(name)}, not of {experiment!r}"
        raise CheckFailed([Problem(what=what, where=str(path), cure="look at the log of the training")])
    progress_of(run)
    return run


def progress_of(run: Path) -> Progress:
    """Count what a run has finished, and the steps of what it has not.

    Raises:
        CheckFailed: a checkpoint is damaged.
    """
    checkpoints = sorted(run.glob(CHECKPOINTS))
    steps = 0
    if checkpoints:
        from kernel_src.training.checkpoint import steps_done

        try:
            steps = sum(map(steps_done, checkpoints))
        except WeightsError as error:
            cure = f"remove {run.parent}: the same command fetches it again"
            raise CheckFailed([Problem(what=str(error), where=str(run), cure=cure)]) from None
    unit = "chunk" if any(run.glob("chunk*.safetensors")) else "fold"
    return Progress(done=sum(len(list(run.glob(pattern))) for pattern in DONE), steps=steps, unit=unit)


def left_by(version: Version, journal: Journal) -> Left | None:
    """Return what a version's run left unfinished, by the journal; None: it is finished, or was not looked at."""
    noted = journal.done(LEFT, version.inputs)
    if noted is None:
        return None
    values: dict[str, Any] = {name: noted[name] for name in ("slug", "sha256", "fingerprint")}
    return Left(version=version, progress=Progress(**noted["progress"]), **values)


def take_over(
    run: Path, log: Path, version: Version, before: Left | None, experiment: str, journal: Journal, *, again: bool
) -> Left:
    """Note what an unfinished run leaves for the next session.

    `before` is what its own session began with; `again` goes on with what an error has ended.

    Raises:
        CheckFailed: another session would come no further, or an error has ended this one.
    """
    progress, fingerprint = progress_of(run), sha256_of(run / FINGERPRINT_FILE)
    printed = log.read_text(encoding="utf-8") if log.is_file() else ""
    error = _error_in(printed)
    if before is not None and before.fingerprint != fingerprint:
        what = f"version {version.number} was begun with another recipe, data or weights than version "
        what += f"{before.version.number}, so it did not go on with its checkpoints"
        _give_up(version, journal, what, run / FINGERPRINT_FILE, "put back what the first session had")
    if progress <= (before.progress if before else Progress()):
        what = f"version {version.number} has come no further than {'before' if before else 'its beginning'} "
        what += f"({progress}): another session would cost GPU hours for nothing"
        what += f"; an error ended it: {error}" if error else ""
        if before and printed and GOING_ON not in printed:
            what += f"; its log has no {GOING_ON!r}: it did not find the checkpoints"
        _give_up(version, journal, what, log, "look at this log (a machine.limit_s that is too short for one step?)")
    if error and not again:
        what = f"not its clock but an error ended version {version.number}, after {progress}: {error}"
        cure = "look at this log; --again (make: AGAIN=1) goes on with what was trained"
        raise CheckFailed([Problem(what=what, where=str(log), cure=cure)])
    slug = run_slug(experiment)
    sha256 = content_sha256(lay_out(run, slug))
    journal.record(LEFT, version.inputs, slug=slug, sha256=sha256, fingerprint=fingerprint, progress=asdict(progress))
    return Left(version=version, slug=slug, sha256=sha256, fingerprint=fingerprint, progress=progress)


def _give_up(version: Version, journal: Journal, what: str, where: Path, cure: str) -> None:
    """Note that a run came to nothing, so that `--again` makes a new version from the same checkpoints, and raise."""
    with journal.attempt("run", version.inputs, ended=NO_PROGRESS):
        cure = f"{cure}; --again (make: AGAIN=1) runs this session once more"
        raise CheckFailed([Problem(what=what, where=str(where), cure=cure)])


def _error_in(log: str) -> str:
    """Return the error that ended a session early; empty where its clock did, or nothing is known."""
    if _CLOCK.search(log):
        return ""
    errors = [found["error"].strip() for found in _CRASH.finditer(log) if not found["ignored"]]
    return errors[-1] if errors else ""


# %%
def push_run(left: Left, run: Path, client: Kaggle, journal: Journal) -> str:
    """Push what a run has left as a version of its dataset, and wait until that is whole; return a status line.

    Raises:
        CheckFailed: these are not the files that were downloaded, or they did not arrive.
    """
    from build.kaggle.datasets import push_folder

    folder = lay_out(run, left.slug)
    if content_sha256(folder) != left.sha256:
        what = f"the run of version {left.version.number} is no longer what was downloaded"
        cure = f"remove {run.parent}: the same command fetches it again"
        raise CheckFailed([Problem(what=what, where=str(run), cure=cure)])
    return push_folder(left.slug, folder, client, journal)


def lay_out(run: Path, slug: str) -> Path:
    """Lay out what resuming needs of a run, flat, and return the folder."""
    folder = SESSIONS / slug
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in sorted({path for pattern in NEEDED for path in run.glob(pattern) if path.is_file()}):
        # Weights are gigabytes; of the others a second name would be refused as odd (build/core/untrusted.py).
        place: Callable[[Path, Path], object] = os.link if path.suffix == ".safetensors" else shutil.copyfile
        place(path, folder / path.name)
    return folder


# %%
def sessions_expected(run: Path, sessions: int, recipe: Experiment) -> int | None:
    """Return how many sessions a training will take in all, by the whole epochs of those so far; None: unknown."""
    from kernel_src.runtime.weight_files import open_weights
    from kernel_src.training.checkpoint import read_progress

    epochs = sum(len(list(run.glob(pattern))) for pattern in DONE) * recipe.schedule.epochs
    for path in run.glob(CHECKPOINTS):
        with open_weights(path) as file:
            epochs += read_progress(file, path).epoch
    wanted = recipe.data.folds_trained * recipe.schedule.epochs
    return math.ceil(sessions * wanted / epochs) if epochs else None


def quota_spent(spent: QuotaSpent, left: Left | None, owner: str, client: Kaggle, command: str) -> QuotaSpent:
    """Return the error for a quota that is spent, with when hours come back and what goes on then."""
    now = utc_now()
    when = until(reset_of(quota_now(client), now), now)
    kept = f"the checkpoints are kept in the dataset {owner}/{left.slug}; " if left else ""
    cure = f"the hours come back {when}; {kept}`{command}` goes on then"
    return QuotaSpent([Problem(what=problem.what, where=problem.where, cure=cure) for problem in spent.problems])
