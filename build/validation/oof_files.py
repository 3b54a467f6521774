"""Out-of-fold files: any CSV with `image_id` and the five targets, one row per image, beside the truth of train.csv.

Targets may be called `Dry_Green_g` or `pred_Dry_Green_g`; a `fold` column is kept, and so are the truth (`true_…`) and
State and Sampling_Date where no train.csv is given. A folder is a run of ours: its oof.csv is meant.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from build.problems import CheckFailed, Problem, WrongUse
from kernel_src.common.competition import DATE_COLUMN, STATE_COLUMN, TARGETS
from kernel_src.common.manifest import CONFIG_FILE
from kernel_src.common.tables import group_labels, read_train, target_array

OOF_FILE = "oof.csv"
ID, FOLD = "image_id", "fold"
PREDICTED, TRUE = ("{}", "pred_{}", "{}_pred"), ("true_{}", "{}_true", "truth_{}", "{}_truth")


@dataclass(frozen=True, kw_only=True)
class OofFile:
    """One file as it was read."""

    name: str
    path: Path
    table: pd.DataFrame  # index image_id; the five targets; fold, true_<target>, State, Sampling_Date where it has them

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
def read_oof(given: str) -> OofFile:
    """Read `PATH` or `NAME=PATH`.

    Raises:
        WrongUse: there is no such file.
        CheckFailed: a column is missing, an image is doubled, or a number is not finite.
    """
    label, _, text = given.rpartition("=") if not Path(given).exists() else ("", "", given)
    path = Path(text) / OOF_FILE if Path(text).is_dir() else Path(text)
    if not path.is_file():
        raise WrongUse(f"no file {path}: give CSV files with {ID} and the five targets, or run folders with {OOF_FILE}")
    name = label or (run_name(path.resolve().parent) if path.name == OOF_FILE else path.stem)
    try:
        table = pd.read_csv(path, dtype={ID: str})
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise CheckFailed([Problem(what=f"is no CSV: {error}", where=str(path), cure="give it headings")]) from None
    found = {target: _column(table, PREDICTED, target) for target in TARGETS}
    missing = [target for target, column in found.items() if column is None] + [ID] * (ID not in table)
    if missing:
        raise CheckFailed([_unfit(path, f"columns {', '.join(missing)} are missing", f"{ID} and the five targets")])
    if (doubled := table[ID].duplicated()).any():
        raise CheckFailed([_unfit(path, f"image {table[ID][doubled].iloc[0]} appears twice", "one row per image")])
    kept = pd.DataFrame({target: pd.to_numeric(table[column], errors="coerce") for target, column in found.items()})
    if (bad := ~np.isfinite(kept.to_numpy(float)).all(1)).any():
        raise CheckFailed([_unfit(path, f"image {table[ID][bad].iloc[0]} has a prediction that is no number", "grams")])
    if all(_column(table, TRUE, target) for target in TARGETS):
        for target in TARGETS:
            kept[f"true_{target}"] = pd.to_numeric(table[_column(table, TRUE, target)], errors="coerce")
    for column in (FOLD, STATE_COLUMN, DATE_COLUMN):
        if column in table:
            kept[column] = table[column].astype(str)
    return OofFile(name=name, path=path, table=kept.set_axis(table[ID], axis=0))


def run_name(folder: Path) -> str:
    """Return the experiment of a run's folder; where no config.json names it, the folder's own name."""
    config = folder / CONFIG_FILE
    if not config.is_file():
        return folder.name
    try:
        return str(json.loads(config.read_bytes())["experiment"]["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckFailed([Problem(what=f"names no experiment: {error}", where=str(config))]) from None


def _column(table: pd.DataFrame, shapes: Sequence[str], target: str) -> str | None:
    return next((shape.format(target) for shape in shapes if shape.format(target) in table), None)


def _unfit(path: Path, what: str, cure: str) -> Problem:
    return Problem(what=what, where=str(path), cure=f"the file needs {cure}")


def read_all(given: Sequence[str]) -> list[OofFile]:
    """Read every file; files of one name are told apart by their folders.

    Raises:
        WrongUse: as `read_oof`, or two have one name although their folders differ in nothing.
        CheckFailed: with the problems of all files.
    """
    files, problems = [], []
    for one in given:
        try:
            files.append(read_oof(one))
        except CheckFailed as failed:
            problems += failed.problems
    if problems:
        raise CheckFailed(problems)
    names = [file.name for file in files]
    told_apart = [
        OofFile(name=f"{file.path.resolve().parent.name}/{file.name}", path=file.path, table=file.table)
        if names.count(file.name) > 1
        else file
        for file in files
    ]
    names = [file.name for file in told_apart]
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise WrongUse(f"two files are called {twins[0]}: name them, e.g. first={given[0]}")
    return told_apart


# %%
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
    return table.rename(columns={f"true_{target}": target for target in TARGETS})


def validation_of(files: Sequence[OofFile], truth: pd.DataFrame) -> Validation:
    """Keep the images that the truth and all files have, in the order of the truth.

    Raises:
        CheckFailed: fewer than two groups are left.
    """
    common = [image for image in truth.index if all(image in file.table.index for file in files)]
    rows = truth.loc[common]
    groups = group_labels(rows)
    if len(set(groups)) < 2:
        shown = ", ".join(f"{file.name} begins with {file.table.index[0]!r}" for file in files if len(file.table))
        what = f"truth and files share {len(common)} images of {len(set(groups))} groups ({shown})"
        raise CheckFailed([Problem(what=what, cure=f"{ID} is the photograph's name without .jpg, as {truth.index[0]}")])
    tables = [file.table.loc[common] for file in files]
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
