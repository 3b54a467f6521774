"""Which column of somebody's out-of-fold file holds what: image ids, predictions, truth; never decided in silence.

1. A heading is read without regard to case, blanks, dots and hyphens: a target's name, whole or as people shorten it
   (`Review.spellings`), and before or behind it a mark. Columns of one mark for all targets are a family. Of one target
   a mark alone is enough: `pred`.
2. A family marked as predictions holds them; else the plain one does; else the only other one. Two that differ are
   refused, and so is a file in which a prediction lacks a target.
3. Beside marked predictions the plain family is the truth. Families of errors are never read.
4. Ids are recognised by their values: the column that holds ids of the truth, whatever it is called.
5. Where the competition's own tables have a row per image and target, files that do are turned into one row per image.
6. Of classes the columns are probabilities: a column of labels alone is refused, since it does not say how sure a model
   is, and neither a blend nor a log loss nor a calibration can be had of it.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd

from build.scores.words import targets_words
from kernel_src.competition.choice import chosen_competition
from kernel_src.competition.review import LongLayout
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules

ID = "image_id"
ID_HEADINGS = ("image_id", "id", "image", "image_path", "filename", "file", "path", "name", "unnamed: 0")
# What a mark may consist of, split at underscores; of a mark of several words the first kind that any word has counts.
ERROR_WORDS = frozenset("err error errors abs resid residual residuals diff delta loss ape mse mae".split())
PREDICTED_WORDS = frozenset(
    "pred preds predicted prediction predictions oof yhat hat forecast prob probs proba probability p".split()
)
TRUE_WORDS = frozenset("true truth actual gt label labels observed obs measured target y".split())
VALUE_HEADINGS = ("value", "values", "weight")  # of one row per image and target, where nothing is marked
FOLD_WORDS = ("fold", "folds", "kfold", "cv")
ERROR, PREDICTED, TRUE, PLAIN, OTHER = "error", "predicted", "true", "plain", "other"
HEADINGS_SHOWN = 12
_EXTENSION = re.compile(r"\.(jpe?g|png|bmp|tiff?|webp)$", re.IGNORECASE)
_QUOTES = "'\"`\u2018\u2019\u201c\u201d"


@dataclass(frozen=True, kw_only=True)
class _Names:
    """What the targets may be called."""

    called: dict[str, str]  # in small letters → target
    heading: re.Pattern[str]  # mark before, name, mark behind
    ids: tuple[str, ...]  # headings of ids, in small letters


def _names() -> _Names:
    return _names_in(chosen_competition())


@cache
def _names_in(competition: str) -> _Names:
    """Return the names in the chosen competition, which is `competition`.

    Raises:
        AmbiguousError: two targets read alike.
    """
    called: dict[str, str] = {}
    for spelling, target in review().spellings().items():
        if (other := called.setdefault(plain_heading(spelling), target)) != target:
            needs = "other names for the targets, in the facts of the competition"
            raise AmbiguousError(f"the targets {other} and {target} read alike in a heading", needs)
    names = "|".join(re.escape(name) for name in sorted(called, key=len, reverse=True))
    own = facts().id_column.casefold()
    return _Names(
        called=called,
        heading=re.compile(rf"(?:(.+?)_)??({names})(?:_(.+))?"),
        ids=tuple(dict.fromkeys([*ID_HEADINGS, own])),
    )


@dataclass(frozen=True, kw_only=True)
class OofColumns:
    """What was found, one row per image."""

    ids: pd.Series
    predicted: pd.DataFrame  # a column per target
    true: pd.DataFrame | None  # likewise
    rest: pd.DataFrame  # all other columns, as they are called
    notes: tuple[str, ...]  # what was decided although it could have been meant otherwise


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Columns that belong together."""

    kind: str
    columns: dict[str, str]  # target → heading, in the order of the targets

    @property
    def is_whole(self) -> bool:
        return len(self.columns) == len(facts().targets)

    def __str__(self) -> str:
        first, *others = self.columns.values()
        return f"{first}, …" if others else first


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
    if table.empty:
        raise AmbiguousError("it has a heading and no rows", f"{ID} and {targets_words()}")
    if (layout := review().long_layout) and _is_long(table, layout):
        table = _wide(table, layout)
    families = _families(table)
    predicted = _predictions(table, families)
    true = _the_only(table, [family for family in families if family.kind == TRUE and family.is_whole])
    plain = next((family for family in families if family.kind == PLAIN and family.is_whole), None)
    notes: list[str] = []
    if predicted.kind == PREDICTED and plain and not true:
        true = plain
        notes.append(f"predictions are read from {predicted}; {plain} beside them are taken for the truth")
    elif predicted.kind == PREDICTED and plain:
        notes.append(f"predictions are read from {predicted}, the truth from {true}; {plain} are not read")
    labels = _true_labels(table) if true is None else None
    others = [f for f in families if f.kind == OTHER and f.is_whole and f is not predicted]
    if predicted.kind == OTHER or others:
        unread = f"; {' and '.join(map(str, others))} are not read" if others else ""
        notes.append(f"predictions are read from {predicted}{unread}")
    used = [
        heading for family in families if family.is_whole or family.kind == PLAIN for heading in family.columns.values()
    ]
    used = list(dict.fromkeys([*used, *([labels] if labels is not None else [])]))
    heading, ids, note = _ids(table.drop(columns=used), known)
    return OofColumns(
        ids=ids,
        predicted=_renamed(table, predicted),
        true=_renamed(table, true) if true else _as_classes(table[labels]) if labels is not None else None,
        rest=table.drop(columns=[*used, heading]),
        notes=tuple([*notes, *note]),
    )


def _renamed(table: pd.DataFrame, family: _Family) -> pd.DataFrame:
    return pd.DataFrame({target: table[family.columns[target]] for target in facts().targets})


def _label_words(column: pd.Series) -> pd.Series:
    """Return the values of a column as labels are written, whole numbers without their `.0`."""
    return column.astype(str).str.strip().str.removesuffix(".0")


def _as_classes(column: pd.Series) -> pd.DataFrame:
    words, labels = _label_words(column), facts().labels or facts().targets
    return pd.DataFrame({t: (words == label) * 1.0 for t, label in zip(facts().targets, labels, strict=True)})


def _label_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that hold nothing but labels of classes."""
    if not facts().are_classes:
        return []
    labels = facts().labels or facts().targets
    return [column for column in table.columns if _label_words(table[column]).isin(labels).all()]


def _true_labels(table: pd.DataFrame) -> str | None:
    """Return the column of the true classes, where one is called so."""
    own = plain_heading(rules().label_column)
    named = [c for c in _label_columns(table) if plain_heading(c) == own or _kind(plain_heading(c)) == TRUE]
    return next(iter(named), None)


def _headings(table: pd.DataFrame) -> str:
    more = ", …" if len(table.columns) > HEADINGS_SHOWN else ""
    return ", ".join(map(str, table.columns[:HEADINGS_SHOWN])) + more


# %%
def plain_heading(heading: object) -> str:
    """Return a heading in small letters, words joined by underscores: `pred-Some Target ` → `pred_some_target`."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", unicodedata.normalize("NFKC", str(heading)))
    return re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")


def _kind(mark: str) -> str:
    words = {word.rstrip("0123456789") for word in mark.split("_")} - {*review().unit_words, ""}
    if not words:
        return PLAIN if not mark.strip("0123456789") or mark in review().unit_words else OTHER
    kinds = ((ERROR, ERROR_WORDS), (PREDICTED, PREDICTED_WORDS), (TRUE, TRUE_WORDS))
    return next((kind for kind, of in kinds if words & of), OTHER)


def _families(table: pd.DataFrame) -> list[_Family]:
    """Return the columns of targets by their mark, whole names before short ones, in the order of the table."""
    found: dict[tuple[bool, str], dict[str, str]] = {}
    names, targets = _names(), facts().targets
    for column in table.columns:
        plain = plain_heading(column)
        if match := names.heading.fullmatch(plain):
            target, mark = names.called[match[2]], f"{match[1] or ''}_{match[3] or ''}".strip("_")
            short = match[2] != plain_heading(target)
        elif len(targets) == 1 and set(plain.split("_")) <= ERROR_WORDS | PREDICTED_WORDS | TRUE_WORDS:
            target, mark, short = targets[0], plain, True
        else:
            continue
        family = found.setdefault((short, mark), {})
        if target in family and not table[family[target]].equals(table[column]):
            raise _both(family[target], column, target)
        family.setdefault(target, column)
    return [
        _Family(kind=_kind(mark), columns={target: family[target] for target in targets if target in family})
        for (_, mark), family in sorted(found.items(), key=lambda item: item[0][0])
    ]


def _predictions(table: pd.DataFrame, families: Sequence[_Family]) -> _Family:
    """Return the family that holds the predictions; rule 2.

    Raises:
        AmbiguousError: there is none, or two differ.
    """
    if not any(family.is_whole for family in families if family.kind == PREDICTED):
        partial = [family for family in families if family.kind == PREDICTED]
        if partial:
            raise _lacking(table, max(partial, key=lambda family: len(family.columns)))
    for kind in (PREDICTED, PLAIN, OTHER):
        whole = [family for family in families if family.kind == kind and family.is_whole]
        if only := _the_only(table, whole):
            return only
    plain = [family for family in families if family.kind == PLAIN]
    if labels := [c for c in _label_columns(table) if plain_heading(c).split("_")[0] not in FOLD_WORDS]:
        what = f"it has labels alone, under {labels[0]!r}: how sure the model is cannot be seen"
        raise AmbiguousError(what, f"{ID} and {targets_words()}, e.g. {facts().targets[0]}, …")
    raise _lacking(table, max(plain, key=lambda family: len(family.columns), default=_Family(kind=PLAIN, columns={})))


def _lacking(table: pd.DataFrame, family: _Family) -> AmbiguousError:
    missing = [target for target in facts().targets if target not in family.columns]
    headings = missing
    if family.columns:  # as the others are called
        target, example = next(iter(family.columns.items()))
        headings = [example.replace(target, name) if target in example else name for name in missing]
    return AmbiguousError(
        f"columns {', '.join(headings)} are missing, it has {_headings(table)}", f"{ID} and {targets_words()}"
    )


def _the_only(table: pd.DataFrame, families: Sequence[_Family]) -> _Family | None:
    """Return the first of families that hold the same.

    Raises:
        AmbiguousError: two differ.
    """
    for other in families[1:]:
        for target in facts().targets:
            first, second = families[0].columns[target], other.columns[target]
            if not table[first].equals(table[second]):
                raise _both(first, second, target)
    return families[0] if families else None


def _both(first: str, second: str, target: str) -> AmbiguousError:
    return AmbiguousError(f"both {first!r} and {second!r} could be meant for {target}", "one column for each target")


# %%
def image_id(value: object) -> str:
    """Return the id in `ID1011485656`, `train/ID1011485656.jpg`, or a row's id that ends in a separator and target."""
    seen = "".join(letter for letter in str(value) if unicodedata.category(letter) not in ("Cf", "Cc"))
    name = seen.strip().strip(_QUOTES).partition("?")[0].replace("\\", "/").rstrip("/").rpartition("/")[2].strip()
    if layout := review().long_layout:
        start, separator, target = name.rpartition(layout.separator)
        if separator and plain_heading(target) in _names().called:
            name = start
    return _EXTENSION.sub("", name)


def _ids(table: pd.DataFrame, known: Collection[str]) -> tuple[str, pd.Series, list[str]]:
    """Return the heading and the ids of the column that names the photographs, and what was decided for it.

    Raises:
        AmbiguousError: none does, or several do and differ.
    """
    named = [column for column in table.columns if str(column).casefold() in _names().ids]
    own = _own_spellings(known)
    ids = {column: table[column].map(image_id).map(own) for column in named}
    notes: list[str] = []
    if known:
        # By their values, whatever the column is called.
        texts = [column for column in table.columns if column not in ids and table[column].dtype == object]
        all_ids = ids | {column: table[column].map(image_id).map(own) for column in texts}
        fitting = {column: values for column, values in all_ids.items() if values.isin(set(known)).any()}
        if not fitting:
            spelled = _other_spellings(known)
            bare = {
                column: values.str.casefold().str.removesuffix(".0").map(spelled) for column, values in all_ids.items()
            }
            fitting = {
                column: values.fillna(all_ids[column]) for column, values in bare.items() if values.notna().any()
            }
            for column, values in list(fitting.items())[:1]:
                notes.append(f"{all_ids[column].iloc[0]} under {column!r} is taken for {values.iloc[0]}")
        ids = fitting or ids
    if len(ids) > 1:  # pandas' own index says nothing of a photograph
        ids = {column: values for column, values in ids.items() if not _counts_rows(table[column])} or ids
    if not ids:
        raise AmbiguousError(f"columns {ID} are missing, it has {_headings(table)}", ID)
    first, *others = ids
    if differing := [column for column in others if not ids[column].equals(ids[first])]:
        exact = [column for column in ids if column == ID]
        if known or not exact:
            raise AmbiguousError(f"the ids may stand under {first!r} or under {differing[0]!r}", f"one column {ID}")
        first = exact[0]
    return first, ids[first], notes


class _OwnSpellings(dict[str, str]):
    """Ids as the truth has them; another is as it is."""

    def __missing__(self, name: str) -> str:
        return name


def _own_spellings(known: Collection[str]) -> dict[str, str]:
    """Return for an id as `image_id` reads it how the truth has it: in some competitions with the file's extension."""
    return _OwnSpellings({image_id(name): name for name in known})


def _counts_rows(column: pd.Series) -> bool:
    return column.dtype.kind == "i" and bool((column.diff().iloc[1:] == 1).all())


def _other_spellings(known: Collection[str]) -> dict[str, str]:
    """Return the id for its small letters, and for its number without `ID` before it, where that names one only."""
    spelled: dict[str, str] = {}
    doubtful = set()
    for image in known:
        for spelling in {image.casefold(), image.casefold().removeprefix("id")}:
            if spelled.setdefault(spelling, image) != image:
                doubtful.add(spelling)
    return {spelling: image for spelling, image in spelled.items() if spelling not in doubtful}


# %%
def _target_column(table: pd.DataFrame, layout: LongLayout) -> str | None:
    """Return the column whose every value is a target's name, as one row per image and target has it."""
    named = [column for column in table.columns if plain_heading(column) == layout.name_column]
    texts = [column for column in table.columns if table[column].dtype == object]
    by_values = [column for column in texts if table[column].map(plain_heading).isin(_names().called).all()]
    return next(iter([*named, *by_values]), None)


def _is_long(table: pd.DataFrame, layout: LongLayout) -> bool:
    """Whether a table has one row per image and target."""
    if any(family.is_whole or family.kind in (PLAIN, PREDICTED) for family in _families(table)):
        return False
    own = facts().id_column
    return _target_column(table, layout) is not None or any(plain_heading(column) == own for column in table.columns)


def _wide(table: pd.DataFrame, layout: LongLayout) -> pd.DataFrame:
    """Turn one row per image and target into one row per image, with `pred_<target>` and `true_<target>`.

    Raises:
        AmbiguousError: it does not say which target a row is, or not what is predicted.
    """
    row_id, targets = facts().id_column, facts().targets
    name_column = _target_column(table, layout)
    of = {plain_heading(column): column for column in table.columns if column != name_column}
    numbers = [heading for heading, column in of.items() if str(column).casefold() not in _names().ids]
    predicted = [of[heading] for heading in numbers if _kind(heading) == PREDICTED]
    for headings in ((layout.value_column,), (*VALUE_HEADINGS, *review().unit_words)):
        predicted = predicted or [of[heading] for heading in headings if heading in of]
    true = [of[heading] for heading in numbers if _kind(heading) == TRUE and of[heading] not in predicted]
    if len(predicted) != 1:
        found = " or ".join(map(repr, predicted)) or f"none of {_headings(table)} certainly"
        raise AmbiguousError(
            f"it has one row per image and target, and {found} holds the predictions",
            f"{row_id} and {layout.value_column}",
        )
    if name_column is None:
        names = table[of[row_id]].astype(str).str.rpartition(layout.separator)[2].str.strip()
    else:
        names = table[name_column].astype(str).str.strip()
    named = names.map(plain_heading).map(_names().called)
    if named.isna().any():
        raise AmbiguousError(f"{names[named.isna()].iloc[0]!r} is none of the targets", ", ".join(targets))
    used = [*predicted, *true, *([name_column] if name_column is not None else [])]
    heading, ids, _ = _ids(table.drop(columns=used), ())
    long = pd.DataFrame({ID: ids, "target": named})
    if (doubled := long.duplicated()).any():
        image, target = long[doubled].iloc[0]
        raise AmbiguousError(f"image {image} has {target} twice", "one row per image and target")
    rest = table.drop(columns=[*used, heading])
    rest = rest.loc[:, [column for column in rest if str(column).casefold() not in _names().ids]]
    parts = [rest.assign(**{ID: ids}).drop_duplicates(ID).set_index(ID)]
    for mark, columns in (("pred", predicted), ("true", true[:1])):
        for column in columns:
            wide = long.assign(value=table[column]).pivot(index=ID, columns="target", values="value")
            parts.append(wide.reindex(columns=list(targets)).add_prefix(f"{mark}_"))
    return pd.concat(parts, axis=1).reset_index()
