"""`SET="schedule.epochs=3 loss=SmoothL1(beta=5)"`: changes to an experiment as people type them, read by their type."""

import ast
import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from build.core.errors import UsageError
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed, known_paths
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.spec import KIND, Spec, field_types, kinds_of, spec_class

TRUE_WORDS, FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
NONE_WORDS = ("", "none", "None")
# What people know these by: the fields' names before an experiment was made of parts, and the seed's.
OTHER_NAMES = {
    "backbone": ("encoder.timm",),
    "starting_weights": ("encoder.weights",),
    "gradient_checkpointing": ("encoder.checkpointing",),
    "frozen_groups": ("encoder.freeze=FirstGroups(1)",),
    "feature_poolings": ("head=RegressorHead(pool=…)",),
    "feature_layers": ("encoder.layers",),
    "feature_parts": ("pictures.parts",),
    "feature_heights_px": ("pictures.scales",),
    "image_height_px": ("pictures.height_px",),
    "image_width_px": ("pictures.width_px",),
    "augmentation": ("augment.preset",),
    "external_data": ("data.external=External(…)",),
    "external_area_factor": ("data.external.area_factor",),
    "pseudo_labels": ("data.pseudo=PseudoLabels(…)",),
    "pseudo_weight": ("data.pseudo.weight",),
    "inner_folds": ("keep=InnerFold(8)",),
    "patience_epochs": ("keep.patience",),
    "ema_decay": ("keep=EMA(0.99)",),
    "constraint_weight": ("loss.identities",),
    "learning_rate": ("optimizer.lr",),
    "backbone_learning_rate": ("optimizer.backbone_lr",),
    "schedule_epochs": ("schedule.length", "schedule.every"),
    "warmup_epochs": ("schedule.warmup",),
    "accumulate_steps": ("batch.accumulate",),
    "n_folds": ("data.split.folds",),
    "session_limit_s": ("machine.limit_s",),
}


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
    for word in (word for text in texts for word in _words(text)):
        try:
            changes |= read_changes_file(Path(word[1:])) if word.startswith("@") else _one(word)
        except ValueError as error:
            reasons.append(str(error))
    if reasons:
        raise UsageError("\n".join(reasons))
    return changes


def _words(text: str) -> list[str]:
    """Cut at blanks, but not inside brackets: `keep=EMA auxiliary=Bins(7, weight=0.3)` is two words."""
    words, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter.isspace() and depth <= 0:
            words.append("")
        else:
            words[-1] += letter
    return [word for word in words if word]


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
        close = _near(path)
        top = ", ".join(name for name in paths() if "." not in name)
        hint = f", did you mean {' or '.join(close)}?" if close else f"; it begins with one of {top}"
        raise ValueError(f"an experiment has no field {path!r}{hint}")
    return path


def _near(path: str) -> list[str]:
    """Return what was probably meant: the same name elsewhere (`lr`, `head_hidden`), or one spelt alike."""
    if path in OTHER_NAMES:
        return list(OTHER_NAMES[path])
    end = "." + path.replace("_", ".")
    ends = [known for known in paths() if known.endswith(f".{path}")] or [
        known for known in paths() if f".{known}".replace("_", ".").endswith(end)
    ]
    names = [known.rpartition(".")[2] for known in paths()]
    alike = difflib.get_close_matches(path, [*paths(), *OTHER_NAMES], n=1, cutoff=0.75) or [
        known for known in paths() for one in difflib.get_close_matches(path, names, n=1) if known.endswith(f".{one}")
    ]
    close = ends or [better for known in alike for better in OTHER_NAMES.get(known, (known,))]
    return sorted(close, key=lambda known: known.count("."))[:3]


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
        item = get_args(kind)[0]
        if (base := spec_class(item)) is not None:
            return [_as_object(base, _read_alternative(item, part)) for part in _elements(text)]
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
    kinds = kinds_of(base)
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        call = None
    if isinstance(call, ast.Name) and call.id in kinds:
        return call.id
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in kinds:
        cls = kinds[call.func.id]
        values = {name: _read_argument(cls, name, node) for name, node in _arguments(cls, call).items()}
        return ({KIND: cls.__name__} if base.abstract else {}) | values
    raise ValueError(f"is not one of {', '.join(kinds)}, perhaps with fields: {next(iter(kinds))}(…)")


def _arguments(cls: type[Spec], call: ast.Call) -> dict[str, ast.expr]:
    """Return what a call gives to which field.

    Raises:
        ValueError: more values than fields that may stand without their names, or `*` and `**`.
    """
    by_place = [one.name for one in fields(cls) if not one.kw_only]
    if len(call.args) > len(by_place):
        raise ValueError(f"gives {len(call.args)} values without names, and {cls.__name__} takes {len(by_place)} so")
    if any(isinstance(one, ast.Starred) for one in call.args) or any(one.arg is None for one in call.keywords):
        raise ValueError(f"is not written as {cls.__name__}(field=value)")
    given = dict(zip(by_place, call.args, strict=False))
    return given | {one.arg: one.value for one in call.keywords if one.arg}


def _read_argument(cls: type[Spec], name: str, node: ast.expr) -> Any:
    inner = spec_class(field_types(cls).get(name))
    if inner is not None and not isinstance(node, ast.Constant):
        return _as_object(inner, _read_alternative(inner, ast.unparse(node)))
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"holds {name}={ast.unparse(node)}, which is not a plain value") from None


def _as_object(base: type[Spec], value: Any) -> Any:
    """Return an alternative's bare name as JSON, for where there is no present one that could keep its fields."""
    return ({KIND: value} if base.abstract else {}) if isinstance(value, str) else value


def as_typed(changes: Mapping[str, Any]) -> str:
    """Write changes as `parse_changes` reads them."""
    return " ".join(f"{path}={_typed(paths()[path], value)}" for path, value in changes.items())


def _typed(kind: Any, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        options = get_args(kind) if isinstance(kind, UnionType) else (kind,)
        item = get_args(options[0])[0]
        return ",".join(_typed(item, one) for one in value)
    if isinstance(value, Mapping):
        fields_ = ",".join(f"{name}={_argument(one)}" for name, one in value.items() if name != KIND)
        base = spec_class(kind)
        return f"{value.get(KIND, base.__name__ if base else '')}({fields_})"
    return str(value)


def _argument(value: Any) -> str:
    return _typed(None, value) if isinstance(value, Mapping) else repr(value).replace(" ", "")


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
