"""The record of one experiment: every piece that a report shows, and what is missing with the command that makes it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from build.core.bundle_files import verify_manifest
from build.core.errors import CheckFailed, UsageError
from build.kaggle.weights import DEMO
from build.report.places import (
    data_tables,
    find_bundle,
    find_rehearsal,
    find_run,
    find_training_report,
    read_json,
)
from build.run.curves import read_log
from build.scores.board import Board, board, published_file, read_published
from build.scores.comparison import Comparison, compare
from build.scores.cross_validation import OOF_FILE, find_table
from build.scores.ledger import LEDGER, Score, read_scores
from build.scores.oof_files import read_oof, truth_table, validation_of
from build.scores.warnings import find_warnings
from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competitions.held_answers import answers
from kernel_src.competitions.held_facts import facts
from kernel_src.runtime.files import CONFIG_FILE, sha256_of
from kernel_src.runtime.manifest import MANIFEST_FILE, BundleError, read_bundle_json

if TYPE_CHECKING:
    from build.report.diagnostics import Diagnostics

LOG_FILE = "log.csv"  # as in kernel_src.training.runs, whose import would load torch


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A piece that is not there."""

    what: str
    command: str  # that makes it


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The bundle of a run as it lies here."""

    folder: Path
    files: dict[str, dict[str, Any]]  # name → bytes, sha256, as its manifest says
    manifest_sha256: str
    fault: str  # what differs from the manifest; empty: nothing does


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """The newest rehearsal of the inference notebook."""

    path: Path
    report: dict[str, Any]  # report.json
    of_this_bundle: bool

    @property
    def ok(self) -> bool:
        """Whether it speaks for submitting: faultless, and as the rerun, on these very weights."""
        return self.of_this_bundle and self.report.get("ok") is True and self.report.get("rerun") is True


@dataclass(frozen=True, kw_only=True)
class Record:
    """All pieces of one experiment."""

    experiment: str
    run: Path
    config: dict[str, Any]
    log: dict[int, dict[str, list[float]]]  # per fold its columns; empty: no log
    training: dict[str, Any]  # report of the training; empty: none
    train: pd.DataFrame | None  # wide table of the images that were judged, in the order of `comparison`
    data: Path | None  # the competition's folder
    comparison: Comparison | None  # of this one model, after the constraint
    bundle: Bundle | None
    rehearsal: Rehearsal | None
    scores: tuple[Score, ...]  # of the ledger, this experiment's
    board: Board
    submission: Path | None  # this model's predictions on the test set
    missing: tuple[Missing, ...]

    @property
    def score(self) -> float:
        """The out-of-fold score, as the training noted it."""
        return float(self.config["oof"]["score"])

    @property
    def half_precision(self) -> dict[str, Any] | None:
        """What halving the weights cost, as making the bundle measured it; None where it was not measured."""
        config = read_json(self.bundle.folder / CONFIG_FILE) if self.bundle is not None else self.config
        measured: dict[str, Any] | None = config.get("oof", {}).get("fp16")
        return measured

    @property
    def photographs(self) -> dict[str, Path]:
        """The photographs at hand of the images judged, by image_id."""
        if self.train is None or self.data is None:
            return {}
        named = zip(self.train["image_id"].astype(str), self.train[IMAGE_COLUMN], strict=True)
        paths = {image: self.data / path for image, path in named}
        return {image: path for image, path in paths.items() if path.is_file()}

    @cached_property
    def diagnosis(self) -> "Diagnostics | None":
        """What the out-of-fold predictions get wrong, with the photographs at hand; None without a training table."""
        from build.report.diagnostics import diagnose

        if self.data is None:
            return None
        images = self.data / facts().train_folder if self.photographs else None
        oof = f"{self.experiment}={self.run / OOF_FILE}"
        return diagnose(oof, self.data / facts().train_csv, images=images, test_predictions=self.submission)


def read_record(
    experiment: str,
    run: Path | None = None,
    data: Path | None = None,
    ledger: Path = LEDGER,
    submission: Path | None = None,
) -> Record:
    """Gather everything about an experiment's run.

    Raises:
        UsageError: nothing of it is trained here, or a folder named is not what it should be.
        CheckFailed: the ledger or an out-of-fold file cannot be read.
    """
    folder = find_run(experiment, run)
    try:
        config = read_bundle_json(folder, CONFIG_FILE)
    except BundleError as error:
        raise UsageError(str(error)) from None
    missing: list[Missing] = []
    log = read_log(folder / LOG_FILE) if (folder / LOG_FILE).is_file() else {}
    if not log:
        missing.append(Missing(what="training curves: no log.csv", command="python -m build report RUN_FOLDER"))
    tables = data_tables(data)
    train, comparison = _judged(experiment, folder, config, tables, missing)
    table = find_table(folder / OOF_FILE, tables) if comparison is not None else None
    bundle = _read_bundle(experiment, folder, missing)
    rehearsal = _read_rehearsal(experiment, bundle, missing)
    scores = [score for score in read_scores(ledger) if score.experiment == experiment]
    if not scores:
        missing.append(Missing(what="no submission yet", command=f"make push-inference EXPERIMENT={experiment}"))
    others = published_file()
    published = read_published(others) if others.is_file() else []
    return Record(
        experiment=experiment,
        run=folder,
        config=config,
        log=log,
        training=find_training_report(folder),
        train=train,
        data=table.parent if table is not None else None,
        comparison=comparison,
        bundle=bundle,
        rehearsal=rehearsal,
        scores=tuple(scores),
        board=board(read_scores(ledger), published, float(config["oof"]["score"]), str(config["oof"]["formula"])),
        submission=submission,
        missing=tuple(missing),
    )


def _judged(
    experiment: str, folder: Path, config: dict[str, Any], tables: Sequence[Path], missing: list[Missing]
) -> tuple[pd.DataFrame | None, Comparison | None]:
    """Judge the out-of-fold predictions where a training table has their images."""
    if not (folder / OOF_FILE).is_file():
        missing.append(Missing(what=f"out-of-fold predictions: no {OOF_FILE}", command="let the training finish"))
        return None, None
    table = find_table(folder / OOF_FILE, tables)
    if table is None:
        what = f"interval, floors, parts and pictures: no {facts().train_csv} here has the images of this run"
        command = "make demo" if experiment == DEMO else "make data, or --data DIR"
        missing.append(Missing(what=what, command=command))
        return None, None
    truth = truth_table([], table)
    file = read_oof(f"{experiment}={folder / OOF_FILE}", tuple(truth.index))
    own = truth.loc[[image for image in truth.index if image in file.table.index]]  # a run may train some folds only
    try:
        validation = validation_of([file], own)
        constraint = config["experiment"]["predict"]["constraint"]
        constrained = answers().finished(validation.predictions[0], constraint)[None]
        comparison = compare(replace(validation, predictions=constrained), find_warnings([file], own, validation))
    except CheckFailed as failed:
        what = f"interval and floors: {failed.problems[0].what}"
        missing.append(Missing(what=what, command="train folds with at least two groups"))
        return None, None
    return own.reset_index(), comparison


def _read_bundle(experiment: str, folder: Path, missing: list[Missing]) -> Bundle | None:
    found = find_bundle(experiment, folder)
    if found is None:
        missing.append(
            Missing(what="no bundle of this run", command=f"python -m build bundle {shlex.quote(str(folder))}")
        )
        return None
    fault = ""
    try:
        verify_manifest(found)
    except BundleError as error:
        fault = str(error)
    files = read_json(found / MANIFEST_FILE).get("files")
    return Bundle(
        folder=found,
        files=files if isinstance(files, dict) else {},
        manifest_sha256=sha256_of(found / MANIFEST_FILE),
        fault=fault,
    )


def _read_rehearsal(experiment: str, bundle: Bundle | None, missing: list[Missing]) -> Rehearsal | None:
    found = find_rehearsal(experiment, bundle.folder if bundle else None)
    place = bundle.folder if bundle else "BUNDLE"
    command = (
        f"python -m build rehearse --experiment {experiment} --data DATA --weights {shlex.quote(str(place))} --rerun"
    )
    if experiment == DEMO:
        command = "make demo"
    if found is None:
        missing.append(Missing(what="no rehearsal of the inference notebook", command=command))
        return None
    path, report, ours = found
    if not ours:
        missing.append(Missing(what="no rehearsal on this very bundle: the one shown is older", command=command))
    return Rehearsal(path=path, report=report, of_this_bundle=ours)
