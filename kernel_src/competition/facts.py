"""## What a submission needs

A competition as far as it is known before anything heavy is loaded: its names, where its files lie, which rows are to
be predicted, and how a submission is written and checked. Standard library only, since the first submission is written
before anything else is imported.

As it stands, this is the layout that most competitions have: a photograph is a row, in `test.csv` or else in
`sample_submission.csv`, and its file is named by its id. A competition derives from `Facts`, says what is its own, and
is found.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from kernel_src.runtime.faults import Fault, FaultLog
from kernel_src.runtime.files import write_text

IMAGE_COLUMN = "image_path"  # of a table with a row per photograph: where its file lies in the competition's folder
PHOTOGRAPH_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
NO_ROWS = (ValueError, OSError)  # of a table that does not name its rows, or cannot be read


class HiddenTest(NamedTuple):
    """What is to be predicted."""

    row_ids: tuple[str, ...]  # each once, in the order of the table
    photographs: dict[str, Path]  # image id → its file, in the order in which the table first names it
    unknown: tuple[str, ...] = ()  # of the row ids: nobody can say what they ask for
    inputs: Mapping[str, tuple[float, ...]] = {}  # image id → its numbers in the columns `Facts.inputs`


def read_named_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read the headings and the rows of one of Kaggle's CSVs as text.

    Raises:
        ValueError: it is not a table, or not text in UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            return list(reader.fieldnames or ()), list(reader)
    except UnicodeDecodeError:
        what = "it is not text in UTF-8; download it again, or save it as CSV in UTF-8"
        raise ValueError(f"{path} is not a table: {what}") from None
    except csv.Error as error:
        raise ValueError(f"{path} is not a table: {error}") from None


# %%
class Facts:
    """One competition; a class that derives from this is found."""

    competition: ClassVar[str] = ""  # its name here, as typed in COMPETITION=
    slug: ClassVar[str] = ""  # its name on Kaggle
    title: ClassVar[str] = ""
    prefix: ClassVar[str] = ""  # opens the slug of every notebook and bundle
    licence: ClassVar[str] = "see the competition's page"  # of the data

    # Every array of predictions has these columns, (images, targets); of classes one each, and it is a probability.
    targets: ClassVar[tuple[str, ...]] = ()
    are_classes: ClassVar[bool] = False
    unit: ClassVar[str] = ""  # of the numbers, such as g
    lowest: ClassVar[float] = -math.inf  # that a prediction can be
    highest: ClassVar[float] = math.inf
    weights: ClassVar[Mapping[str, float]] = {}  # of each target in the metric, adding up to 1; none: the same for all
    identities: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # a target that is the sum of others
    identity_tolerance: ClassVar[float] = 0.0
    fallback: ClassVar[Mapping[str, float]] = {}  # target → what is submitted where not even a bundle can be read
    inputs: ClassVar[tuple[str, ...]] = ()  # numbers in the table, at test time too, that a network may see
    row_rules: ClassVar[Mapping[str, str]] = {}  # rule by which rows do not train → why

    train_csv: ClassVar[str] = "train.csv"
    test_csv: ClassVar[str] = "test.csv"  # empty: there is none, the sample submission has the rows
    sample_csv: ClassVar[str] = "sample_submission.csv"
    train_folder: ClassVar[str] = "train"
    test_folder: ClassVar[str] = "test"
    id_column: ClassVar[str] = "id"
    suffix: ClassVar[str] = ""  # what the file of a photograph has behind its id
    path_column: ClassVar[str] = ""  # with its path, if the tables have one
    answer_columns: ClassVar[tuple[str, ...]] = ()  # of the submission, behind its id; empty: the targets
    answer: ClassVar[str] = "number"  # `number`: each target; `label`: the likeliest class; `rounded`: a whole number
    labels: ClassVar[tuple[str, ...]] = ()  # how the classes are written; empty: as the targets are called
    submission_file: ClassVar[str] = "submission.csv"
    limit_s: ClassVar[float] = 9 * 3600  # of one submission run, CPU or GPU
    memory_gb: ClassVar[float] = 29.0  # of the session

    @property
    def url(self) -> str:
        """The competition's page."""
        return f"https://www.kaggle.com/competitions/{self.slug}"

    @property
    def weight_of(self) -> dict[str, float]:
        """The weight of each target in the metric; they add up to 1."""
        return dict(self.weights) or dict.fromkeys(self.targets, 1 / len(self.targets))

    @property
    def submission_columns(self) -> tuple[str, ...]:
        """The headings of a submission."""
        return (self.id_column, *(self.answer_columns or self.targets))

    @property
    def find_by(self) -> str:
        """The file by which the competition's folder is known, in a notebook that predicts."""
        return self.test_csv or self.sample_csv

    # -- the test ---------------------------------------------------------------------------------------------------

    def read_test(self, competition: Path, log: FaultLog) -> HiddenTest:
        """Read what is to be predicted; every oddity is found before anything heavy is loaded.

        Raises:
            ValueError: no table names the rows.
            NotContained: an oddity, outside the rerun.
        """
        tables = [competition / name for name in (self.test_csv, self.sample_csv) if name]
        path, columns, rows = first_named_rows(tables, self.id_column, log)
        if not rows:
            fault = Fault(part="table", what=f"{path} has a heading and no rows", fallback="a submission without rows")
            log.contain(fault)
        photographs: dict[str, Path] = {}
        inputs: dict[str, tuple[float, ...]] = {}
        doubled, unread = [], []
        for row in rows:
            name = row[self.id_column] or ""
            if name in photographs:
                doubled.append(name)
                continue
            photographs[name] = self.photograph(competition, self.test_folder, name, row)
            if self.inputs:
                inputs[name], is_read = _numbers(row, self.inputs)
                unread += [] if is_read else [name]
        listed = ", ".join(self.inputs)
        for names, what, fallback in (
            (doubled, f"{path}: rows appear twice", "each is predicted and written once"),
            (unread, f"{path}: rows without a number in one of {listed}", "0 there"),
        ):
            if names:
                log.contain(Fault(part="table", what=what, fallback=fallback, ids=tuple(names)))
        return HiddenTest(tuple(photographs), photographs, inputs=inputs)

    def photograph(self, competition: Path, folder: str, image_id: str, row: Mapping[str, str]) -> Path:
        """Return the file of a photograph: where its row says, else by its id, whatever its kind."""
        if self.path_column and row.get(self.path_column):
            return competition / row[self.path_column]
        path = competition / folder / f"{image_id}{self.suffix}"
        if not path.exists():
            others = [path.with_name(f"{image_id}{suffix}") for suffix in PHOTOGRAPH_SUFFIXES]
            path = next((other for other in others if other.exists()), path)
        return path

    # -- the submission ---------------------------------------------------------------------------------------------

    def rows_of(self, image_id: str, values: Sequence[float]) -> dict[str, tuple[str, ...]]:
        """Return the rows that a prediction (targets,) of one photograph makes: row id → texts."""
        return {image_id: self.texts(values)}

    def texts(self, values: Sequence[float]) -> tuple[str, ...]:
        """Write a prediction (targets,) as the submission has it."""
        if self.answer == "label":
            best = max(range(len(values)), key=lambda number: values[number])
            return ((self.labels or self.targets)[best],)
        if self.answer == "rounded":
            kept = (min(max(value, self.lowest), self.highest) for value in values)
            return tuple(str(math.floor(value + 0.5)) for value in kept)
        return tuple(f"{value:.6f}" for value in values)

    def save_first(self, path: Path, test: HiddenTest, means: Mapping[str, float], log: FaultLog) -> None:
        """Write a complete submission of training means, before anything else is known.

        Raises:
            NotContained: it cannot be written, outside the rerun.
        """
        try:
            self.save_predictions(path, test, [], means)
        except OSError as error:
            fallback = "saved again with the first predictions"
            log.contain(Fault(part="disk", what=f"the submission cannot be saved: {error}", fallback=fallback), error)
            return
        print(f"{path}: {len(test.row_ids)} rows of training means, to be replaced")

    def save_predictions(
        self, path: Path, test: HiddenTest, predictions: Iterable[Iterable[float]], means: Mapping[str, float]
    ) -> None:
        """Write a complete submission, atomically.

        `predictions` (images, targets) belong to the first of the test's photographs, in their order; the others get
        `means`, by target: never a silent zero.

        Raises:
            OSError: the disk is full or not writable; the submission is then as it was.
        """
        usual = [means[target] for target in self.targets]
        written = {name: self.texts(usual) for name in test.unknown}
        for image_id in test.photographs:
            written.update(self.rows_of(image_id, usual))
        for image_id, row in zip(test.photographs, predictions, strict=False):
            written.update(self.rows_of(image_id, [float(value) for value in row]))
        self.write_submission(path, test.row_ids, written)

    def write_submission(self, path: Path, row_ids: Sequence[str], written: Mapping[str, tuple[str, ...]]) -> None:
        """Write a submission in the order of `row_ids`, atomically; `written` maps each to its texts.

        Raises:
            KeyError: a row has no prediction.
        """
        rows = [self.submission_columns, *((name, *written[name]) for name in row_ids)]
        write_text(path, "".join(",".join(map(_quoted_field, row)) + "\n" for row in rows))

    def value_problem(self, texts: Sequence[str]) -> str:
        """Say what is wrong with the texts of one row behind its id; empty where nothing is."""
        if self.answer == "label":
            known = self.labels or self.targets
            return "" if texts[0] in known else f"is none of {', '.join(known)}"
        for text in texts:
            try:
                # Python reads 1_0 as ten; whoever scores the file does not.
                value = float(text.replace("_", "?"))
            except ValueError:
                return "is not a number"
            if not math.isfinite(value):
                return "is not finite (NaN or inf)"
            if not self.lowest <= value <= self.highest:
                return f"does not lie in {self.lowest} to {self.highest}"
            if self.answer == "rounded" and value != math.floor(value):
                return "is not a whole number"
        return ""

    def problems_together(self, texts_of: Mapping[str, Sequence[str]]) -> list[tuple[str, list[str]]]:
        """Say what is wrong with rows that are right by themselves: what, and the ids it concerns."""
        return []

    def check_submission(self, path: Path, row_ids: Sequence[str]) -> None:
        """Read a submission back, as it lies on the disk.

        Raises:
            ValueError: it does not hold each of `row_ids` once, in their order; or a value cannot be submitted.
        """
        columns, rows = read_named_rows(path)
        id_column, *answers = self.submission_columns
        if columns != [id_column, *answers] or [row[id_column] for row in rows] != list(row_ids):
            raise ValueError(f"{path} does not hold the rows of the test, each once and in their order")
        texts_of = {row[id_column]: [row[column] for column in answers] for row in rows}
        found = {name: self.value_problem(texts) for name, texts in texts_of.items()}
        wrong = [f"{name} {what}: {', '.join(texts_of[name])}" for name, what in found.items() if what]
        if not wrong:
            wrong = [f"{name} {what}" for what, names in self.problems_together(texts_of) for name in names]
        if wrong:
            raise ValueError(f"{path} cannot be submitted, {len(wrong)} rows are wrong: {', '.join(wrong[:3])}")


# %%
def first_named_rows(
    tables: Sequence[Path], id_column: str, log: FaultLog
) -> tuple[Path, list[str], list[dict[str, str]]]:
    """Read the first of the tables that names its rows; say why one before it does not.

    Raises:
        ValueError: none names the rows.
        NotContained: the first does not, outside the rerun.
    """
    errors: list[Exception] = []
    for path in tables:
        try:
            columns, rows = read_named_rows(path)
            if id_column not in columns:
                raise ValueError(f"{path}: no column {id_column!r}, it has {', '.join(columns) or 'nothing'}")
        except NO_ROWS as error:
            errors.append(error)
            continue
        if errors:
            fallback = f"the rows of {path.name}"
            log.contain(Fault(part="table", what="; ".join(map(str, errors)), fallback=fallback), errors[0])
        return path, columns, rows
    raise ValueError("no table names the rows of the test: " + "; ".join(map(str, errors))) from errors[-1]


def _numbers(row: Mapping[str, str], columns: Sequence[str]) -> tuple[tuple[float, ...], bool]:
    """Read numbers of a row, 0 for what is none; and whether all could be read."""
    values = []
    for column in columns:
        try:
            values.append(float(row.get(column) or ""))
        except ValueError:
            values.append(math.nan)
    return tuple(value if math.isfinite(value) else 0.0 for value in values), all(map(math.isfinite, values))


def _quoted_field(text: str) -> str:
    """Write a field of a CSV: in quotes where it would be read as several."""
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n\r') else text
