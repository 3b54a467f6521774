"""`make queue`: several experiments trained on Kaggle one after the other, over days if need be.

1. Each goes through the door of `make push-training`, which goes on wherever it was stopped. The queue adds only when:
   before something is pushed, it looks at the week's GPU hours and says what else runs on this account.
2. Where the hours do not last, or Kaggle refuses since they are spent, it says when it goes on and waits until then. It
   waits too while another push runs in this checkout. Meanwhile it holds no lock: other pushes may run.
3. A run that failed, or anything else that is wrong with one experiment, is said, and the next one begins. What was
   refused as not this experiment's fault ends the command: no valid credentials, a full disk.
4. What only time cures (no network, 429, 5xx, a lost answer) is tried again, for a day; then the command ends.
5. Nothing of this is remembered in the process: queue_file.py says where it goes on after any kill.
"""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from build.core.choosing import known_competition, working_on
from build.core.errors import CheckFailed, Problem, UsageError
from build.core.progress import watching
from build.kaggle import quota as gpu_hours
from build.kaggle.board import other_sessions
from build.kaggle.client import Kaggle, open_client
from build.kaggle.effects import settle_s
from build.kaggle.explain import QuotaSpent, ResponseLost, is_local_fault, status_of
from build.kaggle.flow import PushOptions
from build.kaggle.journal import AlreadyRunning, Journal, held, only_push
from build.kaggle.preparation import PUSH_FOLDER, one_push, resumable, sources_sha256
from build.kaggle.queue_file import OPEN, Entry, changed_entry, enlisted, read_queue, write_queue
from build.kaggle.retry import judge, pause, poll_s, timeout_s
from build.kaggle.sessions import LEFT
from build.kaggle.training import push_training
from build.notebooks.adopted import competition_of_adopted
from build.notebooks.builder import all_cards, choose_cards, slug_named
from kernel_src.competition.choice import DEFAULT_COMPETITION
from kernel_src.competitions.held_recipes import COMPETITION_OF, EXPERIMENTS
from kernel_src.competitions.kernel_cards import KernelCard, kernel_on_gpus
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.manifest import BundleError

LOCK = PUSH_FOLDER / "queue.lock"
GOES_ON = "make queue"
OUTAGE_PAUSES = 20  # between two tries where Kaggle cannot be asked: ten minutes
OUTAGES = 144  # of one experiment, then the command ends: a day of them


def train_queue(names: Sequence[str], *, again: bool, quiet: bool) -> list[Entry]:
    """Train what is named, and what is left of an earlier call, one after the other; return the whole queue.

    Raises:
        UsageError: a name that has nothing to train, nothing to go on with, or another queue at work.
        CheckFailed: what concerns no single experiment; the queue is kept.
    """
    with held(LOCK, "another queue"), resumable(GOES_ON):
        _refuse_at_once(names)
        queue = enlisted(read_queue(), names, again=again)
        if not queue:
            raise UsageError('no queue here: name its experiments, e.g. make queue EXPERIMENTS="v1 v2"')
        write_queue(queue)
        sources = sources_sha256()
        while entry := next((one for one in queue if one.state in OPEN), None):
            number = [one.experiment for one in queue].index(entry.experiment) + 1
            _say(f"queue: {entry.experiment}, {number} of {len(queue)}", quiet)
            queue = _end(queue, entry, sources, quiet)
            write_queue(queue)
        return queue


def _begin_anew_if_edited(sources: str, quiet: bool) -> None:
    """Let a new process go on where the sources are not those any more that this one has imported.

    It would build from the new text with the old recipes.
    """
    if sources_sha256() != sources:
        _say("queue: the sources were edited meanwhile, so it goes on in a new process", quiet)
        command = [sys.executable, "-m", "build", "queue", *(["--json"] if quiet else [])]
        os.execv(sys.executable, command)


def _refuse_at_once(names: Sequence[str]) -> None:
    """Find what would fail each experiment, or cannot be trained, before anything is begun.

    Raises:
        UsageError: a name that has nothing to train, or a time in the environment that is none.
    """
    for name in names:
        _card_of(name)
    poll_s(), settle_s(), timeout_s()


def problems_of(queue: Sequence[Entry]) -> list[Problem]:
    """Return what failed, each with the command that tries it again."""
    return [
        Problem(what=f"{one.experiment} failed: {one.summary}", cure=f"`{again_command([one])}` tries it again")
        for one in queue
        if one.state == "failed"
    ]


def again_command(entries: Sequence[Entry]) -> str:
    """Return the command that trains once more what failed."""
    names = " ".join(entry.experiment for entry in entries)
    return f"make queue EXPERIMENTS={shlex.quote(names)} AGAIN=1"


def as_json(queue: Sequence[Entry]) -> dict[str, Any]:
    """Return what became of a queue as plain values."""
    failed = [entry for entry in queue if entry.state == "failed"]
    next_command = {"next": again_command(failed)} if failed else {}
    return {"ok": not failed, "experiments": [asdict(entry) for entry in queue], **next_command}


def _kernel_slug(experiment: str) -> str:
    """Return the slug of the notebook that runs on Kaggle for an experiment, or for an adopted kernel."""
    return slug_named(experiment, _kernel_of(experiment))


def _kernel_of(experiment: str) -> str:
    return kernel_on_gpus(experiment) if experiment in EXPERIMENTS else "train"


def _card_of(name: str) -> KernelCard:
    """Return the card of the notebook that trains.

    Raises:
        UsageError: there is none.
    """
    for card in choose_cards(name, all_cards()):
        if name and card.kernel == _kernel_of(name):
            return card
    raise UsageError(f"{name!r} has nothing to train: of an ensemble, name the members")


def _end(queue: Sequence[Entry], entry: Entry, sources: str, quiet: bool) -> list[Entry]:
    """Bring one experiment to its end, however long that takes; return the queue with what became of it."""

    def note(**values: Any) -> None:
        write_queue(changed_entry(queue, entry.experiment, **values))

    outages, signed_in = 0, False
    while True:
        _begin_anew_if_edited(sources, quiet)
        try:
            signed_in = False
            client = open_client()
            signed_in = True
            result = _train(entry, note, quiet)
            return changed_entry(queue, entry.experiment, state="done", said=str(result.get("next", "")))
        except gpu_hours.NoRoom as full:
            outages = 0  # Kaggle answers
            _wait_for_hours(entry, full.shortage, note, quiet)
        except QuotaSpent as spent:
            outages = 0
            moment = gpu_hours.goes_on_at(gpu_hours.quota_now(client), gpu_hours.utc_now())
            _wait_for_hours(entry, gpu_hours.Shortage(spent.problems[0].what, moment), note, quiet)
        except AlreadyRunning as other:
            note(state="waits", said=str(other))
            _wait_for_push(entry, other, quiet)
        except (UsageError, BundleError, WeightsError) as error:  # of what the run has left
            return _failed(queue, entry, [Problem(what=str(error))], quiet)
        except CheckFailed as failed:
            if _passes(failed) and outages < OUTAGES:
                outages += 1
                _sit_out(entry, failed, quiet)
            elif _passes(failed) or not signed_in or _is_everybodys(failed):
                raise
            else:
                return _failed(queue, entry, failed.problems, quiet)


def _failed(queue: Sequence[Entry], entry: Entry, problems: Sequence[Problem], quiet: bool) -> list[Entry]:
    """Say that an experiment failed; return the queue with that in it."""
    for problem in problems:
        _say(f"      {problem}", quiet)
    _say(f"queue: {entry.experiment} failed", quiet)
    return changed_entry(queue, entry.experiment, state="failed", said="\n".join(map(str, problems)))


def _train(entry: Entry, note: Callable[..., None], quiet: bool) -> dict[str, Any]:
    """Go through the door of `make push-training`, or on from where that was left."""
    name = entry.experiment
    competition = COMPETITION_OF.get(name) or known_competition(competition_of_adopted(name)) or DEFAULT_COMPETITION

    def before_push(client: Kaggle) -> None:
        if not _card_of(name).enable_gpu:
            return
        own = f"{client.username}/{_kernel_slug(name)}"
        had = [one for one in journal.entries(LEFT) if one.inputs["kernel"] == own and one.begun >= entry.since]
        if found := gpu_hours.shortage(gpu_hours.quota_now(client), name, len(had), gpu_hours.utc_now()):
            raise gpu_hours.NoRoom(found)
        if others := other_sessions(client, own):
            _say(f"      {others}", quiet)

    with one_push(GOES_ON) as journal, working_on(competition):
        note(state="trains", said="")
        options = PushOptions(experiment=name, again=entry.again and not _tried_again(entry, journal), quiet=quiet)
        return push_training(options, journal, before_push)


def _tried_again(entry: Entry, journal: Journal) -> bool:
    """Whether a run of this experiment has ended badly since it was put into the queue: not again a third time."""
    slug = _kernel_slug(entry.experiment)
    runs = [run for run in journal.entries("run") if run.inputs["kernel"].rpartition("/")[2] == slug]
    return bool(runs) and runs[0].begun >= entry.since


def _passes(failed: CheckFailed) -> bool:
    """Whether only time cures it, so that the same request makes sense later."""
    cause = failed.__cause__
    return isinstance(failed, ResponseLost) or (isinstance(cause, Exception) and judge(cause).again)


def _is_everybodys(failed: CheckFailed) -> bool:
    """Whether every other experiment would fail in the same way: credentials, this machine's disk."""
    cause = failed.__cause__
    return isinstance(cause, Exception) and (status_of(cause) == 401 or is_local_fault(cause))


def _wait_for_hours(entry: Entry, found: gpu_hours.Shortage, note: Callable[..., None], quiet: bool) -> None:
    moment = gpu_hours.until(found.goes_on, gpu_hours.utc_now())
    said = f"{found.why}; it goes on {moment}"
    note(state="waits", said=f"{found.why}; goes on {found.goes_on:%a %d %b %H:%M} UTC")
    _say(f"      {entry.experiment} waits: {said}. To stop: Ctrl-C, then `{GOES_ON}` continues", quiet)
    _pause_until(found.goes_on, entry.experiment, quiet)


def _pause_until(moment: datetime, name: str, quiet: bool) -> None:
    """Wait by the clock on the wall: a laptop that sleeps in between wakes up in time."""
    with watching(name, quiet) as show_state:
        while gpu_hours.utc_now() < moment:
            show_state(f"waits until {moment:%a %d %b %H:%M} UTC")
            pause()


def _wait_for_push(entry: Entry, other: AlreadyRunning, quiet: bool) -> None:
    """Wait until the other push has ended."""
    with watching(entry.experiment, quiet) as show_state:
        show_state(f"waits: {other}")
        while True:
            pause()
            with contextlib.suppress(AlreadyRunning), only_push(PUSH_FOLDER):
                return


def _sit_out(entry: Entry, failed: CheckFailed, quiet: bool) -> None:
    """Wait for a while where Kaggle cannot be asked."""
    with watching(entry.experiment, quiet) as show_state:
        show_state(f"{failed.problems[0].what}; it is tried again")
        for _ in range(OUTAGE_PAUSES):
            pause()


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        print(line, flush=True)
