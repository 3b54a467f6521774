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

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.untrusted import plain_text
from build.scores.oof_columns import ID, AmbiguousError, OofColumns, find_columns, plain_heading
from kernel_src.competitions.biomass.constants import DATE_COLUMN, STATE_COLUMN, TARGETS
from kernel_src.competitions.biomass.tables import group_labels, read_train, target_array
from kernel_src.competitions.biomass.visits import tidy_visits
from kernel_src.runtime.csv_table import read_csv
from kernel_src.runtime.files import CONFIG_FILE
from kernel_src.runtime.untrusted import quoted

OOF_FILE = "oof.csv"
FOLD = "fold"
FOLD_HEADINGS = ("fold", "folds", "kfold", "k_fold", "fold_id", "fold_idx", "fold_no", "fold_number", "cv_fold")
# A model that gives back the truth of more photographs than this, to so many grams, has not predicted it.
# Twelve real files, rounded to grams or not, have at most 0.9 % such photographs of a target.
COPIED_SHARE, COPIED_SHARE_OF_FOLD, COPIED_G, COPIED_IMAGES = 0.05, 0.2, 0.005, 3
ROUNDED_TO, ROUNDED_SHARE = (0, 1), 0.5  # decimals
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
        UsageError: there is no such file.
        CheckFailed: it is not a table, a column is missing or can mean two things, an image is doubled, or a number
            is not finite.
    """
    label, _, text = given.rpartition("=") if not Path(given).exists() else ("", "", given)
    path = Path(text) / OOF_FILE if Path(text).is_dir() else Path(text)
    if not path.is_file():
        raise UsageError(
            f"no file {path}: give CSV files with {ID} and the five targets, or run folders with {OOF_FILE}"
        )
    name = plain_text(label or (run_name(path.resolve().parent) if path.name == OOF_FILE else path.stem))
    try:
        columns = find_columns(read_csv(path, dtype={ID: str}), known)
    except ValueError as error:
        raise CheckFailed([Problem(what=str(error))]) from None
    except AmbiguousError as error:
        raise CheckFailed([_unfit(path, str(error), error.needs)]) from None
    table, note = _kept(path, columns)
    return OofFile(name=name, path=path, table=table, notes=(*columns.notes, *note))


def _kept(path: Path, columns: OofColumns) -> tuple[pd.DataFrame, list[str]]:
    """Keep what is read of a file, checked; and say what was decided in that."""
    ids = columns.ids
    if (doubled := ids.duplicated()).any():
        first = ids[doubled].iloc[0]
        rows = columns.rest[ids == first]
        differing = [repr(column) for column in rows if rows[column].nunique(dropna=False) > 1]
        by = f", once for each {differing[0]}" if differing else ""
        raise CheckFailed([_unfit(path, f"image {first} appears twice{by}", "one row per image")])
    kept = columns.predicted.apply(_numbers)
    if (bad := ~np.isfinite(kept.to_numpy(float))).any():
        row, column = np.argwhere(bad)[0]
        value = columns.predicted.astype(object).iloc[row, column]
        value = "nothing" if pd.isna(value) else quoted(value)
        what = f"image {ids.iloc[row]} has a prediction that is not a number: {value} for {TARGETS[column]}"
        raise CheckFailed([_unfit(path, what, "grams, without a unit")])
    folds, note = _folds_of(path, columns.rest)
    if folds is not None:
        kept[FOLD] = folds
    if columns.true is not None:
        for target in TARGETS:
            kept[f"true_{target}"] = _numbers(columns.true[target])
        refuse_copies(path, kept, kept[[f"true_{target}" for target in TARGETS]].to_numpy(float))
    if STATE_COLUMN in columns.rest and DATE_COLUMN in columns.rest:
        kept[[STATE_COLUMN, DATE_COLUMN]] = columns.rest[[STATE_COLUMN, DATE_COLUMN]]
    return kept.set_axis(pd.Index(ids, name=ID), axis=0), note


def _numbers(column: pd.Series) -> pd.Series:
    """Return grams; NaN for what is not a number, True and False among it."""
    return pd.to_numeric(column if column.dtype != bool else column.astype(str), errors="coerce")


def _folds_of(path: Path, rest: pd.DataFrame) -> tuple[pd.Series | None, list[str]]:
    """Return the fold of each row as text, where the file says it of every row.

    Raises:
        CheckFailed: two columns could be meant.
    """
    first, *others = [column for column in rest if plain_heading(column) in FOLD_HEADINGS] or [None]
    if first is None:
        return None, []
    if differing := [column for column in others if not rest[column].equals(rest[first])]:
        what = f"the folds may stand under {first!r} or under {differing[0]!r}"
        raise CheckFailed([_unfit(path, what, f"one column {FOLD}")])
    if empty := int(rest[first].isna().sum()):
        return None, [f"{first!r} is empty in {empty} of {len(rest)} rows, so the folds are not read"]
    return rest[first].astype(str).map(plain_text), []


def refuse_copies(path: Path, table: pd.DataFrame, truth: np.ndarray) -> None:
    """Refuse predictions that are the truth; `table` has grams and, where they are known, folds; truth (images, 5).

    Raises:
        CheckFailed: of a target, too many photographs that weigh anything are predicted to the last digit, in one fold
            or in all; or what is predicted is the truth but for rounding.
    """
    parts = {"": np.ones(len(table), bool)}
    if FOLD in table:
        parts |= {f" of fold {fold}": (table[FOLD] == fold).to_numpy() for fold in table[FOLD].unique()}
    for i, target in enumerate(TARGETS):
        grams = table[target].to_numpy(float)
        for where, part in parts.items():
            weighed = part & (truth[:, i] > 0)
            same = int((np.abs(grams[weighed] - truth[weighed, i]) <= COPIED_G).sum())
            share = COPIED_SHARE if not where else COPIED_SHARE_OF_FOLD
            what = ""
            if same >= COPIED_IMAGES and same > share * weighed.sum():
                what = f"{target} is the truth in {same} of {weighed.sum()} photographs{where}, not a prediction"
            elif weighed.sum() >= COPIED_IMAGES and _is_rounded(grams[weighed], truth[weighed, i]):
                what = f"{target} is the truth{where}, rounded, not a prediction"
            if what:
                raise CheckFailed([_unfit(path, what, f"predictions, e.g. under pred_{target}")])


def _is_rounded(predicted: np.ndarray, truth: np.ndarray) -> bool:
    """Whether grams are, in most photographs, the truth rounded to whole grams or to tenths."""
    for digits in ROUNDED_TO:
        if np.allclose(predicted, predicted.round(digits), rtol=0, atol=1e-6):
            return bool((np.abs(predicted - truth) <= 0.5 * 10.0**-digits + COPIED_G).mean() > ROUNDED_SHARE)
    return False


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
    """Read every file; files of one name are distinguished by their folders. See `read_oof` for `known`.

    Raises:
        UsageError: as `read_oof`, or two have one name although their folders differ in nothing.
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
        raise UsageError(f"two files are called {twins[0]}: name them, e.g. first={given[0]}")
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
        UsageError: there is no train.csv and no file that holds truth, State and Sampling_Date.
        CheckFailed: train.csv cannot be read, or the files' own truths differ.
    """
    if train_csv is not None:
        try:
            return read_train(train_csv).set_index(ID)
        except FileNotFoundError as error:
            raise UsageError(str(error)) from None
        except ValueError as error:
            raise CheckFailed([Problem(what=str(error), where=str(train_csv))]) from None
    needed = [*(f"true_{target}" for target in TARGETS), STATE_COLUMN, DATE_COLUMN]
    with_truth = [file.table[needed] for file in files if set(needed) <= set(file.table)]
    if not with_truth:
        raise UsageError("no file holds the truth with State and Sampling_Date: give --train-csv data/train.csv")
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
        refuse_copies(file.path, table, target_array(rows))
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
