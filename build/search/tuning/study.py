"""The study: one record of all trials that any number of processes, here or elsewhere, write to and go on with.

By default it is a journal file in the study's folder, which needs no server and stands being killed in the middle of a
line; `--storage` takes SQLite, another journal, or a database's URL for several machines (`shared_storage.py`).
"""

import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from build.core.errors import UsageError
from build.search.tuning.space import picks_epoch
from kernel_src.competitions.held_rules import rules

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNAL = "journal.log"
CREATING_TRIES = 5
WORKER = "worker"  # the attribute of a trial that says who works at it
HEARTBEAT_S = 60  # a database gives the trial of a process up that has not been heard of for two of these


def open_storage(url: str, folder: Path, heartbeat_s: int = HEARTBEAT_S) -> "BaseStorage":
    """Open where the trials are kept: "" is a journal file in `folder`; a URL is a database; else a journal's path.

    Raises:
        UsageError: the database cannot be opened.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy.exc import IntegrityError, SQLAlchemyError

    from build.search.tuning.shared_storage import SharedStorage, shown, without_secrets

    folder.mkdir(parents=True, exist_ok=True)
    if "://" not in url:
        path = Path(url) if url else folder / JOURNAL
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    for attempt in range(CREATING_TRIES):
        try:
            return SharedStorage(url, heartbeat_s)
        except (SQLAlchemyError, ImportError, ValueError) as error:
            # Two processes that start together both make the tables, and the second fails at what the first has made.
            raced = isinstance(error, IntegrityError) or "already exists" in str(error)
            if not raced or attempt == CREATING_TRIES - 1:
                what = without_secrets(str(error), url).splitlines()[0]
                raise UsageError(f"--storage {shown(url)} cannot be opened: {what}") from None
            time.sleep(1.0 + attempt)
    raise AssertionError("the last try returns or raises")


def make_pruner(name: str, epochs: int, startup_trials: int) -> "BasePruner":
    """Return what ends a hopeless trial early; the first epochs of its first fold are never held against it."""
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if name == "hyperband":
        return HyperbandPruner(min_resource=max(1, epochs // 4))
    if name == "median":
        return MedianPruner(n_startup_trials=startup_trials, n_warmup_steps=max(1, epochs // 4))
    return NopPruner()


def open_study(
    name: str, storage: "BaseStorage", about: Mapping[str, Any], pruner: "BasePruner", seed: int | None = None
) -> "Study":
    """Create a study, or go on with it; `about` is what its scores depend on.

    Raises:
        UsageError: a study of this name measures something else; names what differs.
    """
    import optuna

    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=8)
    direction: Literal["maximize", "minimize"] = "maximize" if rules().metric.higher_is_better else "minimize"
    study = optuna.create_study(
        study_name=name, storage=storage, sampler=sampler, pruner=pruner, direction=direction, load_if_exists=True
    )
    now = json.loads(json.dumps(about))
    begun = study.user_attrs.get("about")
    if begun is None:
        study.set_user_attr("about", now)
    elif begun != now:
        differing = sorted(key for key in {*begun, *now} if begun.get(key) != now.get(key))
        raise UsageError(
            f"study {name} is there and measures something else ({', '.join(differing)} differ): "
            "give the same command as before, or another --study"
        )
    return study


# -- processes -----------------------------------------------------------------------------------------------------


def this_host() -> str:
    """Name this machine, as it is since it was started: two may have the same name."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''}".strip()


def this_process() -> dict[str, Any]:
    """Say who works at a trial, so that others can tell whether it still does."""
    import psutil

    return {"host": this_host(), "pid": os.getpid(), "began_s": psutil.Process().create_time()}


def is_dead(worker: Mapping[str, Any]) -> bool:
    """Whether a worker of this machine is gone; of another machine's nothing is known here."""
    import psutil

    if worker.get("host") != this_host():
        return False
    try:
        return bool(psutil.Process(worker["pid"]).create_time() != worker["began_s"])
    except psutil.NoSuchProcess:
        return True


def release_killed(study: "Study") -> int:
    """Give the trials of killed processes up, and put their choices first in the queue; return how many."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    released = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(WORKER)
        if worker is None or not is_dead(worker):
            continue
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except (UpdateFinishedTrialError, ValueError):
            continue  # another process was faster
        study.enqueue_trial(trial.params)
        released += 1
    return released


def optimize(study: "Study", run_trial: "Callable[[Trial], float]", trials: int, say: Callable[[str], None]) -> None:
    """Work until the study has so many finished trials, whichever process made them; pruned ones count."""
    import torch
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    from build.search.tuning.shared_storage import GivenAway, SharedStorage, Unclaimed

    if released := release_killed(study):
        say(f"{released} trials of killed processes are done again")
    counted = (TrialState.COMPLETE, TrialState.PRUNED)
    worker = this_process()
    storage = getattr(study._storage, "_backend", study._storage)  # Optuna keeps what is finished before a database
    shared = storage if isinstance(storage, SharedStorage) else None
    unclaimed = Unclaimed(2.0 * (shared.get_heartbeat_interval() or HEARTBEAT_S)) if shared else None
    mine: list[int] = []  # the trial that this process is in
    faults: list[ValueError] = []  # of the trial itself

    def begin(trial: "Trial") -> float:
        mine[:] = [trial.number]
        try:
            trial.set_user_attr(WORKER, worker)
            return run_trial(trial)
        except UpdateFinishedTrialError:
            raise GivenAway("another process repeats it") from None
        except ValueError as error:
            faults[:] = [error]
            raise

    def tell(study: "Study", trial: "FrozenTrial") -> None:
        score = (
            f"{rules().metric.name} {trial.value:.4f}"
            if trial.state == TrialState.COMPLETE
            else trial.state.name.lower()
        )
        changes = " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in trial.params.items())
        say(f"trial {trial.number}: {score}  {changes}")
        if unclaimed:
            unclaimed.release(study)

    def is_lost() -> bool:
        """Whether another process has given up the trial that this one is in."""
        states = [trial.state for trial in study.get_trials(deepcopy=False) if trial.number in mine]
        return states == [TrialState.FAIL]

    while len(study.get_trials(deepcopy=False, states=counted)) < trials:
        try:
            # Too large a batch is the trial's fault; anything else is ours and stops the search.
            study.optimize(
                begin, callbacks=[tell, MaxTrialsCallback(trials, states=counted)], catch=(torch.OutOfMemoryError,)
            )
        except (UpdateFinishedTrialError, ValueError) as error:  # Optuna's, of a trial that is finished already
            if shared is None or error in faults or not is_lost():
                raise
            say(f"trial {mine[0]}: this process was not heard of for so long that another one repeats it")
        else:
            return


# -- results -------------------------------------------------------------------------------------------------------


def best_of(study: "Study", experiment_name: str, fixed: dict[str, Any]) -> dict[str, Any]:
    """Return the best complete trial as changes to the experiment; nothing if no trial is complete.

    What picked the epoch of its trainings is told apart, as `search_only`: it is not part of the experiment.
    """
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return {}
    trial = study.best_trial
    about = study.user_attrs["about"]
    changes = fixed | trial.user_attrs["changes"]
    finished = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))
    name = rules().metric.name
    return {
        "experiment": experiment_name,
        "changes": {name: value for name, value in changes.items() if not picks_epoch(name, value)},
        "search_only": {name: value for name, value in changes.items() if picks_epoch(name, value)},
        "metric": name,
        "score": trial.value,
        "inner_scores": trial.user_attrs["inner_scores"],
        "trial": trial.number,
        "found_by": f"study {study.study_name}: trial {trial.number}, best of {finished}, "
        f"mean {name} {trial.value:.4f} over {about['inner_folds']} inner folds; "
        f"outer fold {about['outer_fold']} not seen",
    }


def count_states(study: "Study") -> dict[str, int]:
    """Count the trials by state."""
    states = [trial.state.name.lower() for trial in study.get_trials(deepcopy=False)]
    return {state: states.count(state) for state in sorted(set(states))}


def draw_study(study: "Study", folder: Path) -> list[Path]:
    """Draw what can be drawn of a study with at least two complete trials; return the pictures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import optuna.visualization.matplotlib as drawing
    from optuna.exceptions import ExperimentalWarning
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 2:
        return []
    draw: dict[str, Callable[[Study], object]] = {
        "history": drawing.plot_optimization_history,
        "intermediate": drawing.plot_intermediate_values,
        "slice": drawing.plot_slice,
        "parallel": drawing.plot_parallel_coordinate,
    }
    # Importance is the share of the scores' variance that a field explains: equal scores have none.
    if len({trial.value for trial in complete}) > 1:
        draw["importances"] = drawing.plot_param_importances
    pictures = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # the module is marked so as a whole
        warnings.simplefilter("ignore", UserWarning)  # of layouts
        for name, function in draw.items():
            function(study)
            figure = plt.gcf()
            figure.set_size_inches(max(7.0, 2.4 * len(figure.axes)), 4.8)
            pictures.append(folder / f"{name}.png")
            figure.savefig(pictures[-1], dpi=110, bbox_inches="tight")
            plt.close("all")
    return pictures
