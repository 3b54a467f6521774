"""The groups by a column: what was taken by one patient, at one place, on one day stays in one fold."""

from collections import Counter

from build.new.folder import refused
from build.new.guess import Guess
from build.new.layout import Layout, is_number

# Parts of names, the likeliest first.
GROUP_WORDS = (
    *("patient", "subject", "person", "individual", "animal", "case", "study", "visit", "session", "group"),
    *("scene", "sequence", "video", "series", "burst", "plot", "farm", "field", "plant", "tree", "slide", "specimen"),
    *("location", "site", "hospital", "center", "centre", "camera", "batch", "user", "author", "provider", "date"),
)
FEWEST_GROUPS = 5
LARGEST_SHARE = 0.5  # of the rows, of one group: folds could not be even


def read_groups(layout: Layout, targets: tuple[str, ...], given: str | None) -> tuple[tuple[str, ...], list[Guess]]:
    """Return the group columns of the training table, and what was guessed; `given` may be empty: none is wanted.

    Raises:
        CheckFailed: the column that was given is not there, or makes no groups.
    """
    train = layout.folder.train
    if given is not None:
        if given and given not in train.columns:
            what = f"has no column {given!r}, it has {', '.join(train.columns)}"
            raise refused(layout.folder.root / train.name, what, "choose another for --group")
        if given and (fault := _fault(train.columns[given])):
            raise refused(
                layout.folder.root / train.name, f"{given} makes no groups: {fault}", "choose another --group"
            )
        why = "you said so"
        return (given,) if given else (), [_guess((given,) if given else (), why)]
    taken = {*targets, layout.id_column, layout.train_id_column, layout.path_column}
    named, others, unfit = [], [], []
    for column, values in train.columns.items():
        if column in taken or column in layout.answer_columns:
            continue
        word = next((number for number, word in enumerate(GROUP_WORDS) if word in column.lower()), None)
        if word is None:
            if not _fault(values) and not all(map(is_number, values)) and len(set(values)) > FEWEST_GROUPS:
                others.append(column)
        elif fault := _fault(values):
            unfit.append(f"{column} ({fault})")
        else:
            named.append((word, column))
    named.sort()
    also = [column for _, column in named[1:]] + others
    rest = f"; others that could be: {', '.join(also)}" if also else ""
    rest += f"; not: {', '.join(unfit)}" if unfit else ""
    if not named:
        return (), [_guess((), f"no column is called as one that belongs together{rest}", is_doubtful=bool(also))]
    column = named[0][1]
    groups = Counter(train.columns[column])
    shared = sum(count > 1 for count in groups.values())
    why = f"by its name; {len(groups)} values for {len(train)} photographs, {shared} of them shared{rest}"
    return (column,), [_guess((column,), why)]


def _fault(values: list[str]) -> str:
    """Say why a column makes no groups; empty if it does."""
    counts = Counter(values)
    if not counts or "" in counts:
        return f"{counts['']} rows are empty" if counts else "no rows"
    if len(counts) == len(values):
        return "each row has its own value"
    if len(counts) < FEWEST_GROUPS:
        return f"only {len(counts)} values"
    if max(counts.values()) > LARGEST_SHARE * len(values):
        return f"{counts.most_common(1)[0][0]} has more than half of the rows"
    return ""


def _guess(columns: tuple[str, ...], why: str, is_doubtful: bool = False) -> Guess:
    otherwise = 'the columns whose rows belong together, or (); --group COLUMN or --group ""'
    return Guess(name="group_columns", value=columns, why=why, otherwise=otherwise, is_doubtful=is_doubtful)
