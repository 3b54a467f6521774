"""What a search found becomes a recipe: entries of a data module in kernel_src/recipes/, which notebooks hold as well.

Such a module is one literal dictionary and rewritten whole; it can be edited by hand as long as it stays a literal.
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.stitch.parameters import literal
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.recipes.predictor import checked_experiment_name
from kernel_src.recipes.spec import ExperimentError

LINE_LENGTH = 120


def read_entries(path: Path, variable: str) -> dict[str, dict[str, Any]]:
    """Return the entries of the file; none if it is not there.

    Raises:
        CheckFailed: the variable is not a literal.
    """
    if not path.is_file():
        return {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == variable and node.value is not None:
            try:
                return dict(ast.literal_eval(node.value))
            except ValueError:
                break
    raise CheckFailed(
        [Problem(what=f"{variable} is not a literal dictionary", where=str(path), cure="undo the last edit")]
    )


def check_free(name: str, option: str, written: Mapping[str, Any]) -> None:
    """Make sure that a recipe can have this name; `written` are the entries that may be replaced.

    Raises:
        UsageError: it cannot, or a recipe written by hand has it.
    """
    try:
        checked_experiment_name(name)
    except ExperimentError as error:
        raise UsageError(f"{option}: {error}") from None
    if name in {**EXPERIMENTS, **ENSEMBLES} and name not in written:
        raise UsageError(f"{option} {name}: there is such an experiment, written by hand; choose another name")


def module_source(heading: str, variable: str, entries: Mapping[str, Any]) -> str:
    """Write the module, sorted by name, in the formatter's style."""
    head = f"{variable}: dict[str, dict[str, Any]] = "
    return f"{heading}{head}{formatted(dict(sorted(entries.items())), used=len(head))}\n"


def formatted(value: object, indent: int = 0, used: int = 0) -> str:
    """Write a literal as the formatter would: on one line where it fits, else one element a line.

    `used` columns of the first line are taken by what stands before it and behind it.
    """
    line = literal(value)
    if len(line) + used <= LINE_LENGTH or not isinstance(value, Mapping | list) or not value:
        return line
    inner, pad = indent + 4, " " * (indent + 4)
    if isinstance(value, Mapping):
        heads = [(f"{literal(key)}: ", one) for key, one in value.items()]
        opening, closing = "{", "}"
    else:
        heads, (opening, closing) = [("", one) for one in value], "[]"
    lines = [f"{pad}{head}{formatted(one, inner, inner + len(head) + 1)}," for head, one in heads]
    return "\n".join([opening, *lines, " " * indent + closing])
