"""Values for one push: `SET` and `PARAMS` go into the parameters cell of the notebook that is pushed, and nowhere else.

Such a notebook is built like any other, with other parameters, into `out/push/built/`. Its hash of the sources covers
the parameters, so to the journal, to the receipts of rehearsals and to the ledger it is another notebook; the one in
`notebooks/` and the sources stay as they are. `SET` are changes of the recipe, as `make train SET=` takes them: they go
into the training notebook's `CHANGES`, and what the changed recipe mounts, holds and runs on goes with it.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from build.core.errors import UsageError
from build.core.settings import apply_changes, parse_changes
from build.notebooks.adopted_card import AdoptedCard
from build.notebooks.base import read_sources, remember_all
from build.notebooks.builder import NOTEBOOKS, ROOT, build_notebook
from build.notebooks.metadata import slug_of
from build.notebooks.notebook_file import read_bytes, read_notebook, tags_of
from build.notebooks.writing import put
from build.stitch.parameters import assigned, literal
from build.stitch.set_up import ARGUMENTS
from build.stitch.template import OWN_HASH, PARTS
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import KernelCard, kernel_card

BUILT = Path("out", "push", "built")  # <slug>/
CHANGES, EXPERIMENT = "CHANGES", "EXPERIMENT"
# Of our own notebooks: filled in by the build, or named elsewhere.
_NOT_GIVEN = {
    PARTS: "the build chooses them",
    OWN_HASH: "the build fills it in",
    EXPERIMENT: "give EXPERIMENT=… to make, --experiment to the verb",
    CHANGES: "give the changes by SET (--set)",
}


@dataclass(frozen=True)
class Given:
    """What was given for one push."""

    changes: tuple[str, ...] = ()  # words of SET
    parameters: tuple[str, ...] = ()  # words of PARAMS

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.changes or self.parameters)


def built_with(given: Given, card: KernelCard) -> tuple[KernelCard, Path, dict[str, str]]:
    """Build the notebook of a card with the values given; return its card, its path, and what differs, as literals.

    Where every value is the one that the notebook has anyway, it is the notebook in `notebooks/`, and nothing differs.

    Raises:
        UsageError: a name that the cell does not have, with those that it has; a value that is no literal, or unlike
            the present one.
        CheckFailed: the notebook cannot be built so.
    """
    slug = slug_of(card)
    plain = ROOT / NOTEBOOKS / slug / f"{slug}.ipynb"
    if not given:
        return card, plain, {}
    there = parameters_in(plain)
    values = _checked(parse_parameters(given.parameters), there, card, slug)
    changes = parse_changes(given.changes)
    if changes:
        if CHANGES not in there or isinstance(card, AdoptedCard):
            raise UsageError(f"SET is for a training of this kit: {slug} takes none; PARAMS sets {_names(there, card)}")
        card = _card_of_changed(card, changes)
        values[CHANGES] = changes
    if not values:
        return card, plain, {}
    card = _with_parameters(card, values)
    built = build_notebook(card)
    if not isinstance(card, AdoptedCard):  # so that an edit of it on the site finds the way back
        remember_all(ROOT, {built.source_sha256: (built.main, built.parameters)}, read_sources(ROOT))
    for path, content in built.files(Path()).items():
        put(BUILT / path.relative_to(NOTEBOOKS), content)
    return card, BUILT / slug / plain.name, {name: literal(value) for name, value in sorted(values.items())}


def values_text(values: Mapping[str, str]) -> str:
    """Write values as one reads them in the cell."""
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def parameters_in(notebook: Path) -> dict[str, Any]:
    """Return what the cell tagged `parameters` of a built notebook assigns.

    Raises:
        NotANotebook: it is none.
    """
    cells = [cell for cell in read_notebook(read_bytes(notebook))["cells"] if "parameters" in tags_of(cell)]
    found = assigned(node for cell in cells for node in ast.parse(cell["source"]).body)
    values: dict[str, Any] = {}
    for name, node in found.items():
        try:
            values[name] = ast.literal_eval(node)
        except ValueError:
            continue  # an expression, which no literal may replace
    return values


def parse_parameters(texts: Iterable[str]) -> dict[str, Any]:
    """Read `NAME=literal` words; a literal may hold blanks within quotes and brackets.

    Raises:
        UsageError: with every word that is none.
    """
    values: dict[str, Any] = {}
    reasons = []
    for word in (word for text in texts for word in _words(text)):
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            reasons.append(f'{word!r} is not NAME=value: write e.g. PARAMS="BATCH_SIZE=8"')
            continue
        try:
            values[name] = ast.literal_eval(text)
            literal(values[name])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            reasons.append(f"{name}={text} is not a literal of Python, as 8, 0.5, True, 'text', [1, 2] or {{'a': 1.0}}")
    if reasons:
        raise UsageError("\n".join(reasons))
    return values


def _words(text: str) -> list[str]:
    """Cut at blanks that stand neither in quotes nor in brackets."""
    words, depth, quote, escaped = [""], 0, "", False
    for letter in text:
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "([{") - (letter in ")]}")
        if letter.isspace() and depth <= 0 and not quote:
            words.append("")
        else:
            words[-1] += letter
    return [word for word in words if word]


def _checked(values: dict[str, Any], there: Mapping[str, Any], card: KernelCard, slug: str) -> dict[str, Any]:
    """Return the values that differ from those there."""
    reasons = []
    for name, value in values.items():
        if name in there and name in _NOT_GIVEN and not isinstance(card, AdoptedCard):
            reasons.append(f"{name} is not given by PARAMS: {_NOT_GIVEN[name]}")
        elif name not in there:
            reasons.append(f"the parameters cell of {slug} has no {name}; PARAMS sets {_names(there, card)}")
        elif _sort_of(value) != _sort_of(there[name]) and None not in (value, there[name]):
            present = f"there it is {literal(there[name])} ({type(there[name]).__name__})"
            reasons.append(f"{name}={literal(value)} is another kind of value ({type(value).__name__}): {present}")
    if reasons:
        raise UsageError("\n".join(reasons))
    return {name: value for name, value in values.items() if literal(value) != literal(there[name])}


def _names(there: Mapping[str, Any], card: KernelCard) -> str:
    names = [name for name in there if isinstance(card, AdoptedCard) or name not in _NOT_GIVEN]
    return ", ".join(names) or "nothing"


def _sort_of(value: object) -> str:
    """Return what a value may be replaced with: a number by any other."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    return "list" if isinstance(value, list | tuple) else type(value).__name__


def _card_of_changed(card: KernelCard, changes: Mapping[str, Any]) -> KernelCard:
    """Return the card of a training with a changed recipe: its datasets, machine and optional parts."""
    base = EXPERIMENTS[card.experiment]
    recipe = apply_changes(base, changes)
    if recipe.is_frozen != base.is_frozen:
        what = "the features" if base.is_frozen else "the training"
        raise UsageError(f"so changed, {base.name} is no longer made by {what} notebook: make it an experiment")
    return kernel_card(card.experiment, card.kernel, recipe)


def _with_parameters(card: KernelCard, values: Mapping[str, Any]) -> KernelCard:
    """Return a card with other parameters; the command line of somebody's script is one of them."""
    if isinstance(card, AdoptedCard) and ARGUMENTS in values:
        others = {name: value for name, value in values.items() if name != ARGUMENTS}
        return replace(card, arguments=values[ARGUMENTS], parameters=card.parameters | others)
    return replace(card, parameters=card.parameters | dict(values))
