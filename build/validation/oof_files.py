"""Out-of-fold files: any CSV with image ids and the five targets, beside the truth of train.csv.

`oof_columns.py` finds out which column is what; a `fold` column is kept, and so are the truth, State and Sampling_Date
where no train.csv is given. A folder is a run of ours: its oof.csv is meant.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from build.problems import CheckFailed, Problem, WrongUse
from build.validation.oof_columns import ID, AmbiguousError, OofColumns, find_columns
from kernel_src.common.competition import DATE_COLUMN, STATE_COLUMN, TARGETS
from kernel_src.common.csv_table import read_csv
from kernel_src.common.manifest import CONFIG_FILE
from kernel_src.common.tables import group_labels, read_train, target_array
from kernel_src.common.visits import tidy_visits

OOF_FILE = "oof.csv"
FOLD = "fold"
# A model that gives back the truth of more photographs than this, to so many grams, has not predicted it.
COPIED_SHARE, COPIED_G = 0.5, 0.005
OTHER_TRUTH_G = 0.5  # mean difference: rounding stays below, another model's predictions do not


@dataclass(frozen=True, kw_only=True)
class OofFile:
    """One file as it was read."""

    name: str
    path: Path
    table: pd.DataFrame  # index image_id; the five targets; fold, true_<target>, State, Sampling_Date where it has them
    notes: tuple[str, ...] = ()  # what was decided in reading it

    @property
    def folds(self) -> pd.Series | None:
        """The fold of each image, where the file says so."""
        return self.table[FOLD] if FOLD in self.table else None


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The images that all files predict, with truth and groups."""

    names: tuple[str, ...]
    image_ids: np.ndarray  # (images,)
    truth: np.ndarray  # (images, 5) grams
    predictions: np.ndarray  # (models, images, 5) grams
    groups: np.ndarray  # (images,) State and Sampling_Date
    states: np.ndarray  # (images,)
    dates: np.ndarray  # (images,)
    folds: tuple[np.ndarray | None, ...]  # per model (images,), as text


# %%
def read_oof(given: str, known: Collection[str] = ()) -> OofFile:
    """Read `PATH` or `NAME=PATH`; `known` are the image ids of the truth, where it has been read already.

    Raises:
        WrongUse: there is no such file.
        CheckFailed: it is no table, a column is missing or can be meant in two ways, an image is doubled, or a number
            is not finite.
    """
    label, _, text = given.rpartition("=") if not Path(given).exists() else ("", "", given)
    path = Path(text) / OOF_FILE if Path(text).is_dir() else Path(text)
    if not path.is_file():
        raise WrongUse(f"no file {path}: give CSV files with {ID} and the five targets, or run folders with {OOF_FILE}")
    name = label or (run_name(path.resolve().parent) if path.name == OOF_FILE else path.stem)
    try:
        columns = find_columns(read_csv(path, dtype={ID: str}), known)
    except ValueError as error:
        raise CheckFailed([Problem(what=str(error))]) from None
    except AmbiguousError as error:
        raise CheckFailed([_unfit(path, str(error), error.needs)]) from None
    return OofFile(name=name, path=path, table=_kept(path, columns), notes=columns.notes)


def _kept(path: Path, columns: OofColumns) -> pd.DataFrame:
    """Keep what is read of a file, checked."""
    ids = columns.ids
    if (doubled := ids.duplicated()).any():
        raise CheckFailed([_unfit(path, f"image {ids[doubled].iloc[0]} appears twice", "one row per image")])
    kept = columns.predicted.apply(pd.to_numeric, errors="coerce")
    if (bad := ~np.isfinite(kept.to_numpy(float)).all(1)).any():
        raise CheckFailed([_unfit(path, f"image {ids[bad].iloc[0]} has a prediction that is not a number", "grams")])
    if columns.true is not None:
        for target in TARGETS:
            kept[f"true_{target}"] = pd.to_numeric(columns.true[target], errors="coerce")
        refuse_copies(path, target_array(kept), kept[[f"true_{target}" for target in TARGETS]].to_numpy(float))
    rest = columns.rest.rename(columns={column: FOLD for column in columns.rest if str(column).casefold() == FOLD})
    if FOLD in rest:
        kept[FOLD] = rest[FOLD].astype(str)
    if STATE_COLUMN in rest and DATE_COLUMN in rest:
        kept[[STATE_COLUMN, DATE_COLUMN]] = rest[[STATE_COLUMN, DATE_COLUMN]]
    return kept.set_axis(pd.Index(ids, name=ID), axis=0)


def refuse_copies(path: Path, predictions: np.ndarray, truth: np.ndarray) -> None:
    """Refuse predictions that are the truth, grams (images, 5) both.

    Raises:
        CheckFailed: of a target, most photographs that weigh anything are predicted to the last digit.
    """
    for i, target in enumerate(TARGETS):
        weighed = truth[:, i] > 0
        same = np.abs(predictions[weighed, i] - truth[weighed, i]) <= COPIED_G
        if weighed.sum() > 1 and same.mean() > COPIED_SHARE:
            what = f"{target} is the truth in {int(same.sum())} of {int(weighed.sum())} photographs, not a prediction"
            raise CheckFailed([_unfit(path, what, f"predictions, e.g. under pred_{target}")])


def run_name(folder: Path) -> str:
    """Return the experiment of a run's folder; where no config.json names it, the folder's own name."""
    config = folder / CONFIG_FILE
    if not config.is_file():
        return folder.name
    try:
        return str(json.loads(config.read_bytes())["experiment"]["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckFailed([Problem(what=f"names no experiment: {error}", where=str(config))]) from None


def _unfit(path: Path, what: str, cure: str) -> Problem:
    return Problem(what=what, where=str(path), cure=f"the file needs {cure}")


def read_all(given: Sequence[str], known: Collection[str] = ()) -> list[OofFile]:
    """Read every file; files of one name are told apart by their folders. See `read_oof` for `known`.

    Raises:
        WrongUse: as `read_oof`, or two have one name although their folders differ in nothing.
        CheckFailed: with the problems of all files.
    """
    files, problems = [], []
    for one in given:
        try:
            files.append(read_oof(one, known))
        except CheckFailed as failed:
            problems += failed.problems
    if problems:
        raise CheckFailed(problems)
    names = [file.name for file in files]
    told_apart = [
        replace(file, name=f"{file.path.resolve().parent.name}/{file.name}") if names.count(file.name) > 1 else file
        for file in files
    ]
    names = [file.name for file in told_apart]
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise WrongUse(f"two files are called {twins[0]}: name them, e.g. first={given[0]}")
    return told_apart


# %%
def read_with_truth(given: Sequence[str], train_csv: Path | None) -> tuple[list[OofFile], pd.DataFrame]:
    """Read the truth, where train.csv is given, and then every file; see `read_all` and `truth_table`."""
    if train_csv is None:
        files = read_all(given)
        return files, truth_table(files, None)
    truth = truth_table([], train_csv)
    files = read_all(given, tuple(truth.index))
    _refuse_other_truths(files, truth)
    return files, truth


def _refuse_other_truths(files: Sequence[OofFile], truth: pd.DataFrame) -> None:
    """Refuse a file in which the columns taken for the truth are not: its predictions may be anywhere.

    Raises:
        CheckFailed: with every such file.
    """
    problems = []
    for file in files:
        if f"true_{TARGETS[0]}" not in file.table:
            continue
        common = truth.index.intersection(file.table.index)
        own = file.table.loc[common, [f"true_{target}" for target in TARGETS]].to_numpy(float)
        off = np.nanmean(np.abs(own - target_array(truth.loc[common])), 0) if len(common) else np.zeros(len(TARGETS))
        if (off > OTHER_TRUTH_G).any():
            target = TARGETS[int(off.argmax())]
            what = f"its columns taken for the truth differ from train.csv, in {target} by {off.max():.1f} g on average"
            problems.append(_unfit(file.path, what, "predictions under pred_… and the truth, if any, under true_…"))
    if problems:
        raise CheckFailed(problems)


def truth_table(files: Sequence[OofFile], train_csv: Path | None) -> pd.DataFrame:
    """Return the truth: index image_id; the five targets, State, Sampling_Date.

    Raises:
        WrongUse: there is no train.csv and no file that holds truth, State and Sampling_Date.
        CheckFailed: train.csv cannot be read, or the files' own truths differ.
    """
    if train_csv is not None:
        try:
            return read_train(train_csv).set_index(ID)
        except FileNotFoundError as error:
            raise WrongUse(str(error)) from None
        except ValueError as error:
            raise CheckFailed([Problem(what=str(error), where=str(train_csv))]) from None
    needed = [*(f"true_{target}" for target in TARGETS), STATE_COLUMN, DATE_COLUMN]
    with_truth = [file.table[needed] for file in files if set(needed) <= set(file.table)]
    if not with_truth:
        raise WrongUse("no file holds the truth with State and Sampling_Date: give --train-csv data/train.csv")
    table = pd.concat(with_truth)
    if (doubled := table.reset_index().drop_duplicates()[ID].duplicated()).any():
        first = table.reset_index().drop_duplicates()[ID][doubled].iloc[0]
        raise CheckFailed([Problem(what=f"the files' truths of {first} differ", cure="give --train-csv")])
    table = table[~table.index.duplicated()]
    try:
        table = tidy_visits(table, "the files' own truth")
    except ValueError as error:
        raise CheckFailed([Problem(what=str(error), cure="give --train-csv")]) from None
    return table.rename(columns={f"true_{target}": target for target in TARGETS})


def validation_of(files: Sequence[OofFile], truth: pd.DataFrame) -> Validation:
    """Keep the images that the truth and all files have, in the order of the truth.

    Raises:
        CheckFailed: fewer than two groups are left, or a file's predictions are the truth.
    """
    common = [image for image in truth.index if all(image in file.table.index for file in files)]
    rows = truth.loc[common]
    groups = group_labels(rows)
    if len(set(groups)) < 2:
        shown = ", ".join(f"{file.name} begins with {file.table.index[0]!r}" for file in files if len(file.table))
        what = f"truth and files share {len(common)} images of {len(set(groups))} groups ({shown})"
        raise CheckFailed([Problem(what=what, cure=f"{ID} is the photograph's name without .jpg, as {truth.index[0]}")])
    tables = [file.table.loc[common] for file in files]
    for file, table in zip(files, tables, strict=True):
        refuse_copies(file.path, target_array(table), target_array(rows))
    return Validation(
        names=tuple(file.name for file in files),
        image_ids=np.array(common),
        truth=target_array(rows),
        predictions=np.stack([target_array(table) for table in tables]),
        groups=groups,
        states=rows[STATE_COLUMN].to_numpy(str),
        dates=rows[DATE_COLUMN].to_numpy(str),
        folds=tuple(table[FOLD].to_numpy(str) if FOLD in table else None for table in tables),
    )
