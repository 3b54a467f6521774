"""Out-of-fold files: any CSV with image ids and the competition's targets, beside the truth of its training table.

`oof_columns.py` finds out which column is what; a `fold` column is kept, and so are the truth and the columns that tell
the groups where no training table is given. Of classes the targets are probabilities. A folder is a run of ours: its
oof.csv is meant.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.untrusted import plain_text
from build.scores.oof_columns import ID, AmbiguousError, OofColumns, find_columns, plain_heading
from build.scores.words import targets_words
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules
from kernel_src.runtime.csv_table import read_csv
from kernel_src.runtime.files import CONFIG_FILE
from kernel_src.runtime.untrusted import quoted

OOF_FILE = "oof.csv"
FOLD = "fold"
FOLD_HEADINGS = ("fold", "folds", "kfold", "k_fold", "fold_id", "fold_idx", "fold_no", "fold_number", "cv_fold")
# A model that gives back the truth of more photographs than this, as near as `Review.copied`, has not predicted it.
# Twelve real files of the first competition, rounded or not, have at most 0.9 % such photographs of a target.
COPIED_SHARE, COPIED_SHARE_OF_FOLD, COPIED_IMAGES = 0.05, 0.2, 3
COPIED_PART, OTHER_PART = 1e-4, 0.02  # of the truth's deviation, where a competition says nothing of its own
ROUNDED_TO, ROUNDED_SHARE = (0, 1), 0.5  # decimals
SUM_OFF = 0.02  # by so much the probabilities of a row may miss 1


@dataclass(frozen=True, kw_only=True)
class OofFile:
    """One file as it was read."""

    name: str
    path: Path
    table: pd.DataFrame  # index image_id; the targets; fold, true_<target>, columns of groups where it has them
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
    truth: np.ndarray  # (images, targets); of classes 0 and 1
    predictions: np.ndarray  # (models, images, targets); of classes probabilities
    groups: np.ndarray  # (images,)
    parts: Mapping[str, np.ndarray]  # what errors are split by → (images,) as text
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
            f"no file {path}: give CSV files with {ID} and {targets_words()}, or run folders with {OOF_FILE}"
        )
    name = plain_text(label or (run_name(path.resolve().parent) if path.name == OOF_FILE else path.stem))
    try:
        columns = find_columns(read_csv(path, dtype=dict.fromkeys([ID, facts().id_column], str)), known)
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
        what = f"image {ids.iloc[row]} has a prediction that is not a number: {value} for {facts().targets[column]}"
        raise CheckFailed([_unfit(path, what, "numbers, without a unit")])
    if facts().are_classes:
        _require_probabilities(path, ids, kept.to_numpy(float))
    folds, note = _folds_of(path, columns.rest)
    if folds is not None:
        kept[FOLD] = folds
    if columns.true is not None:
        true = [f"true_{target}" for target in facts().targets]
        for target in facts().targets:
            kept[f"true_{target}"] = _numbers(columns.true[target])
        refuse_copies(path, kept, kept[true].to_numpy(float))
    if set(own := list(rules().group_columns)) <= set(columns.rest):
        kept[own] = columns.rest[own]
    return kept.set_axis(pd.Index(ids, name=ID), axis=0), note


def _numbers(column: pd.Series) -> pd.Series:
    """Return numbers; NaN for what is not a number, True and False among it."""
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


def _require_probabilities(path: Path, ids: pd.Series, predicted: np.ndarray) -> None:
    """Refuse what cannot be probabilities of classes, (images, classes).

    Raises:
        CheckFailed: one lies outside 0 to 1, or a row does not add up to about 1.
    """
    needs = "probabilities, after a softmax: 0 to 1, adding up to 1 in each row"
    if (outside := (predicted < -SUM_OFF) | (predicted > 1 + SUM_OFF)).any():
        row, column = np.argwhere(outside)[0]
        value, name = predicted[row, column], facts().targets[column]
        raise CheckFailed([_unfit(path, f"image {ids.iloc[row]} has {value:g} for {name}: no probability", needs)])
    sums = predicted.sum(1)
    if (off := np.abs(sums - 1) > SUM_OFF).any():
        row = int(np.argmax(off))
        raise CheckFailed([_unfit(path, f"the classes of image {ids.iloc[row]} add up to {sums[row]:.3g}", needs)])


def refuse_copies(path: Path, table: pd.DataFrame, truth: np.ndarray) -> None:
    """Refuse predictions that are the truth; `table` has them and, where known, folds; truth is (images, targets).

    Where every truth is a whole number, a rounded prediction may well meet it, so that only a copy throughout is one.

    Raises:
        CheckFailed: of a target, too many photographs that have some of it are predicted to the last digit, in one fold
            or in all; or what is predicted is the truth but for rounding. Of classes: the true one always has all.
    """
    parts = {"": np.ones(len(table), bool)}
    if FOLD in table:
        parts |= {f" of fold {fold}": (table[FOLD] == fold).to_numpy() for fold in table[FOLD].unique()}
    if facts().are_classes or np.array_equal(truth, truth.round()):
        off = np.abs(table[list(facts().targets)].to_numpy(float) - truth)
        if len(truth) >= COPIED_IMAGES and off.max() < 1e-9:
            raise CheckFailed([_unfit(path, "every prediction is the truth", f"predictions, {_marked()}")])
        return
    for i, target in enumerate(facts().targets):
        near = review().copied or COPIED_PART * truth[:, i].std()
        values = table[target].to_numpy(float)
        for where, part in parts.items():
            weighed = part & (truth[:, i] != 0)
            same = int((np.abs(values[weighed] - truth[weighed, i]) <= near).sum())
            share = COPIED_SHARE if not where else COPIED_SHARE_OF_FOLD
            what = ""
            if same >= COPIED_IMAGES and same > share * weighed.sum():
                what = f"{target} is the truth in {same} of {weighed.sum()} photographs{where}, not a prediction"
            elif weighed.sum() >= COPIED_IMAGES and _is_rounded(values[weighed], truth[weighed, i], near):
                what = f"{target} is the truth{where}, rounded, not a prediction"
            if what:
                raise CheckFailed([_unfit(path, what, f"predictions, e.g. under pred_{target}")])


def _marked() -> str:
    return f"e.g. under pred_{facts().targets[0]}"


def _is_rounded(predicted: np.ndarray, truth: np.ndarray, near: float) -> bool:
    """Whether numbers are, in most photographs, the truth rounded to whole ones or to tenths."""
    for digits in ROUNDED_TO:
        if np.allclose(predicted, predicted.round(digits), rtol=0, atol=1e-6):
            return bool((np.abs(predicted - truth) <= 0.5 * 10.0**-digits + near).mean() > ROUNDED_SHARE)
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
    problems, targets = [], facts().targets
    for file in files:
        if f"true_{targets[0]}" not in file.table:
            continue
        common = truth.index.intersection(file.table.index)
        own = file.table.loc[common, [f"true_{target}" for target in targets]].to_numpy(float)
        given = rules().target_array(truth.loc[common])
        off = np.nanmean(np.abs(own - given), 0) if len(common) else np.zeros(len(targets))
        allowed = review().other_truth or OTHER_PART * np.maximum(given.std(0), 1e-9)
        if (off > allowed).any():
            worst = int((off / allowed).argmax())
            unit = f" {facts().unit}" if facts().unit else ""
            what = (
                f"its columns taken for the truth differ from {facts().train_csv}, in {targets[worst]} by "
                f"{off[worst]:.1f}{unit} on average"
            )
            problems.append(_unfit(file.path, what, "predictions under pred_… and the truth, if any, under true_…"))
    if problems:
        raise CheckFailed(problems)


def truth_table(files: Sequence[OofFile], train_csv: Path | None) -> pd.DataFrame:
    """Return the truth: index image_id; the targets, and what else the training table says.

    Raises:
        UsageError: there is no training table and no file that holds truth and groups.
        CheckFailed: the table cannot be read, or the files' own truths differ.
    """
    if train_csv is not None:
        try:
            return rules().read_train(train_csv).set_index(ID)
        except FileNotFoundError as error:
            raise UsageError(str(error)) from None
        except ValueError as error:
            raise CheckFailed([Problem(what=str(error), where=str(train_csv))]) from None
    groups = list(rules().group_columns)
    needed = [*(f"true_{target}" for target in facts().targets), *groups]
    with_truth = [file.table[needed] for file in files if set(needed) <= set(file.table)]
    if not with_truth:
        beside = f" with {' and '.join(groups)}" if groups else ""
        raise UsageError(f"no file holds the truth{beside}: give --train-csv data/{facts().train_csv}")
    table = pd.concat(with_truth)
    if (doubled := table.reset_index().drop_duplicates()[ID].duplicated()).any():
        first = table.reset_index().drop_duplicates()[ID][doubled].iloc[0]
        raise CheckFailed([Problem(what=f"the files' truths of {first} differ", cure="give --train-csv")])
    table = table[~table.index.duplicated()]
    try:
        table = review().tidy(table, "the files' own truth")
    except ValueError as error:
        raise CheckFailed([Problem(what=str(error), cure="give --train-csv")]) from None
    return table.rename(columns={f"true_{target}": target for target in facts().targets})


def validation_of(files: Sequence[OofFile], truth: pd.DataFrame) -> Validation:
    """Keep the images that the truth and all files have, in the order of the truth.

    Raises:
        CheckFailed: fewer than two groups are left, or a file's predictions are the truth.
    """
    common = [image for image in truth.index if all(image in file.table.index for file in files)]
    rows = truth.loc[common]
    groups = rules().group_labels(rows.reset_index())
    if len(set(groups)) < 2:
        shown = ", ".join(f"{file.name} begins with {file.table.index[0]!r}" for file in files if len(file.table))
        what = f"truth and files share {len(common)} images of {len(set(groups))} groups ({shown})"
        raise CheckFailed([Problem(what=what, cure=f"{ID} is the photograph's name without .jpg, as {truth.index[0]}")])
    tables, target_array = [file.table.loc[common] for file in files], rules().target_array
    for file, table in zip(files, tables, strict=True):
        refuse_copies(file.path, table, target_array(rows))
    return Validation(
        names=tuple(file.name for file in files),
        image_ids=np.array(common),
        truth=target_array(rows),
        predictions=np.stack([target_array(table) for table in tables]),
        groups=groups,
        parts={kind: rows[column].to_numpy(str) for kind, column in review().parts.items() if column in rows},
        folds=tuple(table[FOLD].to_numpy(str) if FOLD in table else None for table in tables),
    )
