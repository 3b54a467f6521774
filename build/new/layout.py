"""The layout of a competition: which column names the photographs, where these lie, what is submitted."""

import math
from collections import Counter
from dataclasses import dataclass

from build.new.folder import Folder, Table, refused
from build.new.guess import Guess
from build.new.places import ENOUGH, PictureNames, Place

SEPARATORS = ("__", "_", "-", ":", ".", "/", " ")  # between an id and a target, in tables with a row for each
LONG = (
    "the kit's usual layout has a row for each photograph; copy kernel_src/competitions/biomass/ and derive "
    "Facts.read_test, Facts.rows_of and Rules.read_train as it does"
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is known once the tables and the pictures have been looked at."""

    folder: Folder
    id_column: str
    train_id_column: str  # where the training table calls it otherwise
    path_column: str
    folder_column: str  # of the table, naming a folder between the photographs' and a photograph
    train: Place
    test_folder: str
    test_csv: str  # empty: the sample submission has the rows
    answer_columns: tuple[str, ...]
    shared: tuple[str, ...]  # columns of the training table that the test has, too
    guesses: tuple[Guess, ...]

    @property
    def ids(self) -> list[str]:
        """The ids of the training photographs, in the table's order."""
        return self.folder.train.columns[self.train_id_column or self.id_column]

    def training_paths(self) -> dict[str, str]:
        """Return where each training photograph lies that is there: id → path below the competition's folder."""
        there, rows = set(self.folder.pictures), self.folder.train.columns
        found = {}
        for number, name in enumerate(self.ids):
            middle = (rows[self.folder_column][number],) if self.folder_column else ()
            stem = "/".join(part for part in (self.train.folder, *middle, name) if part)
            paths = [rows[self.path_column][number]] if self.path_column else []
            paths += [f"{stem}{suffix}" for suffix in self.train.suffixes or ("",)]
            if here := next((path for path in paths if path in there), ""):
                found[name] = here
        return found


def read_layout(folder: Folder, id_column: str = "") -> Layout:
    """Look at the tables and the pictures; `id_column` says what is not to be guessed.

    Raises:
        CheckFailed: a layout that the kit has no package for; says which, and what to do.
    """
    train, test, sample = folder.train, folder.test, folder.sample
    guesses = [
        Guess(name="train_csv", value=train.name, why=_table_reason(train, sample), otherwise="the table's name"),
    ]
    if not len(train):
        raise refused(folder.root / train.name, "has a heading and no rows", "download it again")
    names = PictureNames(folder.pictures)
    train_id, train_place = _train_id(folder, names, id_column)
    path_column = _path_column(folder)
    if path_column == train_id and (own := _id_beside_path(folder)):
        train_id, train_place = own, _place_of_paths(train.columns[path_column], names)
    sample_id = _sample_id(folder, train_id)
    _refuse_long(folder, train_id, sample_id, names)
    test_csv = test.name if test and sample_id in test.columns else ""
    path_column = "" if path_column == train_id else path_column
    guesses += _id_guesses(folder, train_id, sample_id, train_place)
    guesses.append(_test_guess(test, sample, sample_id, test_csv))
    train_place = _checked_place(folder, train_place, test_csv)
    test_folder, guess = _test_folder(folder, names, path_column or sample_id, test_csv, train_place)
    guesses += [*_picture_guesses(train_place, path_column), guess]
    shared = [
        column
        for column in train.columns
        if test_csv and test and column in test.columns and column not in (sample_id, train_id, path_column)
    ]
    return Layout(
        folder=folder,
        id_column=sample_id,
        train_id_column="" if train_id == sample_id else train_id,
        path_column=path_column,
        folder_column=train_place.column,
        train=train_place,
        test_folder=test_folder,
        test_csv=test_csv,
        answer_columns=tuple(column for column in sample.columns if column != sample_id),
        shared=tuple(shared),
        guesses=tuple(guesses),
    )


# -- the id ---------------------------------------------------------------------------------------------------------


def _train_id(folder: Folder, names: PictureNames, given: str) -> tuple[str, Place]:
    """Return the column of the training table whose values name the pictures, and where these lie."""
    train = folder.train
    if given and given not in train.columns:
        raise refused(
            folder.root / train.name,
            f"has no column {given!r}, it has {', '.join(train.columns)}",
            "choose another for --id-column",
        )
    places = {
        column: names.place(values, {other: rows for other, rows in train.columns.items() if other != column}, "train")
        for column, values in train.columns.items()
        if given in ("", column)
    }
    public = set(folder.sample.columns) | set(folder.test.columns if folder.test else ())
    best = max(
        places,
        key=lambda column: (
            round(places[column].share, 2),
            len(set(train.columns[column])) == len(train),
            column in public,
            "/" not in train.columns[column][0],
        ),
    )
    place = places[best]
    if place.share < ENOUGH:
        if composite := _composite(train.columns, names):
            what = f"{composite} has a row for each photograph and target, such as {train.columns[composite][0]}"
            raise refused(folder.root / train.name, what, LONG)
        first = ", ".join(f"{column} {values[0]!r}" for column, values in list(train.columns.items())[:4])
        what = f"no column names the photographs: the first row has {first}; a photograph is {folder.pictures[0]}"
        cure = "is a part of the photographs not unpacked, or is it another table? --id-column says which column it is"
        raise refused(folder.root / train.name, what, cure)
    return best, place


def _composite(columns: dict[str, list[str]], names: PictureNames) -> str:
    """Return the column whose values begin with a picture's name, behind which something else stands."""
    for column, values in columns.items():
        some = values[:200]
        if sum(bool(_begun_by(value, names)) for value in some) > ENOUGH * len(some):
            return column
    return ""


def _begun_by(value: str, names: PictureNames) -> str:
    """Return the picture's name that a value begins with, with something else behind a separator."""
    for separator in SEPARATORS:
        head = value.rpartition(separator)[0]
        if head and names.of(head):
            return head
    return ""


def _sample_id(folder: Folder, train_id: str) -> str:
    sample, test = folder.sample, folder.test
    if train_id in sample.columns:
        return train_id
    if not sample.columns:
        raise refused(folder.root / sample.name, "is empty", "download it again")
    known = set(test.columns.get(train_id, ())) if test else set()
    fits = {column: len(known & set(values)) for column, values in sample.columns.items()}
    return max(fits, key=lambda column: fits[column])  # the first one, where none fits


def _refuse_long(folder: Folder, train_id: str, sample_id: str, names: PictureNames) -> None:
    """Refuse tables that have several rows for a photograph.

    Raises:
        CheckFailed: they have.
    """
    train, sample, test = folder.train, folder.sample, folder.test
    for table, column in ((train, train_id), (sample, sample_id), (test, sample_id)):
        if table is None or column not in table.columns:
            continue
        name, count = next(iter(Counter(table.columns[column]).most_common(1)), ("", 0))
        if count > 1:
            several = sum(number > 1 for number in Counter(table.columns[column]).values())
            what = f"{several} photographs have several rows: {column} {name} has {count}"
            raise refused(folder.root / table.name, what, LONG)
    values, known = sample.columns[sample_id], set(train.columns[train_id])
    known |= set(test.columns.get(sample_id, ()) if test else ())
    others = [value for value in values if value not in known and not names.of(value)]
    parts = [value for value in others if _begun_by(value, names)]
    if others and len(parts) == len(others):
        what = f"{sample_id} has a row for each photograph and target, such as {parts[0]}"
        raise refused(folder.root / sample.name, what, LONG)


def _path_column(folder: Folder) -> str:
    """Return the column that has a photograph's path below the competition's folder, in both tables."""
    if folder.test is None:
        return ""
    pictures = set(folder.pictures)
    for column, values in folder.train.columns.items():
        both = values + folder.test.columns.get(column, [])
        if column in folder.test.columns and sum("/" in value and value in pictures for value in both) > len(both) / 2:
            return column
    return ""


def _id_beside_path(folder: Folder) -> str:
    """Return the column that names the rows of all three tables, where another has the photographs' paths."""
    for column in folder.sample.columns:
        tables = (folder.train, folder.test)
        if all(table and len(set(table.columns.get(column, ()))) == len(table) for table in tables):
            return column
    return ""


def _place_of_paths(paths: list[str], names: PictureNames) -> Place:
    """Return the place of photographs that a column has the paths of: their commonest folder."""
    found = [path for path in paths if ("", "") in names.of(path)]
    folders = Counter(path.rpartition("/")[0] for path in found)
    return Place(folders.most_common(1)[0][0] if found else "", "", len(found), len(paths), ("",))


# -- what was guessed, and why --------------------------------------------------------------------------------------


def _table_reason(train: Table, sample: Table) -> str:
    common = [answer for answer in list(sample.columns)[1:] if answer in train.columns]
    return f"{len(train)} rows" + (f", with {', '.join(common[:3])}, which is to be submitted" if common else "")


def _id_guesses(folder: Folder, train_id: str, sample_id: str, place: Place) -> list[Guess]:
    train = folder.train
    found = f"{place.found} of {place.wanted} values in {train.name} name a picture"
    lacking = place.found < place.wanted
    guesses = []
    if train_id != sample_id:
        why = f"{found}; the submission calls it {sample_id}"
        guesses.append(Guess(name="train_id_column", value=train_id, why=why, otherwise="the column with the ids"))
        found = f"the first heading of {folder.sample.name}, or the one whose values are the test's"
    guesses.append(
        Guess(
            name="id_column",
            value=sample_id,
            why=found,
            otherwise="the heading of the ids in the submission; --id-column",
            is_doubtful=lacking,
        )
    )
    return guesses


def _test_guess(test: Table | None, sample: Table, id_column: str, test_csv: str) -> Guess:
    if test_csv and test:
        why = f"{len(test)} rows, with {id_column}"
    elif test:
        why = f"{test.name} has no column {id_column}: the rows are those of {sample.name}"
    else:
        why = f"there is none: the rows are those of {sample.name}"
    return Guess(
        name="test_csv",
        value=test_csv,
        why=why,
        otherwise="the name of the table; empty where there is none",
        is_doubtful=test is not None and not test_csv,
    )


def _checked_place(folder: Folder, place: Place, test_csv: str) -> Place:
    """Refuse folders and suffixes that the kit would not find again."""
    odd = [suffix for suffix in place.suffixes if suffix and suffix.lower() != suffix and suffix != place.suffix]
    if odd:
        what = f"photographs end in {' and '.join(place.suffixes)}: of several kinds only small letters are found"
        raise refused(folder.root / place.folder, what, "derive Facts.photograph for this competition, or rename them")
    if place.column and not (test_csv and folder.test and place.column in folder.test.columns):
        what = f"photographs lie in folders named by {place.column}, which the test's table does not have"
        raise refused(folder.root / place.folder, what, "derive Facts.photograph so that it finds them")
    return place


def _test_folder(folder: Folder, names: PictureNames, id_column: str, test_csv: str, train: Place) -> tuple[str, Guess]:
    otherwise = "the folder of the photographs that are to be predicted"
    table = folder.test if test_csv and folder.test else folder.sample
    others = {column: values for column, values in table.columns.items() if column == train.column}
    values = table.columns[id_column]
    place = _place_of_paths(values, names) if any("/" in value for value in values) else Place()
    place = place if place.found else names.place(values, others, "test")
    if place.found:
        why = f"{place.found} of {place.wanted} photographs of {table.name} lie there"
        doubtful = place.found < place.wanted
        guess = Guess(name="test_folder", value=place.folder, why=why, otherwise=otherwise, is_doubtful=doubtful)
        return place.folder, guess
    named = train.folder.replace("train", "test").replace("Train", "Test")
    why = f"no photograph of {table.name} is there (a hidden test?); {train.folder}/ is the training's"
    return named, Guess(name="test_folder", value=named, why=why, otherwise=otherwise, is_doubtful=True)


def _picture_guesses(place: Place, path_column: str) -> list[Guess]:
    where = f"{place.found} of {place.wanted} training photographs lie there"
    guesses = [Guess(name="train_folder", value=place.folder, why=where, otherwise="the folder of the photographs")]
    if place.column:
        why = f"{place.folder}/<{place.column}>/<id>{place.suffix} is where they lie"
        guesses.append(Guess(name="photograph", value=place.column, why=why, otherwise="another path in photograph()"))
    kinds = ", ".join(suffix or "none" for suffix in place.suffixes)
    why = f"what the files have behind the id: {kinds}"
    guesses.append(Guess(name="suffix", value=place.suffix, why=why, otherwise="what follows the id in a file's name"))
    if path_column:
        why = "its values are the photographs' paths, in both tables"
        guesses.append(Guess(name="path_column", value=path_column, why=why, otherwise="empty: they are found by id"))
    return guesses


# -- the columns that the test has, too -----------------------------------------------------------------------------


def is_number(text: str) -> bool:
    """Tell whether a text is a finite number."""
    try:
        return math.isfinite(float(text.replace("_", "?")))
    except ValueError:
        return False


def inputs_of(layout: Layout, without: tuple[str, ...]) -> tuple[tuple[str, ...], list[Guess]]:
    """Return the columns that a network may see, and what was guessed of them; `without` are used otherwise."""
    test, train = layout.folder.test, layout.folder.train
    numbers, words = [], []
    for column in layout.shared:
        if column in without or column == layout.folder_column or test is None:
            continue
        both = train.columns[column] + test.columns[column]
        if not all(is_number(value) for value in both if value) or not any(both):
            words.append(column)
        elif len(set(both)) > 1:
            numbers.append(column)
    if not numbers and not words:
        return (), []
    why = "numbers in both tables" if numbers else "no column of the test holds numbers"
    why += f"; left out, since they hold words: {', '.join(words)}" if words else ""
    guess = Guess(
        name="inputs", value=tuple(numbers), why=why, otherwise="the columns the network may see; empty for none"
    )
    return tuple(numbers), [guess]
