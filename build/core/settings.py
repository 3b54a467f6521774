"""`SET="epochs=3 batch_size=4"`: changes to an experiment as people type them, read by each field's own type."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from build.core.errors import UsageError
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.experiments import EXPERIMENTS, changed

FIELD_TYPES: dict[str, Any] = {field.name: field.type for field in fields(Experiment) if field.name != "name"}
TRUE_WORDS, FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def find_experiment(name: str) -> Experiment:
    """Return an experiment that is trained, by its name.

    Raises:
        UsageError: there is none, names the closest; or nothing of it is trained.
    """
    experiment = find_recipe(name, "to train")
    if experiment.is_frozen:
        raise UsageError(
            f"{name} is not trained, its features are frozen: `python -m build features --experiment {name} …`, then "
            f"`python -m build regress --experiment {name} …`"
        )
    return experiment


def find_recipe(name: str, purpose: str) -> Experiment:
    """Return any experiment by its name; `purpose` is what the message says that it was looked for.

    Raises:
        UsageError: there is none; names the closest.
    """
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    close = difflib.get_close_matches(name, EXPERIMENTS, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UsageError(f"no experiment {name!r} {purpose}; there are {', '.join(EXPERIMENTS)}.{hint}")


def parse_changes(texts: Iterable[str]) -> dict[str, Any]:
    """Read `field=value` words; `@best.json` stands for the changes in a file, e.g. the one that tuning leaves.

    A list is written with commas (`head_hidden=256,64`), an empty text by nothing (`starting_weights=`).

    Raises:
        UsageError: with every invalid value.
    """
    changes: dict[str, Any] = {}
    reasons = []
    for word in (word for text in texts for word in text.split()):
        try:
            changes |= read_changes_file(Path(word[1:])) if word.startswith("@") else _one(word)
        except ValueError as error:
            reasons.append(str(error))
    if reasons:
        raise UsageError("\n".join(reasons))
    return changes


def _one(word: str) -> dict[str, Any]:
    name, equals, text = word.partition("=")
    if not equals:
        raise ValueError(f'{word!r} is not field=value: write e.g. SET="epochs=3 batch_size=4"')
    return {check_field(name): parse_value(name, text)}


def check_field(name: str) -> str:
    """Return the name if an experiment has such a field that may be changed.

    Raises:
        ValueError: it has not.
    """
    if name not in FIELD_TYPES:
        close = difflib.get_close_matches(name, FIELD_TYPES, n=1)
        hint = f", did you mean {close[0]}?" if close else f"; there are {', '.join(FIELD_TYPES)}"
        raise ValueError(f"an experiment has no field {name!r}{hint}")
    return name


def parse_value(name: str, text: str) -> Any:
    """Read a field's value by its type.

    Raises:
        ValueError: the text is not such a value.
    """
    kind = FIELD_TYPES[name]
    if kind is str:
        return text
    if kind is bool:
        if text.lower() in (*TRUE_WORDS, *FALSE_WORDS):
            return text.lower() in TRUE_WORDS
        raise ValueError(f"{name}={text!r} is neither true nor false")
    if kind == tuple[str, ...]:
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        if kind in (int, float):
            return kind(text)
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}.get(kind, "whole numbers with commas between them")
        raise ValueError(f"{name}={text!r} is not {wanted}") from None


def read_changes_file(path: Path) -> dict[str, Any]:
    """Return the changes in a JSON file: the object itself, or what stands under its key `changes`.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"@{path}: no such file") from None
    except ValueError:
        raise ValueError(f"@{path} is not JSON") from None
    values = content.get("changes", content) if isinstance(content, Mapping) else None
    if not isinstance(values, Mapping):
        raise ValueError(f"@{path} is not JSON object of field: value")
    return {check_field(name): value for name, value in values.items()}


def apply_changes(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """Return the changed experiment.

    Raises:
        UsageError: a value is impossible.
    """
    try:
        result = changed(experiment, changes)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{error}: check SET and FOLDS") from None
    wrong = [fold for fold in result.train_folds if not 0 <= fold < result.folds]
    if wrong and result.split != "leave_group_out":  # there each group is a fold, which the data alone knows
        numbers = ",".join(map(str, wrong))
        raise UsageError(f"FOLDS={numbers}: {result.name} has the folds 0 to {result.folds - 1}")
    return result


def parse_folds(text: str) -> dict[str, Any]:
    """Read `FOLDS=0,1` as a change; an empty text changes nothing.

    Raises:
        UsageError: these are not numbers.
    """
    try:
        return {"train_folds": parse_value("train_folds", text)} if text else {}
    except ValueError:
        raise UsageError(f"FOLDS={text!r} are not fold numbers: write e.g. FOLDS=0,1") from None
