"""`SET="schedule.epochs=3 loss=SmoothL1(beta=5)"`: changes to an experiment as people type them, read by their type."""

import ast
import difflib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from build.core.errors import UsageError
from kernel_src.recipes.changes import changed, known_paths
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.recipes.spec import KIND, field_types, kinds_of, spec_class

TRUE_WORDS, FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
NONE_WORDS = ("", "none", "None")


@cache
def paths() -> dict[str, Any]:
    """Return every path that may be changed, with its declared type."""
    return {path: kind for path, kind in known_paths().items() if path != "name"}


def find_experiment(name: str) -> Experiment:
    """Return an experiment that is trained, by its name.

    Raises:
        UsageError: there is none, names the closest; or nothing of it is trained.
    """
    experiment = find_recipe(name, "to train")
    if experiment.is_frozen:
        raise UsageError(
            f"{name} is not trained, its features are frozen: `make push-training EXPERIMENT={name}` makes them on "
            f"Kaggle's GPUs, or `python -m build features --experiment {name} …` here; then "
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


# %%
def parse_changes(texts: Iterable[str]) -> dict[str, Any]:
    """Read `path=value` words; `@best.json` stands for the changes in a file, e.g. the one that tuning leaves.

    A list is written with commas (`head.hidden=256,64`), an alternative by its class (`keep=EMA`, or with its fields
    `keep=EMA(decay=0.99)`), nothing by `none`.

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
    path, equals, text = word.partition("=")
    if not equals:
        raise ValueError(f'{word!r} is not path=value: write e.g. SET="schedule.epochs=3 batch.size=4"')
    return {check_path(path): parse_value(path, text)}


def check_path(path: str) -> str:
    """Return the path if an experiment can have such a field.

    Raises:
        ValueError: it cannot; names the nearest.
    """
    if path not in paths():
        ends = [known for known in paths() if known.rpartition(".")[2] == path]
        close = ends or difflib.get_close_matches(path, paths(), n=1)
        top = ", ".join(name for name in paths() if "." not in name)
        hint = f", did you mean {' or '.join(close[:3])}?" if close else f"; it begins with one of {top}"
        raise ValueError(f"an experiment has no field {path!r}{hint}")
    return path


def parse_value(path: str, text: str) -> Any:
    """Read the value of a field by its type, as `changed` takes it.

    Raises:
        ValueError: the text is not such a value.
    """
    try:
        return _read(paths()[path], text)
    except ValueError as error:
        raise ValueError(f"{path}={text!r} {error}") from None


def _read(kind: Any, text: str) -> Any:
    """Read text as a type.

    Raises:
        ValueError: it is not; the message goes on after the text itself.
    """
    options = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if type(None) in options and text in NONE_WORDS:
        return None
    kind = options[0]
    if spec_class(kind) is not None:
        return _read_alternative(kind, text)
    if get_origin(kind) is tuple:
        if spec_class(item := get_args(kind)[0]) is not None:
            return [_read_alternative(item, part) for part in _elements(text)]
        return [_read(item, part.strip()) for part in text.split(",") if part.strip()]
    if kind is bool:
        if text.lower() not in (*TRUE_WORDS, *FALSE_WORDS):
            raise ValueError("is neither true nor false")
        return text.lower() in TRUE_WORDS
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"is not {'a whole number' if kind is int else 'a number'}") from None


def _elements(text: str) -> list[str]:
    """Cut `Bins(7),Regress("Height_Ave_cm")` at the commas between its calls.

    Raises:
        ValueError: it is not such a list.
    """
    if not text:
        return []
    try:
        value = ast.parse(f"({text},)", mode="eval").body
    except SyntaxError:
        raise ValueError("is not a list such as Bins(7),Classify('State')") from None
    return [ast.unparse(one) for one in value.elts] if isinstance(value, ast.Tuple) else [text]


def _read_alternative(kind: Any, text: str) -> Any:
    """Read `EMA` as its name, `EMA(decay=0.99)` as JSON.

    Raises:
        ValueError: there is no such class, or it is not written as a call with plain values.
    """
    base = spec_class(kind)
    assert base is not None
    try:
        call = ast.parse(text, mode="eval").body
    except SyntaxError:
        call = None
    if isinstance(call, ast.Name) and call.id in kinds_of(base):
        return call.id
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in kinds_of(base):
        cls = kinds_of(base)[call.func.id]
        given = dict(zip(field_types(cls), call.args, strict=False))
        given |= {one.arg: one.value for one in call.keywords if one.arg}
        values = {}
        for name, node in given.items():
            inner = spec_class(field_types(cls).get(name))
            if inner is not None and not isinstance(node, ast.Constant):
                value = _read_alternative(inner, ast.unparse(node))
                values[name] = {KIND: value} if isinstance(value, str) and inner.abstract else value
            else:
                try:
                    values[name] = ast.literal_eval(node)
                except ValueError:
                    raise ValueError(f"holds {name}={ast.unparse(node)}, which is not a plain value") from None
        return ({KIND: cls.__name__} if base.abstract else {}) | values
    raise ValueError(f"is not one of {', '.join(kinds_of(base))}, perhaps with fields: {next(iter(kinds_of(base)))}(…)")


# %%
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
        raise ValueError(f"@{path} is not a JSON object of path: value")
    return {check_path(name): value for name, value in values.items()}


def apply_changes(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """Return the changed experiment.

    Raises:
        UsageError: a value is impossible.
    """
    try:
        return changed(experiment, changes)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{error}: check SET and FOLDS") from None


def parse_folds(text: str) -> dict[str, Any]:
    """Read `FOLDS=0,1` as a change; an empty text changes nothing.

    Raises:
        UsageError: these are not numbers.
    """
    try:
        return {"data.train_folds": parse_value("data.train_folds", text)} if text else {}
    except ValueError:
        raise UsageError(f"FOLDS={text!r} are not fold numbers: write e.g. FOLDS=0,1") from None
