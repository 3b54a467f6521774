"""A competition's package, held against the files that `make new` wrote it from, while they are at hand.

What a package says of ids, columns, suffixes, labels, ranges and groups can be wrong or become wrong by an edit; here
it is seen before anything is trained, and long before a submission. What the files cannot show is not seen: whether
more is better for the competition's own metric, and what the hidden test has that the public one has not.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from build.core.errors import Problem
from kernel_src.competition.facts import Facts, HiddenTest, read_named_rows
from kernel_src.competition.rules import Rules
from kernel_src.competitions.held_facts import competitions, facts
from kernel_src.competitions.held_rules import rules
from kernel_src.runtime.faults import FaultLog, NotContained

NOTES = Path("out", "new")  # a note for each competition: its data folder, and the look-alikes that were found
SHOWN = 3


def noted_problems(root: Path) -> list[Problem]:
    """Compare every package that has a note with its files, where these are still there."""
    problems = []
    for note in sorted((root / NOTES).glob("*.json")):
        name = note.stem
        try:
            said = json.loads(note.read_text(encoding="utf-8"))
            data, alike = Path(said["data"]), [list(map(str, group)) for group in said["alike"]]
        except (ValueError, KeyError, TypeError):
            cure = f"delete it, or `python -m build new --slug … --name {name} --overwrite` again"
            problems.append(Problem(what="is no note of `make new`", where=str(note.relative_to(root)), cure=cure))
            continue
        if name in competitions() and data.is_dir():
            problems += agreement_problems(facts(name), rules(name), data, alike)
    return problems


def agreement_problems(here: Facts, judged: Rules, data: Path, alike: Sequence[Sequence[str]] = ()) -> list[Problem]:
    """Say where a competition's package and its files disagree; `alike` are ids of photographs nearly the same."""
    package = f"kernel_src/competitions/{here.competition}"
    facts_file, rules_file = f"{package}/facts.py", f"{package}/rules.py"
    return [
        *(Problem(what=what, where=facts_file, cure=cure) for what, cure in _test_faults(here, data)),
        *(Problem(what=what, where=rules_file, cure=cure) for what, cure in _train_faults(here, judged, data, alike)),
    ]


def _test_faults(here: Facts, data: Path) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with test and submission, and the cure."""
    try:
        test = here.read_test(data, FaultLog(strict=True))
    except (ValueError, OSError, NotContained) as error:
        yield f"the test cannot be read: {error}", "correct id_column, test_csv, sample_csv or inputs"
        return
    absent = [name for name, path in test.photographs.items() if not path.is_file()]
    if absent and len(absent) < len(test.photographs):
        path = test.photographs[absent[0]].relative_to(data)
        what = f"{len(absent)} of {len(test.photographs)} test photographs are not there, such as {path}"
        yield what, "correct test_folder or suffix"
    elif absent and any((data / here.test_folder).glob("*")):
        path = test.photographs[absent[0]].relative_to(data)
        yield f"no test photograph is where it should be, such as {path}", "correct test_folder, suffix or id_column"
    yield from _sample_faults(here, data / here.sample_csv, test)


def _sample_faults(here: Facts, path: Path, test: HiddenTest) -> Iterator[tuple[str, str]]:
    """Hold the competition's own sample submission against what this package would write."""
    try:
        columns, rows = read_named_rows(path)
    except (ValueError, OSError) as error:
        yield f"the sample submission cannot be read: {error}", "correct sample_csv"
        return
    if columns != list(here.submission_columns):
        what = f"{path} has the columns {', '.join(columns)}; written would be {', '.join(here.submission_columns)}"
        yield what, "correct id_column, targets or answer_columns"
        return
    ids, wanted = [row[here.id_column] for row in rows], set(test.row_ids)
    if strange := sorted(set(ids) ^ wanted):
        what = f"{path} and the test have not the same rows: {', '.join(strange[:SHOWN])}"
        yield what, 'correct id_column or test_csv (test_csv = "" takes the rows of the sample submission)'
    for row in rows:
        texts = [row[column] or "" for column in here.submission_columns[1:]]
        if any(texts) and (fault := here.value_problem(texts)):
            what = f"{path}: {row[here.id_column]} {fault}: {', '.join(texts)}"
            yield what, "correct answer, labels, lowest or highest: the sample submission must be possible"
            return


def _train_faults(here: Facts, judged: Rules, data: Path, alike: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the training table, and the cure."""
    try:
        train = judged.read_train(data / here.train_csv)
        groups = judged.group_labels(train)
    except (ValueError, OSError, KeyError) as error:
        yield f"the training table cannot be read: {error}", "correct the columns or labels that it names"
        return
    absent = [path for path in train["image_path"] if not (data / path).is_file()]
    if absent:
        what = f"{len(absent)} of {len(train)} training photographs are not there, such as {absent[0]}"
        yield what, "correct train_folder or suffix in facts.py; rows without a photograph cannot train"
    targets = judged.target_array(train)
    if not here.are_classes and ((targets < here.lowest) | (targets > here.highest)).any():
        what = f"targets are {targets.min():g} to {targets.max():g}, predictions {here.lowest:g} to {here.highest:g}"
        yield what, "correct lowest and highest in facts.py"
    try:
        floors = judged.floors(train)
        perfect = judged.metric.gain(judged.score(targets, targets))
    except ValueError as error:
        yield f"{judged.metric.name} cannot judge these targets: {error}", "correct metric, or targets"
        return
    for words, score in floors.items():
        if judged.metric.gain(score) > perfect:
            what = f"{words} scores {score:g}, a perfect prediction {judged.score(targets, targets):g}"
            yield what, "the metric's higher_is_better is the wrong way round"
    group_of = dict(zip(train["image_id"].astype(str), groups.tolist(), strict=True))
    split = [family for family in alike if len({group_of[one] for one in family if one in group_of}) > 1]
    if split:
        what = f"{len(split)} groups of photographs that are nearly the same are not kept in one fold, such as "
        yield what + ", ".join(split[0][:SHOWN]), "bring alike = ALIKE back, or choose group_columns that hold them"
