"""The kind of answer: numbers, an order, yes or no, classes; told from the targets and the sample submission."""

from collections import Counter
from dataclasses import dataclass, replace

from build.new.folder import refused
from build.new.guess import Guess
from build.new.layout import Layout, is_number

KINDS = ("number", "ordinal", "yes-no", "classes", "probabilities")
# Metric by option → the kind that it judges.
KIND_OF_METRIC = {
    "accuracy": "classes",
    "balanced_accuracy": "classes",
    "macro_f1": "classes",
    "log_loss": "probabilities",
    "auc": "yes-no",
    "column_log_loss": "yes-no",
    "quadratic_kappa": "ordinal",
    "rmse": "number",
    "mae": "number",
    "r2": "number",
    "rmsle": "number",
    "mean_column_rmse": "number",
}
USUAL_METRIC = {
    "number": "rmse",
    "ordinal": "quadratic_kappa",
    "yes-no": "auc",
    "classes": "accuracy",
    "probabilities": "log_loss",
}
TARGET_WORDS = ("label", "target", "class", "category", "diagnosis", "grade", "score", "answer")
ORDINAL_WORDS = ("diagnosis", "grade", "severity", "stage", "score", "level", "rating", "quality", "degree", "rank")
CLASS_WORDS = ("label", "class", "categor", "species", "breed", "type", "kind", "variety", "disease", "name")
MOST_ORDERED = 20  # different whole numbers: with more it is a number like any other
MOST_CLASSES = 500  # more of them, and single photographs of most, are a search for individuals
SEVERAL_LABELS = 0.02  # of the rows with blanks between words that occur by themselves too


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is to be answered."""

    kind: str  # one of `KINDS`
    targets: tuple[str, ...]  # columns of predictions
    labels: tuple[str, ...] = ()  # how the classes are written, in the order of the targets
    label_column: str = ""  # of the training table, with a word for the class
    answer: str = "number"  # as `Facts.answer` has it
    lowest: float = 0.0
    highest: float = 1.0
    means: tuple[float, ...] = ()  # of the targets, over the training table
    guesses: tuple[Guess, ...] = ()

    @property
    def are_classes(self) -> bool:
        """Whether each target is a class."""
        return self.kind in ("classes", "probabilities")


def read_kind(layout: Layout, *, kind: str = "", metric: str = "", target: str = "") -> Kind:
    """Look at the targets; what is given is not guessed.

    Raises:
        CheckFailed: nothing is to be learnt there, or something that the kit has no package for.
    """
    train, answers = layout.folder.train, layout.answer_columns
    if not answers:
        raise refused(
            layout.folder.root / layout.folder.sample.name,
            f"has no column but {layout.id_column}: nothing is to be submitted",
            "download it again",
        )
    # Of several columns a metric says nothing: each of these judges probabilities as well as yes and no.
    wanted = kind or ("yes-no" if metric == "log_loss" else KIND_OF_METRIC.get(metric, ""))
    columns = [answer for answer in answers if answer in train.columns]
    if len(answers) > 1 and not target and len(columns) < len(answers):
        found = _column_of_classes(layout)
        if found:
            return _probabilities(layout, found)
        if columns:
            lacking = [answer for answer in answers if answer not in columns]
            what = f"{', '.join(lacking)} is to be submitted and not in {train.name}"
            raise refused(layout.folder.root / train.name, what, "--target says which column is learnt")
    if len(answers) > 1 and len(columns) == len(answers):
        return _several(layout, kind)
    _refuse_list(layout)
    column, why, doubtful = _target(layout, target)
    guess = Guess(
        name="targets", value=column, why=why, otherwise="--target says which column it is", is_doubtful=doubtful
    )
    return _single(layout, column, guess, wanted, is_asked=bool(kind))


# -- several columns ------------------------------------------------------------------------------------------------


def _several(layout: Layout, wanted: str) -> Kind:
    train, answers = layout.folder.train, layout.answer_columns
    columns = [train.columns[answer] for answer in answers]
    for answer, values in zip(answers, columns, strict=True):
        if bad := [
            f"{value!r} for {name}" for name, value in zip(layout.ids, values, strict=True) if not is_number(value)
        ]:
            what = f"{answer} is {bad[0]}: several columns are answered only if all are numbers"
            raise refused(layout.folder.root / train.name, what, "derive Rules.read_train, which can leave rows out")
    rows = [[float(value) for value in row] for row in zip(*columns, strict=True)]
    means = tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))
    different = {value for row in rows for value in row}
    if different <= {0.0, 1.0} and wanted != "number":
        ones = all(sum(row) == 1 for row in rows)
        if ones and wanted != "yes-no":
            why = f"each row of {train.name} has a 1 in exactly one of the {len(answers)} columns"
            otherwise = "False, for columns that are answered each by itself"
            guess = Guess(name="are_classes", value=True, why=why, otherwise=otherwise)
            return Kind(kind="probabilities", targets=answers, labels=answers, means=means, guesses=(guess,))
        why = f"{len(answers)} columns of 0 and 1; a photograph has {min(map(sum, rows)):.0f} to "
        why += f"{max(map(sum, rows)):.0f} of them"
        guess = Guess(name="targets", value=answers, why=why, otherwise="the columns in the submission's order")
        return Kind(kind="yes-no", targets=answers, means=means, guesses=(guess,))
    lowest, highest, range_guesses = _range(layout, sorted(different))
    why = f"{len(answers)} columns of numbers, in the submission's order"
    guess = Guess(name="targets", value=answers, why=why, otherwise="the columns in the submission's order")
    return Kind(
        kind="number",
        targets=answers,
        lowest=lowest,
        highest=highest,
        means=means,
        guesses=(guess, *range_guesses),
    )


def _column_of_classes(layout: Layout) -> str:
    """Return the training table's column whose words are the submission's headings."""
    answers = set(layout.answer_columns)
    for column, values in layout.folder.train.columns.items():
        if set(values) <= answers and len(set(values)) > 1:
            return column
    return ""


def _probabilities(layout: Layout, column: str) -> Kind:
    answers, values = layout.answer_columns, layout.folder.train.columns[column]
    counts = Counter(values)
    why = f"its words are the headings of {layout.folder.sample.name}"
    never = [answer for answer in answers if not counts[answer]]
    why += f"; never in training: {', '.join(never)}" if never else ""
    guess = Guess(name="label_column", value=column, why=why, otherwise="the column with the class")
    return Kind(
        kind="probabilities",
        targets=tuple(map(_target_name, answers)) if len(set(map(_target_name, answers))) == len(answers) else answers,
        labels=answers,
        label_column=column,
        means=tuple(counts[answer] / len(values) for answer in answers),
        guesses=(guess,),
    )


# -- one column -----------------------------------------------------------------------------------------------------


def _target(layout: Layout, given: str) -> tuple[str, str, bool]:
    """Return the training table's column that is learnt, why, and whether it might be another."""
    train, answer = layout.folder.train, layout.answer_columns[0]
    where = layout.folder.root / train.name
    if given:
        if given not in train.columns:
            what = f"has no column {given!r}, it has {', '.join(train.columns)}"
            raise refused(where, what, "choose another for --target")
        return given, "you said so", False
    if answer in train.columns:
        return answer, f"{layout.folder.sample.name} has a column of this name", False
    ids = (layout.id_column, layout.train_id_column, layout.path_column, layout.folder_column)
    others = [column for column in train.columns if column not in (*ids, *layout.shared)]
    if len(others) == 1:
        return others[0], f"it is the only column that the test does not have; submitted as {answer}", False
    named = [column for column in others if any(word in column.lower() for word in TARGET_WORDS)]
    if len(named) == 1:
        return named[0], f"by its name; the submission calls it {answer}, which {train.name} has not", True
    what = (
        f"{answer} is to be submitted, and which column is it in {train.name}: {', '.join(others) or 'none is left'}?"
    )
    raise refused(where, what, "say it with --target COLUMN")


def _single(layout: Layout, column: str, guess: Guess, wanted: str, is_asked: bool) -> Kind:
    values = layout.folder.train.columns[column]
    where = layout.folder.root / layout.folder.train.name
    if empty := [name for name, value in zip(layout.ids, values, strict=True) if not value]:
        what = f"{len(empty)} photographs have no {column}, such as {empty[0]}"
        raise refused(where, what, "leave them out in a Rules.read_train of your own, or choose another --target")
    if len(set(values)) == 1:
        raise refused(
            where, f"{column} is {values[0]!r} throughout: nothing is to be learnt", "choose another --target"
        )
    if not all(map(is_number, values)):
        if wanted in ("number", "ordinal", "yes-no"):
            bad = next(value for value in values if not is_number(value))
            raise refused(where, f"{column} is {bad!r}: no number, as {wanted} would have it", "choose --kind classes")
        return _classes(layout, column, guess, is_asked)
    numbers = [float(value) for value in values]
    different = sorted(set(numbers))
    whole = all(number == int(number) for number in different)
    kind, why, doubtful = _kind_of_numbers(layout, column, different, whole)
    if wanted:
        kind, why, doubtful = wanted, "you said so, by --kind or --metric", False
    if kind in ("classes", "probabilities"):
        if not whole or len(different) > MOST_CLASSES:
            what = f"{column} has {len(different)} different numbers, such as {values[0]}: these are no classes"
            raise refused(where, what, "choose --kind number")
        return _classes(layout, column, guess, is_asked, (why, doubtful))
    kind_guess = Guess(
        name="answer",
        value="rounded" if kind == "ordinal" else "number",
        why=f"{kind}: {why}",
        otherwise=f"--kind {', '.join(one for one in KINDS if one != kind)}, or a --metric that says it",
        is_doubtful=doubtful,
    )
    mean = sum(numbers) / len(numbers)
    if kind == "yes-no" and not set(different) <= {0.0, 1.0}:
        what = f"{column} has values such as {values[0]}, not only 0 and 1"
        raise refused(where, what, "choose --kind number or ordinal")
    if kind == "ordinal" and not whole:
        raise refused(where, f"{column} has values such as {values[0]}: no whole numbers", "choose --kind number")
    if kind == "yes-no":
        return Kind(kind=kind, targets=(column,), means=(mean,), guesses=(guess, kind_guess))
    if kind == "ordinal":
        lowest, highest = different[0], different[-1]
        why = f"the lowest and the highest {column} in training"
        span = Guess(name="lowest, highest", value=(lowest, highest), why=why, otherwise="the ends of the scale")
        ranges: tuple[Guess, ...] = (span,)
    else:
        lowest, highest, ranges = _range(layout, different)
    return Kind(
        kind=kind,
        targets=(column,),
        answer="rounded" if kind == "ordinal" else "number",
        lowest=lowest,
        highest=highest,
        means=(mean,),
        guesses=(guess, kind_guess, *ranges),
    )


def _kind_of_numbers(layout: Layout, column: str, different: list[float], whole: bool) -> tuple[str, str, bool]:
    """Tell what a column of numbers is: kind, why, and whether nothing decides it."""
    if not whole or len(different) > MOST_ORDERED or different[0] < 0:
        some = ", ".join(f"{value:g}" for value in different[:3])
        return "number", f"{len(different)} different numbers, {some} …", False
    shown = f"whole numbers {different[0]:.0f} to {different[-1]:.0f}"
    if set(different) == {0.0, 1.0}:
        sample = {value for name in layout.answer_columns for value in layout.folder.sample.columns[name]}
        broken = [value for value in sample if is_number(value) and float(value) != int(float(value))]
        if broken:
            return "yes-no", f"0 and 1, and the sample submission has {broken[0]}: a probability", False
        return "yes-no", "0 and 1; submitted is a probability, unless accuracy or F1 judges", True
    name = column.lower()
    if any(word in name for word in ORDINAL_WORDS):
        return "ordinal", f"{shown}, and {column} is a word for an order", True
    by_name = any(word in name for word in CLASS_WORDS)
    called = f", and {column} is a word for classes" if by_name else ", and nothing says that they have an order"
    return "classes", f"{shown}{called}", True


def _classes(layout: Layout, column: str, guess: Guess, is_asked: bool, said: tuple[str, bool] | None = None) -> Kind:
    values, sample = layout.folder.train.columns[column], layout.folder.sample
    where = layout.folder.root / layout.folder.train.name
    counts = Counter(values)
    if len(layout.answer_columns) > 1:
        what = f"{column} has {len(counts)} words, of which {sample.name} has no columns"
        raise refused(layout.folder.root / sample.name, what, "--target says which column is learnt")
    answer = layout.answer_columns[0]
    _refuse_combinations(layout, column, counts, is_asked)
    singles = sum(count == 1 for count in counts.values())
    if not is_asked and (len(counts) > MOST_CLASSES or singles > len(counts) / 2):
        what = f"{column} has {len(counts)} different values, {singles} of them once: individuals or free text"
        cure = "a network that compares photographs is asked for, which the kit does not make; else say --kind classes"
        raise refused(where, what, cure)
    labels = tuple(sorted(counts, key=lambda word: (float(word), "") if is_number(word) else (0.0, word)))
    unknown = sorted({value for value in sample.columns[answer] if value} - set(labels))
    why, doubtful = said or (f"{len(labels)} words", False)
    why += f", {min(counts.values())} to {max(counts.values())} photographs of each"
    if unknown:
        why += f"; the sample submission has {unknown[0]!r}, which no photograph has"
    kind_guess = Guess(
        name="labels",
        value=labels,
        why=f"classes: {why}",
        otherwise="the words of the submission, in any order; numbers instead: --kind ordinal or number",
        is_doubtful=doubtful or bool(unknown),
    )
    return Kind(
        kind="classes",
        targets=tuple(map(_target_name, labels))
        if len(set(map(_target_name, labels))) == len(labels)
        else tuple(f"class_{number}" for number in range(len(labels))),
        labels=labels,
        label_column=column,
        answer="label",
        means=tuple(counts[label] / len(values) for label in labels),
        guesses=(replace(guess, name="label_column"), kind_guess),
    )


def _refuse_list(layout: Layout) -> None:
    """Refuse a submission of several labels in one field, the likeliest first.

    Raises:
        CheckFailed: it is one.
    """
    sample, answer = layout.folder.sample, layout.answer_columns[0]
    first = next((value for value in sample.columns[answer] if value), "")
    words = first.split()
    for values in layout.folder.train.columns.values() if len(words) > 1 else ():
        known = set(values)
        if first not in known and sum(word in known for word in words) >= len(words) - 1:
            what = f"{answer} has {len(words)} labels in one field, the likeliest first: {first}"
            cure = (
                "derive Facts.texts so that it writes the likeliest ones; the metric (MAP@k) is not in the kit either"
            )
            raise refused(layout.folder.root / sample.name, what, cure)


def _refuse_combinations(layout: Layout, column: str, counts: Counter[str], is_asked: bool) -> None:
    """Refuse several labels in one field of the training table.

    Raises:
        CheckFailed: it has them.
    """
    where = layout.folder.root / layout.folder.train.name
    several = [word for word in counts if " " in word and all(part in counts for part in word.split()[:1])]
    parts = Counter(part for word in several for part in set(word.split()))
    recurring = [word for word in several if any(parts[part] > 1 or part in counts for part in word.split())]
    share = sum(counts[word] for word in recurring) / sum(counts.values())
    if recurring and share > SEVERAL_LABELS and not is_asked:
        what = f"{column} has several labels in one field, such as {recurring[0]!r}"
        cure = f"--kind classes takes each of the {len(counts)} combinations for a class; else derive Rules and Facts"
        raise refused(where, what, cure)


def _range(layout: Layout, different: list[float]) -> tuple[float, float, tuple[Guess, ...]]:
    """Return between which ends a prediction is kept."""
    low, high = different[0], different[-1]
    whole = all(value == int(value) for value in different)
    if whole and len(different) > 2:
        why = f"whole numbers from {low:g} to {high:g} in training: a scale"
        guess = Guess(name="lowest, highest", value=(low, high), why=why, otherwise="-math.inf, math.inf for no ends")
        return low, high, (guess,)
    lowest = 0.0 if low >= 0 else float("-inf")
    why = f"{low:g} to {high:g} in training; " + ("never negative" if low >= 0 else "negative, too")
    guess = Guess(name="lowest, highest", value=(lowest, float("inf")), why=why, otherwise="what is possible at all")
    return lowest, float("inf"), (guess,)


def _target_name(label: str) -> str:
    """Return what a class is called in tables of predictions, which may have a column of the label's name already."""
    return f"class_{label}"
