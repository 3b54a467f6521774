"""The files of a downloaded competition: its tables as text, its pictures by name."""

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from build.core.errors import CheckFailed, Problem, UsageError
from kernel_src.competition.facts import PHOTOGRAPH_SUFFIXES, read_named_rows
from kernel_src.runtime.csv_table import read_csv

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z")
OTHER_PICTURES = (".dcm", ".npy", ".npz", ".h5", ".tfrec", ".tfrecord", ".nii", ".svs", ".gif", ".avif", ".heic")


@dataclass(frozen=True)
class Table:
    """A table with every field as text; an empty field is an empty text."""

    name: str  # of its file
    columns: dict[str, list[str]]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()), []))


@dataclass(frozen=True)
class Folder:
    """What was downloaded."""

    root: Path
    train: Table
    test: Table | None
    sample: Table
    pictures: tuple[str, ...]  # paths below the root, with /


def read_folder(data: Path) -> Folder:
    """Look for the tables and the pictures.

    Raises:
        UsageError: there is no such folder.
        CheckFailed: a table is missing or cannot be read, or there are no pictures; says what lies there instead.
    """
    if not data.is_dir():
        raise UsageError(f"--data {data} does not exist: `make data` downloads a competition's files")
    names, pictures, others = _listed(data)
    if not names:
        raise refused(data, "no table (.csv) lies there", _cure_without_tables(data))
    sample = _sample_of(names)
    if not sample:
        what = f"no sample submission among {', '.join(names)}"
        raise refused(
            data, what, "download it too: its heading says what is to be submitted, and for which photographs"
        )
    test = _test_of([name for name in names if name != sample])
    candidates = [name for name in names if name not in (sample, test)]
    if not pictures:
        there = f", but {others[0]}: {', '.join(PHOTOGRAPH_SUFFIXES)} are read" if others else ""
        cure = "convert them to PNG, in a dataset of your own" if others else _cure_without_tables(data)
        raise refused(data, f"no photographs lie there{there}", cure)
    if not candidates:
        raise _without_training_table(data, pictures)
    read_sample, read_test = (_read_test_table(data / name) if name else None for name in (sample, test))
    assert read_sample is not None
    tables = [_read_training_table(data / name) for name in candidates]
    return Folder(data, _train_of(tables, read_sample), read_test, read_sample, tuple(pictures))


def refused(where: Path | str, what: str, cure: str) -> CheckFailed:
    """Make the refusal of files that no package can be made of."""
    return CheckFailed([Problem(what=what, where=str(where), cure=cure)])


def without_suffix(name: str) -> str:
    """Return a picture's name without what says its kind; dots before that belong to the name."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in PHOTOGRAPH_SUFFIXES else name


# -- what lies there ------------------------------------------------------------------------------------------------


def _listed(data: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the tables at the top, all pictures, and files that may hold pictures of another kind."""
    tables, pictures, others = [], [], []
    for folder, folders, files in os.walk(data, followlinks=True):
        folders.sort()
        below = Path(folder).relative_to(data)
        for name in sorted(files):
            kind = Path(name).suffix.lower()
            path = (below / name).as_posix()
            if kind in PHOTOGRAPH_SUFFIXES:
                pictures.append(path)
            elif kind == ".csv" and below == Path():
                tables.append(name)
            elif kind in OTHER_PICTURES:
                others.append(path)
    return tables, pictures, others


def _cure_without_tables(data: Path) -> str:
    if archives := [path.name for path in sorted(data.iterdir()) if path.name.lower().endswith(ARCHIVES)]:
        return f"unpack {archives[0]} first; `make data` does it safely"
    below = sorted(path.relative_to(data).parent.as_posix() for path in data.glob("*/*.csv"))
    if below:
        return f"give the folder with the tables: DATA={data / below[0]}"
    return "give the folder that the competition's files were downloaded to"


def _without_training_table(data: Path, pictures: list[str]) -> CheckFailed:
    folders: dict[str, int] = defaultdict(int)
    for path in pictures:
        folders[path.rpartition("/")[0]] += 1
    deep = [folder for folder in folders if "/" in folder and "test" not in folder.lower()]
    if len(deep) < 2:
        what = "no table names the training photographs"
        return refused(data, what, "its rows are photographs with what is known of them; name it train.csv")
    what = f"no training table: the classes are {len(deep)} folders, such as {deep[0]}/"
    cure = (
        "the kit reads a table; copy kernel_src/competitions/leaf/ and derive Rules.read_train there so that it lists "
        "the folders (columns image_id, image_path, one target per class)"
    )
    return refused(data, what, cure)


def _read_test_table(path: Path) -> Table:
    """Read a table as the notebook will on Kaggle, before anything heavy is loaded."""
    try:
        headings, rows = read_named_rows(path)
    except ValueError as error:
        raise refused(path, str(error), "download it again") from None
    return Table(path.name, {heading: [row[heading] or "" for row in rows] for heading in headings})


def _read_training_table(path: Path) -> Table:
    try:
        table = read_csv(path, dtype=defaultdict(lambda: str))
    except ValueError as error:
        raise refused(path, str(error), "download it again") from None
    return Table(path.name, {str(heading): table[heading].fillna("").astype(str).tolist() for heading in table})


# -- which table is which -------------------------------------------------------------------------------------------


def _sample_of(names: list[str]) -> str:
    """Return the sample submission's name, or nothing."""
    stems = {name: name.lower().removesuffix(".csv").replace("-", "_") for name in names}
    for fits in (
        lambda stem: stem == "sample_submission",
        lambda stem: "sample" in stem and ("sub" in stem or "answer" in stem or "solution" in stem),
        lambda stem: "submission" in stem,
    ):
        if found := [name for name, stem in stems.items() if fits(stem)]:
            return found[0]
    return ""


def _test_of(names: list[str]) -> str:
    """Return the name of the table of test photographs, or nothing."""
    for fits in (lambda stem: stem == "test", lambda stem: stem.startswith("test") and "label" not in stem):
        if found := [name for name in names if fits(name.lower().removesuffix(".csv"))]:
            return found[0]
    return ""


def _train_of(tables: list[Table], sample: Table) -> Table:
    """Return the training table: it has what is to be submitted, is called train, or has the most rows."""
    answers = list(sample.columns)[1:]

    def fitness(table: Table) -> tuple[int, bool, bool, int]:
        stem = table.name.lower().removesuffix(".csv")
        return sum(answer in table.columns for answer in answers), stem == "train", "train" in stem, len(table)

    return max(tables, key=fitness)
