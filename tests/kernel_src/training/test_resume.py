"""A training that is killed with SIGKILL, wherever, goes on to the very same weights."""

import os
import signal
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from kernel_src.competitions.biomass.tables import read_train
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import EMA, InnerFold
from kernel_src.runtime.files import sha256_of
from kernel_src.training import training
from kernel_src.training.session import Session, SessionEnded, session_of
from kernel_src.training.training import train_fold
from kernel_src.training.training_loss import BatchLosses, BatchPlace
from tests.kernel_src.tiny import CPU, TINY, fold_data, train_tiny

pytestmark = pytest.mark.full

# Batch norm, dropout, augmentation, momentum, an average and an inner fold: everything a resumed run could get wrong.
# 24 rows in batches of 4, two of them a step: 3 steps an epoch.
WHOLE = changed(
    TINY,
    {
        "schedule.epochs": 4,
        "keep": InnerFold(2, of=EMA(0.9)),
        "optimizer.backbone_lr": 1e-4,
        "batch.accumulate": 2,
        "optimizer": "RMSprop",
    },
)
PLAIN = changed(
    TINY, {"schedule.epochs": 4, "optimizer.clip_norm": 1.0, "schedule": "WarmupCosine", "schedule.warmup": 1}
)
STEPS = {WHOLE: 12, PLAIN: 24}


def train(experiment: Experiment, folder: Path, **options: Any) -> list[dict[str, Any]]:
    folder.mkdir(exist_ok=True, parents=True)
    inner = 4 if experiment.keep.picks_epoch else 0
    data = fold_data(24 + inner, inner, size_px=experiment.pictures.canvas_px)
    return train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=folder, **options)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_batch(number: int) -> Callable[[], None]:
    """Kill this process after so many batches, with no regard to what is saved."""

    def arm() -> None:
        add_gradients, seen = BatchLosses.add_gradients, []

        def count(self: BatchLosses, *batch: Any) -> Any:
            loss = add_gradients(self, *batch)
            seen.append(loss)
            if len(seen) == number:
                die()
            return loss

        BatchLosses.add_gradients = count  # type: ignore[method-assign]

    return arm


def die_renaming(name: str, number: int, after: bool = False) -> Callable[[], None]:
    """Kill this process when a file is written whole for the n-th time, right before or after it gets into place."""

    def arm() -> None:
        rename, seen = os.replace, []

        def count(source: Path, target: Path) -> None:
            hit = Path(target).name.startswith(name)
            seen.extend([target] * hit)
            if hit and len(seen) == number and not after:
                die()
            rename(source, target)
            if hit and len(seen) == number:
                die()

        os.replace = count  # type: ignore[assignment]

    return arm


def killed(arm: Callable[[], None], experiment: Experiment, folder: Path, every_s: float = 1e9) -> None:
    """Train in a process of its own until it kills itself."""

    def work() -> None:
        training.CHECKPOINT_EVERY_S, training.SAVING_SHARE = every_s, 1e9  # after each epoch, however quick it was
        arm()
        train(experiment, folder)

    process = get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (folder / "fold0.safetensors").exists() or "fold" in str(arm)


def timeless(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"seconds": 0} for row in log]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[Experiment, tuple[str, list[dict[str, Any]]]]:
    """Hash and log of each training that nobody disturbs."""
    found = {}
    for number, experiment in enumerate((WHOLE, PLAIN)):
        folder = tmp_path_factory.mktemp("whole") / str(number)
        log = train(experiment, folder)
        found[experiment] = sha256_of(folder / "fold0.safetensors"), timeless(log)
    return found


KILLS = {
    "in the first epoch, before anything is saved": (die_after_batch(2), 1e9),
    "in the first epoch, after a step that is saved": (die_after_batch(3), 0.0),
    "in the middle of the third epoch, between saved steps": (die_after_batch(16), 0.0),
    "in the third epoch, back to its beginning": (die_after_batch(15), 1e9),
    "while the third checkpoint is written": (die_renaming("checkpoint", 3), 1e9),
    "after the second checkpoint": (die_renaming("checkpoint", 2, after=True), 1e9),
    "while a checkpoint within an epoch is written": (die_renaming("checkpoint", 5), 0.0),
    "after the last epoch, before the weights": (die_renaming("fold", 1), 1e9),
}


@pytest.mark.parametrize("experiment", [WHOLE, PLAIN], ids=["accumulated, averaged, inner folds, rmsprop", "adamw"])
@pytest.mark.parametrize("point", KILLS)
def test_a_killed_and_resumed_training_ends_bit_equal(
    tmp_path: Path, whole: dict[Experiment, Any], experiment: Experiment, point: str
) -> None:
    arm, every_s = KILLS[point]
    killed(arm, experiment, tmp_path, every_s)
    log = train(experiment, tmp_path)
    assert (sha256_of(tmp_path / "fold0.safetensors"), timeless(log)) == whole[experiment]
    assert sorted(os.listdir(tmp_path)) == ["fold0.safetensors", "log0.csv"], "drafts of the killed process are left"


def test_killed_again_and_again_it_still_ends_bit_equal(tmp_path: Path, whole: dict[Experiment, Any]) -> None:
    for batches in (3, 4, 9):
        killed(die_after_batch(batches), WHOLE, tmp_path, 0.0)
    log = train(WHOLE, tmp_path)
    assert (sha256_of(tmp_path / "fold0.safetensors"), timeless(log)) == whole[WHOLE]


@pytest.mark.parametrize("after", [True, False], ids=["after the first fold's weights", "in the second fold"])
def test_a_run_killed_between_its_folds_ends_bit_equal(tmp_path: Path, tiny_competition: Path, after: bool) -> None:
    def run(folder: Path) -> None:
        train_tiny(TINY, read_train(tiny_competition / "train.csv"), tiny_competition, folder)

    def work() -> None:
        (die_renaming("fold0", 1, after=True) if after else die_renaming("checkpoint1", 1))()
        run(tmp_path / "killed")

    run(tmp_path / "whole")
    process = get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "killed/fold0.safetensors").exists() and not (tmp_path / "killed/fold1.safetensors").exists()
    run(tmp_path / "killed")
    assert sorted(os.listdir(tmp_path / "killed")) == sorted(os.listdir(tmp_path / "whole"))
    for fold in (0, 1):
        one, two = (sha256_of(tmp_path / name / f"fold{fold}.safetensors") for name in ("whole", "killed"))
        assert one == two


def trained_batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list that fills with the (epoch, batch) that are trained."""
    seen: list[tuple[int, int]] = []
    add_gradients = BatchLosses.add_gradients

    def record(self: BatchLosses, place: BatchPlace, *batch: Any) -> Any:
        seen.append(tuple(place))
        return add_gradients(self, place, *batch)

    monkeypatch.setattr(BatchLosses, "add_gradients", record)
    return seen


def test_no_saved_batch_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(die_after_batch(10), WHOLE, tmp_path, 0.0)  # batches 1 to 8 lie in the checkpoint: two a step
    seen = trained_batches(monkeypatch)
    train(WHOLE, tmp_path)
    assert seen[0] == (1, 2) and len(seen) == 24 - 8


def batches_take(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[float]:
    """Give training a clock on which each batch takes so long; return the time, which may be changed."""
    now, add_gradients = [0.0], BatchLosses.add_gradients

    def take(self: BatchLosses, *batch: Any) -> Any:
        now[0] += seconds
        return add_gradients(self, *batch)

    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(BatchLosses, "add_gradients", take)
    return now


def test_within_an_epoch_a_checkpoint_comes_every_ten_minutes_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches_take(monkeypatch, 240)
    saved: list[tuple[int, int]] = []
    save = training.save_checkpoint
    monkeypatch.setattr(training, "save_checkpoint", lambda *a: (saved.append((a[3].epoch, a[3].batch)), save(*a)))
    train(changed(PLAIN, {"schedule.epochs": 2}), tmp_path)
    assert saved == [(0, 3), (1, 0), (1, 3)], "after the last epoch the weights themselves come next"


@pytest.mark.parametrize(("saving_s", "saved_epochs"), [(0, [1, 2, 3, 4, 5]), (3, [1, 4]), (1e6, [1])])
def test_after_an_epoch_a_checkpoint_takes_a_fiftieth_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saving_s: float, saved_epochs: list[int]
) -> None:
    now, save = batches_take(monkeypatch, 10), training.save_checkpoint
    saved: list[int] = []

    def take_long(*given: Any) -> None:
        saved.append(given[3].epoch)
        now[0] += saving_s
        save(*given)

    monkeypatch.setattr(training, "save_checkpoint", take_long)
    train(changed(PLAIN, {"schedule.epochs": 6}), tmp_path)  # six batches an epoch: a minute
    assert saved == saved_epochs


# --- the session's limit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", [WHOLE, PLAIN], ids=["accumulated, averaged, inner folds, rmsprop", "adamw"])
@pytest.mark.parametrize("batches", [1, 5, 6, 13])
def test_sessions_that_end_in_time_add_up_to_one_uninterrupted_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[Experiment, Any], experiment: Experiment, batches: int
) -> None:
    """A clock on which each batch takes a second, and sessions of so many."""
    now = batches_take(monkeypatch, 1)
    sessions = 0
    while not (tmp_path / "fold0.safetensors").exists():
        sessions += 1
        session = Session(started_s=now[0], limit_s=batches)
        try:
            log = train(experiment, tmp_path, session=session)
        except SessionEnded as end:
            assert "fold 0: stopped" in str(end)
            assert (tmp_path / "checkpoint0.safetensors").exists()
            # At least one step is made, and none is begun for which there is no time.
            assert now[0] - session.started_s <= max(batches, experiment.batch.accumulate)
    assert sessions > 24 / max(batches, experiment.batch.accumulate) - 1
    assert (sha256_of(tmp_path / "fold0.safetensors"), timeless(log)) == whole[experiment]


def test_a_session_keeps_a_reserve_and_without_a_limit_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.time, "monotonic", lambda: 1000.0)
    assert Session(started_s=900, limit_s=200).left_s == pytest.approx(200 * 0.95 - 100)
    assert session_of(changed(PLAIN, {"machine.limit_s": 200.0}), 900).left_s == pytest.approx(200 * 0.95 - 100)
    assert session_of(PLAIN, 0).left_s == float("inf")
