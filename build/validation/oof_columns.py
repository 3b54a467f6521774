"""Which column of somebody's out-of-fold file holds what: image ids, predictions, truth; never decided in silence.

Ids stand under several headings and are told by their values: the column that holds ids of the truth. Predictions are
marked (`pred_Dry_Green_g`) or plain (`Dry_Green_g`); beside marked ones the plain ones are the truth. Files with one
row per image and target (`sample_id`, `target`) are turned into one row per image first.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from kernel_src.common.competition import ID_COLUMN, ID_SEPARATOR, NAME_COLUMN, TARGET_COLUMN, TARGETS

ID = "image_id"
ID_HEADINGS = ("image_id", "id", "image", "image_path", "sample_id", "filename", "file", "path", "name", "unnamed: 0")
PREDICTED_MARKS = ("pred", "preds", "predicted", "prediction", "oof", "yhat", "y_pred")
TRUE_MARKS = ("true", "truth", "actual", "gt", "label", "y_true", "observed")
_EXTENSION = re.compile(r"\.(jpe?g|png|bmp|tiff?|webp)$", re.IGNORECASE)
_KNOWN_TARGETS = {target.casefold(): target for target in TARGETS}


@dataclass(frozen=True, kw_only=True)
class OofColumns:
    """What was found, one row per image."""

    ids: pd.Series
    predicted: pd.DataFrame  # the five targets
    true: pd.DataFrame | None  # the five targets
    rest: pd.DataFrame  # all other columns, as they are called
    notes: tuple[str, ...]  # what was decided although it could have been meant otherwise


class AmbiguousError(Exception):
    """A file cannot be read in one way only, or lacks something; `needs` is what it should have."""

    def __init__(self, what: str, needs: str) -> None:
        """Keep both."""
        super().__init__(what)
        self.needs = needs


def find_columns(table: pd.DataFrame, known: Collection[str] = ()) -> OofColumns:
    """Find ids, predictions and truth; `known` are the image ids of the truth, where there is one already.

    Raises:
        AmbiguousError: something is missing, or two columns could be meant.
    """
    if _is_long(table):
        table = _wide(table)
    notes: list[str] = []
    marked, plain = _by_mark(table, PREDICTED_MARKS), _by_mark(table, ())
    true = _by_mark(table, TRUE_MARKS)
    predicted, meant = (marked, "pred_…") if marked else (plain, "")
    if missing := [target for target in TARGETS if target not in predicted]:
        headings = ", ".join(meant.replace("…", target) or target for target in missing)
        shown = ", ".join(map(str, table.columns[:12])) + (", …" if len(table.columns) > 12 else "")
        raise AmbiguousError(f"columns {headings} are missing, it has {shown}", f"{ID} and the five targets")
    if marked and plain and not true:
        true = plain
        notes.append(f"predictions are read from {_shown(marked)}; {_shown(plain)} beside them are taken for the truth")
    elif marked and plain:
        notes.append(
            f"predictions are read from {_shown(marked)}, the truth from {_shown(true)}; {_shown(plain)} are not read"
        )
    used = [*marked.values(), *plain.values(), *true.values()]
    heading, ids = _ids(table.drop(columns=used), known)
    rest = table.drop(columns=[*used, heading])
    return OofColumns(
        ids=ids,
        predicted=_renamed(table, predicted),
        true=_renamed(table, true) if set(true) == set(TARGETS) else None,
        rest=rest,
        notes=tuple(notes),
    )


def _renamed(table: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({target: table[columns[target]] for target in TARGETS})


def _shown(columns: dict[str, str]) -> str:
    first, *others = columns.values()
    return f"{first}, …" if others else first


def _by_mark(table: pd.DataFrame, marks: Collection[str]) -> dict[str, str]:
    """Return the column of each target that carries one of the marks, before or behind; without marks, the plain ones.

    Raises:
        AmbiguousError: two columns of a target do, and differ.
    """
    found: dict[str, str] = {}
    for column in table.columns:
        name = str(column).casefold()
        for plain, target in _KNOWN_TARGETS.items():
            if name in ({f"{mark}_{plain}" for mark in marks} | {f"{plain}_{mark}" for mark in marks} or {plain}):
                if target in found and not table[found[target]].equals(table[column]):
                    raise AmbiguousError(
                        f"both {found[target]!r} and {column!r} could be meant for {target}",
                        "one column for each target",
                    )
                found.setdefault(target, column)
    return found


# %%
def image_id(value: object) -> str:
    """Return the id in `ID1011485656`, `train/ID1011485656.jpg` or `ID1011485656__Dry_Green_g`."""
    name = str(value).strip().replace("\\", "/").rpartition("/")[2]
    start, separator, target = name.rpartition(ID_SEPARATOR)
    if separator and target.casefold() in _KNOWN_TARGETS:
        name = start
    return _EXTENSION.sub("", name)


def _ids(table: pd.DataFrame, known: Collection[str]) -> tuple[str, pd.Series]:
    """Return the heading and the ids of the column that names the photographs.

    Raises:
        AmbiguousError: none does, or several do and differ.
    """
    named = [column for column in table.columns if str(column).casefold() in ID_HEADINGS]
    ids = {column: table[column].map(image_id) for column in named}
    if known:
        # By their values, whatever the column is called.
        texts = [column for column in table.columns if column not in ids and table[column].dtype == object]
        all_ids = ids | {column: table[column].map(image_id) for column in texts}
        fitting = {column: values for column, values in all_ids.items() if values.isin(set(known)).any()}
        ids = fitting or ids
    if not ids:
        raise AmbiguousError(f"columns {ID} are missing, it has {', '.join(map(str, table.columns[:12]))}", ID)
    first, *others = ids
    if differing := [column for column in others if not ids[column].equals(ids[first])]:
        exact = [column for column in ids if column == ID]
        if known or not exact:
            raise AmbiguousError(f"the ids may stand under {first!r} or under {differing[0]!r}", f"one column {ID}")
        first = exact[0]
    return first, ids[first]


# %%
def _is_long(table: pd.DataFrame) -> bool:
    """Tell a table with one row per image and target."""
    columns = {str(column).casefold() for column in table.columns}
    if any(_by_mark(table, marks) for marks in (PREDICTED_MARKS, ())):
        return False
    return NAME_COLUMN in columns or ID_COLUMN in columns


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """Turn one row per image and target into one row per image, with `pred_<target>` and `true_<target>`.

    Raises:
        AmbiguousError: it does not say which target a row is, or not what is predicted.
    """
    of = {str(column).casefold(): column for column in table.columns}
    predicted = [of[mark] for mark in PREDICTED_MARKS if mark in of]
    if not predicted and TARGET_COLUMN in of:
        predicted = [of[TARGET_COLUMN]]
    true = [of[name] for name in (*TRUE_MARKS, TARGET_COLUMN) if name in of and of[name] not in predicted]
    if len(predicted) != 1:
        found = " or ".join(map(repr, predicted)) or "no column"
        raise AmbiguousError(
            f"it has one row per image and target, and {found} holds the predictions", "sample_id and target"
        )
    if ID_COLUMN in of and NAME_COLUMN not in of:
        names = table[of[ID_COLUMN]].astype(str).str.rpartition(ID_SEPARATOR)[2].str.strip()
    else:
        names = table[of[NAME_COLUMN]].astype(str).str.strip()
    targets = names.str.casefold().map(_KNOWN_TARGETS)
    if targets.isna().any():
        raise AmbiguousError(f"{names[targets.isna()].iloc[0]!r} is none of the targets", ", ".join(TARGETS))
    used = [*predicted, *true, *(of[name] for name in (NAME_COLUMN,) if name in of)]
    _, ids = _ids(table.drop(columns=used), ())
    long = pd.DataFrame({ID: ids, "target": targets})
    if (doubled := long.duplicated()).any():
        image, target = long[doubled].iloc[0]
        raise AmbiguousError(f"image {image} has {target} twice", "one row per image and target")
    rest = table.drop(columns=[*used, *(of[name] for name in (ID_COLUMN, ID) if name in of)])
    rest = rest.loc[:, [column for column in rest if str(column).casefold() not in ID_HEADINGS]]
    parts = [rest.assign(**{ID: ids}).drop_duplicates(ID).set_index(ID)]
    for mark, columns in (("pred", predicted), ("true", true[:1])):
        for column in columns:
            wide = long.assign(value=table[column]).pivot(index=ID, columns="target", values="value")
            parts.append(wide.reindex(columns=list(TARGETS)).add_prefix(f"{mark}_"))
    return pd.concat(parts, axis=1).reset_index()
