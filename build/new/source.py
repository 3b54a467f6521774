"""The package's text: plain Python as somebody would write it, each guess a line with its reason above it."""

import math
import textwrap
from collections.abc import Mapping, Sequence

from build.new.competition import Competition
from build.new.guess import Guess
from build.new.naming import class_stem, prefix_of, title_of
from build.search.tuning.command import tuned_source
from build.stitch.parameters import literal
from kernel_src.competition.further_metrics import ALL_METRICS
from kernel_src.competition.metrics import METRICS

LINE_LENGTH = 120
MANY_IMAGES = 5000  # beyond, one fold is trained instead of three
IMAGES_SEEN = 2400  # by a fold of the small baseline, in 3 to 12 epochs: minutes on two cores
ANSWERS = {
    "number": "A number for each photograph",
    "ordinal": "A whole number, in an order, for each photograph",
    "yes-no": "Yes or no for each photograph, as a number from 0 to 1",
    "classes": "The class of each photograph",
    "probabilities": "The probability of each class for each photograph",
}
GPU_BACKBONE, GPU_WEIGHTS = "tf_efficientnetv2_m", "i2b-tf-efficientnetv2-m-imagenet"
SMALL_BACKBONE, SMALL_WEIGHTS = "tf_efficientnet_lite0", "i2b-lite0-imagenet"
EMPTY_BLENDED = '''"""## Blended ensembles

Ensembles that out-of-fold predictions spoke for: written by `python -m build blend … --write NAME`.
"""

from typing import Any

BLENDED: dict[str, dict[str, Any]] = {}
'''


def package_files(one: Competition) -> dict[str, str]:
    """Return the package's files: name → text."""
    files = {
        "__init__.py": _docstring(f"## {title_of(one.slug)}", f"{ANSWERS[one.kind.kind]}."),
        "facts.py": facts_source(one),
        "rules.py": rules_source(one),
        "experiments.py": experiments_source(one),
        "tuned_experiments.py": tuned_source({}),
        "blended_ensembles.py": EMPTY_BLENDED,
    }
    if one.alike:
        files["alike.py"] = alike_source(one)
    return files


# -- the files ------------------------------------------------------------------------------------------------------


def facts_source(one: Competition) -> str:
    """Write facts.py."""
    layout, kind = one.layout, one.kind
    lines = [
        *_attribute("competition", "str", one.name),
        *_attribute("slug", "str", one.slug),
        *_attribute("title", "str", title_of(one.slug)),
        *_attribute("prefix", "str", prefix_of(one.name)),
        *_comment(one.guess("targets")),
        *_attribute("targets", "tuple[str, ...]", kind.targets),
    ]
    if kind.are_classes:
        lines += _comment(one.guess("are_classes")) + _attribute("are_classes", "bool", True)
    if kind.labels and kind.labels != kind.targets:
        lines += _comment(one.guess("labels")) + _attribute("labels", "tuple[str, ...]", kind.labels)
    if kind.answer != "number" or one.guess("answer"):
        lines += _comment(one.guess("answer")) + _attribute("answer", "str", kind.answer)
    if math.isfinite(kind.lowest) or math.isfinite(kind.highest):
        lines += _comment(one.guess("lowest, highest"))
    lines += _attribute("lowest", "float", kind.lowest) if math.isfinite(kind.lowest) else []
    lines += _attribute("highest", "float", kind.highest) if math.isfinite(kind.highest) else []
    means = {target: float(f"{mean:.4g}") for target, mean in zip(kind.targets, kind.means, strict=True)}
    lines += ["# The training table's means, submitted where not even a bundle can be read."]
    lines += _attribute("fallback", "Mapping[str, float]", means)
    if one.input_guesses:
        lines += _comment(one.guess("inputs")) + _attribute("inputs", "tuple[str, ...]", one.inputs)
    for name, value, usual in (
        ("train_csv", layout.folder.train.name, None),
        ("test_csv", layout.test_csv, None),
        ("sample_csv", layout.folder.sample.name, "sample_submission.csv"),
        ("train_folder", layout.train.folder, None),
        ("test_folder", layout.test_folder, None),
        ("id_column", layout.id_column, None),
        ("suffix", layout.train.suffix, None),
        ("path_column", layout.path_column, ""),
    ):
        if value != usual:
            lines += _comment(one.guess(name)) + _attribute(name, "str", value)
    if layout.answer_columns != kind.targets:
        lines += _attribute("answer_columns", "tuple[str, ...]", layout.answer_columns)
    method, imports = [], []
    if layout.folder_column:
        method = _photograph_method(one)
        imports = ["from pathlib import Path"]
    body = "\n".join(f"    {line}" if line else "" for line in [f'"""{ANSWERS[kind.kind]}."""', "", *lines, *method])
    return (
        _docstring(
            f"## The facts of {title_of(one.slug)}",
            "Its facts, as `make new` guessed them from the files: each guess has its reason above it, and what to "
            "write there where it is wrong.",
        )
        + "\nfrom collections.abc import Mapping\n"
        + "".join(f"{line}\n" for line in imports)
        + "from typing import ClassVar\n\nfrom kernel_src.competition.facts import Facts\n\n\n"
        + f"class {class_stem(one.name)}Facts(Facts):\n{body}\n"
    )


def rules_source(one: Competition) -> str:
    """Write rules.py."""
    stem, metric = class_stem(one.name), ALL_METRICS[one.metric]
    module = "metrics" if one.metric in METRICS else "further_metrics"
    package = f"kernel_src.competitions.{one.name}"
    lines = [
        *_attribute("competition", "str", one.name),
        f"facts: ClassVar[type[Facts]] = {stem}Facts",
        *_comment(one.metric_guess),
        f"metric: ClassVar[Metric] = {metric.__name__}()",
    ]
    if one.layout.train_id_column:
        lines += _comment(one.guess("train_id_column"))
        lines += _attribute("train_id_column", "str", one.layout.train_id_column)
    if one.kind.label_column:
        lines += _comment(one.guess("label_column"))
        lines += _attribute("label_column", "str", one.kind.label_column)
    lines += _comment(one.guess("group_columns"))
    lines += _attribute("group_columns", "tuple[str, ...]", one.group_columns)
    if one.group_columns:
        lines += _attribute("group_name", "str", " ".join(one.group_columns))
    elif one.alike:
        lines += _attribute("group_name", "str", "group of look-alikes")
    lines += _comment(one.guess("alike"))
    lines += [f"alike: ClassVar[tuple[tuple[str, ...], ...]] = {'ALIKE' if one.alike else '()'}"]
    imports = [
        "from kernel_src.competition.facts import Facts",
        f"from kernel_src.competition.{module} import {metric.__name__}",
        "from kernel_src.competition.rules import Metric, Rules",
        *([f"from {package}.alike import ALIKE"] if one.alike else []),
        f"from {package}.facts import {stem}Facts",
    ]
    what = "by the size of the error" if not metric.higher_is_better else "by a score of which more is better"
    body = "\n".join(f"    {line}" for line in lines)
    return (
        _docstring(f"## How {title_of(one.slug)} is judged", f"By {metric.name}: {what}.")
        + "\nfrom typing import ClassVar\n\n"
        + "\n".join(imports)
        + f"\n\n\nclass {stem}Rules(Rules):\n"
        + f'    """Which photographs belong together, and what predictions score."""\n\n{body}\n'
    )


def alike_source(one: Competition) -> str:
    """Write alike.py."""
    groups = "\n".join(f"    {_long(group, 4)}," for group in one.alike)
    return (
        _docstring(
            "## Photographs that are nearly the same",
            "Ids of each group, found by `make new`: split between folds, they would be known by heart.",
        )
        + f"\nALIKE: tuple[tuple[str, ...], ...] = (\n{groups}\n)\n"
    )


def experiments_source(one: Competition) -> str:
    """Write experiments.py: a baseline for a laptop, another for Kaggle's GPUs."""
    package, stem, images = f"kernel_src.competitions.{one.name}", class_stem(one.name), len(one.layout.ids)
    constant = one.name.upper()
    epochs = min(12, max(3, round(IMAGES_SEEN / images)))
    few = f", train_folds=({0},)" if images > MANY_IMAGES else ""
    learning = ["AdamW", "Batch", *(["CrossEntropy"] if one.kind.are_classes else []), "WarmupCosine"]
    network = ["Encoder", "FirstShare", *(["Inputs"] if one.inputs else []), "PooledHead"]
    loss = "    loss=CrossEntropy(),\n" if one.kind.are_classes else ""
    inputs = "    inputs=Inputs(),\n" if one.inputs else ""
    split = f"StratifiedGroupSplit({min(3, one.groups)})"
    px = _indented(_comment(one.side_guess), 4)
    return (
        _docstring(
            "## The list of experiments",
            "A baseline that a laptop trains, and one for Kaggle's GPUs; variants are made with `dataclasses.replace`.",
        )
        + f"""
from dataclasses import replace
from typing import ClassVar

from {package}.blended_ensembles import BLENDED
from {package}.tuned_experiments import TUNED
from kernel_src.recipes.experiment import Experiment, Machine
from kernel_src.recipes.learning import {", ".join(learning)}
from kernel_src.recipes.network import {", ".join(network)}
from kernel_src.recipes.pictures import Pictures
from kernel_src.recipes.predictor import Predict
from kernel_src.recipes.recipe_list import Changes, Recipes
from kernel_src.recipes.training_data import Augment, Data, StratifiedGroupSplit

# For two CPU cores: whether everything fits together, and a first score. Nothing is flipped or recoloured: whether a
# photograph upside down still has its answer, only you know.
{constant} = Experiment(
    name={literal(one.name)},
{px}    pictures=Pictures(height_px={one.side_px}, width_px={one.side_px}),
    # Its first layers, which take most of the time, stay as ImageNet left them.
    encoder=Encoder(timm={literal(SMALL_BACKBONE)}, weights={literal(SMALL_WEIGHTS)}, freeze=FirstShare(0.1)),
    head=PooledHead(hidden=(), dropout=0.1),
{inputs}    data=Data(split={split}{few}),
    augment=Augment("none"),
{loss}    optimizer=AdamW(lr=2e-3, weight_decay=1e-2),
    schedule=WarmupCosine(epochs={epochs}, warmup=1),
    batch=Batch(16),
    predict=Predict(tta="none", constraint="none"),
)

# For Kaggle's two T4s: larger pictures, a larger network. Try augment=Augment("conservative") once flips are known to
# be right here.
{constant}_GPU = replace(
    {constant},
    name={literal(one.name + "_gpu")},
    pictures=Pictures(height_px=384, width_px=384),
    encoder=Encoder(timm={literal(GPU_BACKBONE)}, weights={literal(GPU_WEIGHTS)}),
    data=Data(split=StratifiedGroupSplit({min(5, one.groups)})),
    optimizer=AdamW(lr=3e-4, weight_decay=1e-2),
    schedule=WarmupCosine(epochs=10, warmup=1),
    batch=Batch(32),
    machine=Machine(limit_s=11.5 * 3600),  # a session ends after 12 h; half an hour is left for scoring and saving
)


class {stem}Recipes(Recipes):
    \"\"\"All of them.\"\"\"

    competition: ClassVar[str] = {literal(one.name)}
    experiments: ClassVar[tuple[Experiment, ...]] = ({constant}, {constant}_GPU)
    tuned: ClassVar[Changes] = TUNED
    blended: ClassVar[Changes] = BLENDED
"""
    )


# -- lines ----------------------------------------------------------------------------------------------------------


def _docstring(heading: str, text: str) -> str:
    wrapped = "\n".join(textwrap.wrap(text, LINE_LENGTH, break_long_words=False, break_on_hyphens=False))
    return f'"""{heading}\n\n{wrapped}\n"""\n'


def _comment(guess: Guess | None) -> list[str]:
    """Say why a guess was made, and what to write where it is wrong."""
    if guess is None:
        return []
    mark = "guessed, look at it" if guess.is_doubtful else "guessed"
    text = f"{mark}: {guess.why}" + (f"; else {guess.otherwise}" if guess.otherwise else "")
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    width = LINE_LENGTH - 4
    wrapped = textwrap.wrap(text, width, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    return wrapped


def _attribute(name: str, kind: str, value: object) -> list[str]:
    """Write one attribute of a class, as the formatter would."""
    head = f"{name}: ClassVar[{kind}] = "
    return f"{head}{_long(value, 4, len(head))}".split("\n")


def _long(value: object, indent: int, used: int = 0) -> str:
    """Write a literal: on one line where it fits, else one element a line; lines but the first are not indented."""
    line = literal(value)
    if (
        indent + used + len(line) + 1 <= LINE_LENGTH
        or not isinstance(value, Mapping | Sequence)
        or isinstance(value, str)
    ):
        return line
    opening, closing = ("{", "}") if isinstance(value, Mapping) else ("(", ")")
    items = value.items() if isinstance(value, Mapping) else value
    pad = "    " if used else " " * (indent + 4)
    each = [f"{literal(one[0])}: {literal(one[1])}" if isinstance(value, Mapping) else literal(one) for one in items]
    end = "" if used else " " * indent
    return "\n".join([opening, *(f"{pad}{text}," for text in each), f"{end}{closing}"])


def _indented(lines: Sequence[str], by: int) -> str:
    return "".join(f"{' ' * by}{line}\n" for line in lines)


def _photograph_method(one: Competition) -> list[str]:
    column = one.layout.folder_column
    signature = "def photograph(self, competition: Path, folder: str, image_id: str, row: Mapping[str, str]) -> Path:"
    return [
        "",
        signature,
        f'    """Return the file of a photograph, in the folder that its {column} names."""',
        *[f"    {line}" for line in _comment(one.guess("photograph"))],
        f'    return super().photograph(competition, f"{{folder}}/{{row[{column!r}]}}", image_id, row)',
    ]
