"""A database that several machines tune on: it waits where the database is away, and tells nobody the password.

Optuna's own storage gives a trial up at the first lost connection. This one tries each call again for `PATIENCE_S`,
also where a call was carried out and only its answer was lost. A process that is away for longer than the grace period
is taken for dead: another one is given its trial (`RETRIES` times at most), and what the first one had is dropped.
"""

import random
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from optuna.exceptions import ExperimentalWarning, StorageInternalError, TrialPruned, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, PendingRollbackError

from build.search.tuning.study import WORKER

if TYPE_CHECKING:
    from optuna import Study

PATIENCE_S = 3600.0  # that a process waits for its database
RETRIES = 3  # of a trial whose process died, each by another process
# Seconds: a cable that is cut answers nothing, and PostgreSQL's client would wait for two hours.
CONNECT_S, SILENCE_S = 10, 30
BUSY_S = 60  # that SQLite waits for another process

P = ParamSpec("P")
T = TypeVar("T")


def shown(url: str) -> str:
    """Return what may be shown of a storage's address: no user, password or options."""
    if "://" not in url:
        return url
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        return f"{url.partition('://')[0]}://…"
    if "@" in f"{parts.host}{parts.database}":  # an @ or / of the password that was not written as %40 or %2F
        return f"{parts.drivername}://…"
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.drivername}://{parts.host or ''}{port}/{parts.database or ''}"


def without_secrets(text: str, url: str) -> str:
    """Return a text of somebody else's, such as an error, without what an address must keep to itself."""
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        return text.replace(url, shown(url))
    options = [value for values in parts.normalized_query.values() for value in values]
    raw = url.partition("://")[2].rpartition("@")[0].partition(":")[2]  # as typed, perhaps with %40
    secrets = {str(parts.password or ""), raw, *options} - {""}
    text = text.replace(url, shown(url))
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def _patient(method: "Callable[Concatenate[Any, P], T]") -> "Callable[Concatenate[SharedStorage, P], T]":
    """Let a storage's method be tried again while the database is away."""

    def call(self: "SharedStorage", /, *given: P.args, **named: P.kwargs) -> T:
        return self.patiently(lambda _: method(self, *given, **named))

    return call


class GivenAway(TrialPruned):
    """This process was away for so long that its trial was given to another one."""


class SharedStorage(RDBStorage):
    """Optuna's storage in a database, for processes on several machines."""

    def __init__(self, url: str, heartbeat_s: int) -> None:
        """Open the database and make its tables if they are not there."""
        self._patience_s, self._shown, self._is_away = PATIENCE_S, shown(url), False
        options: dict[str, Any] = {}
        if url.startswith("sqlite"):  # a file is there or not; another process may have it for a while
            self._patience_s, options["connect_args"] = 0.0, {"timeout": BUSY_S}
        elif url.startswith("postgresql"):
            options["connect_args"] = {
                "connect_timeout": CONNECT_S,
                "keepalives_idle": CONNECT_S,
                "keepalives_interval": 5,
                "keepalives_count": 4,
                "tcp_user_timeout": SILENCE_S * 1000,
                "client_encoding": "utf8",  # else a server that was made without a locale answers in bytes
            }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of the heartbeat
            super().__init__(
                url,
                engine_kwargs={"pool_pre_ping": True, **options},
                heartbeat_interval=heartbeat_s,
                heartbeat_stale_trial_callback=try_again,
            )

    def patiently(self, call: Callable[[int], T]) -> T:
        """Return what `call` returns, after as many tries as the patience allows; it gets the try's number, from 0.

        Raises:
            StorageInternalError: the database is away for too long, or refuses for another reason.
        """
        begun, tries = time.monotonic(), 0
        while True:
            try:
                result = call(tries)
            except (StorageInternalError, OperationalError, InterfaceError) as error:
                if not _is_away(error) or time.monotonic() - begun >= self._patience_s:
                    raise
                tries += 1
                if not self._is_away:  # said by one of the threads: the heartbeat has its own
                    self._is_away = True
                    limit = f"{self._patience_s / 60:.0f} minutes"
                    print(f"{self._shown} does not answer: waiting for it, up to {limit}", file=sys.stderr, flush=True)
                time.sleep(min(10.0, 0.2 * 2 ** min(tries, 6)) * random.uniform(0.5, 1.0))
                continue
            if tries and self._is_away:
                self._is_away = False
                away_s = time.monotonic() - begun
                print(f"{self._shown} answers again after {away_s:.0f} s", file=sys.stderr, flush=True)
            return result

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set how a trial stands; done already by a try whose answer was lost is done.

        Raises:
            UpdateFinishedTrialError: somebody else has finished the trial.
        """

        def call(tries: int) -> bool:
            try:
                return super(SharedStorage, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                trial = self.get_trial(trial_id)
                if tries and trial.state == state and (values is None or list(values) == trial.values):
                    return True
                raise

        return self.patiently(call)

    # Every other call that Optuna makes. Each is one transaction, and twice is as good as once, but for a new trial:
    # the one that nobody knows of is given up by `Unclaimed`.
    _create_new_trial = _patient(RDBStorage._create_new_trial)
    _get_best_trial_id = _patient(RDBStorage._get_best_trial_id)
    _get_stale_trial_ids = _patient(RDBStorage._get_stale_trial_ids)
    _get_trials = _patient(RDBStorage._get_trials)
    _set_trial_param = _patient(RDBStorage._set_trial_param)
    create_new_study = _patient(RDBStorage.create_new_study)
    delete_study = _patient(RDBStorage.delete_study)
    get_all_studies = _patient(RDBStorage.get_all_studies)
    get_study_directions = _patient(RDBStorage.get_study_directions)
    get_study_id_from_name = _patient(RDBStorage.get_study_id_from_name)
    get_study_name_from_id = _patient(RDBStorage.get_study_name_from_id)
    get_study_system_attrs = _patient(RDBStorage.get_study_system_attrs)
    get_study_user_attrs = _patient(RDBStorage.get_study_user_attrs)
    get_trial = _patient(RDBStorage.get_trial)
    get_trial_id_from_study_id_trial_number = _patient(RDBStorage.get_trial_id_from_study_id_trial_number)
    record_heartbeat = _patient(RDBStorage.record_heartbeat)
    set_study_system_attr = _patient(RDBStorage.set_study_system_attr)
    set_study_user_attr = _patient(RDBStorage.set_study_user_attr)
    set_trial_intermediate_value = _patient(RDBStorage.set_trial_intermediate_value)
    set_trial_system_attr = _patient(RDBStorage.set_trial_system_attr)
    set_trial_user_attr = _patient(RDBStorage.set_trial_user_attr)


def _is_away(error: BaseException) -> bool:
    """Whether the database could not be reached, or ended the connection."""
    cause = error if isinstance(error, OperationalError | InterfaceError) else error.__cause__
    # The last one where Optuna goes on in the same session: it takes the first two for a query that is too long.
    return isinstance(cause, OperationalError | InterfaceError | PendingRollbackError)


def try_again(study: "Study", trial: FrozenTrial) -> None:
    """Queue the trial of a process that has not been heard of, with the same choices."""
    # The new trial is nobody's yet.
    trial.user_attrs = {name: value for name, value in trial.user_attrs.items() if name != WORKER}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)(study, trial)


class Unclaimed:
    """Trials that are running and that no process says it runs: the answer to its question for one was lost."""

    def __init__(self, grace_s: float) -> None:
        """Give a trial up after it was unclaimed for that long, by this process's clock."""
        self._grace_s = grace_s
        self._since: dict[int, float] = {}

    def release(self, study: "Study", clock: Callable[[], float] = time.monotonic) -> int:
        """Give unclaimed trials up, and queue the choices that they were to try; return how many."""
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        unclaimed = {trial.number: trial for trial in running if WORKER not in trial.user_attrs}
        self._since = {number: self._since.get(number, clock()) for number in unclaimed}
        released = 0
        for number, trial in unclaimed.items():
            if clock() - self._since[number] < self._grace_s:
                continue
            try:
                study.tell(number, state=TrialState.FAIL)
            except (UpdateFinishedTrialError, ValueError):
                continue  # another process was faster
            if choices := trial.system_attrs.get("fixed_params") or trial.params:
                study.enqueue_trial(choices)
            released += 1
        return released
