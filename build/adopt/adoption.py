"""`python -m build adopt`: what was typed becomes a card, and the card a notebook.

1. The card is made in memory and its notebook stitched; what is wrong with either is said before anything is written.
2. A card that is there already and says something else is shown as a diff, and replaced with --overwrite alone.
3. The card is written, then notebook and description beside it by the build itself; a kill in between leaves a card
   from which the next command builds.
"""

import difflib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build.adopt.requirements import read_requirements
from build.adopt.wheels import PYTHONS, fetch_wheels, keep_wheels
from build.core.errors import UsageError
from build.notebooks.adopted import (
    CARD,
    LONGEST_SLUG,
    NOTEBOOKS,
    PYTHON_FORM,
    card_path,
    card_text,
    check_new,
    make_card,
    stored,
)
from build.notebooks.adopted_card import AdoptedCard, Mode, wheels_slug
from build.notebooks.builder import ROOT, build, build_notebook, describe_datasets, own_cards
from build.notebooks.metadata import slug_of
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.runtime.files import write_text


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What was typed."""

    main: Path
    root: Path
    slug: str
    competition: str
    datasets: Sequence[str] = ()
    models: Sequence[str] = ()
    arguments: str = ""
    mode: Mode = "auto"
    data: Sequence[str] = ()
    without: Sequence[str] = ()
    gpu: bool = False
    trains: bool = False
    requirements: Path | None = None
    pythons: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What became of it."""

    slug: str
    card: str
    notebook: str
    state: str  # of the notebook, as the build says it
    notes: list[str]
    next: list[str]  # commands


def run(wishes: Wishes, as_json: bool, *, overwrite: bool = False, root: Path = ROOT) -> None:
    """Adopt a script, and print what came of it and the commands that are next.

    Raises:
        UsageError: a name, path or option that cannot be, or a card that says something else.
        CheckFailed: the script cannot be made a notebook, a package has no wheel, or a file was edited by hand.
    """
    adopted = adopt(wishes, root, overwrite=overwrite)
    if as_json:
        print(json.dumps({"ok": True, **vars(adopted)}, indent=2))
        return
    for note in adopted.notes:
        print(f"note: {note}")
    print(f"{adopted.card}\n{adopted.state:<11} {adopted.notebook}")
    for number, command in enumerate(adopted.next):
        print(f"{'next' if not number else 'then':<11} {command}")


def adopt(wishes: Wishes, root: Path = ROOT, *, overwrite: bool = False) -> Adopted:
    """Write the card of a script and build its notebook.

    Raises:
        UsageError: a name, path or option that cannot be, or a card that says something else.
        CheckFailed: the script cannot be made a notebook, a package has no wheel, or a file was edited by hand.
    """
    check_new(wishes.slug, _names_of_ours())
    card, notes = _card(wishes, root)
    path, text = card_path(wishes.slug, root), card_text(card, root)
    there = path.read_text(encoding="utf-8") if path.is_file() else text
    if there != text and not overwrite:
        lines = difflib.unified_diff(there.splitlines(), text.splitlines(), "now", "would become", lineterm="", n=1)
        shown = "\n".join([*lines][2:])
        name = path.relative_to(root).as_posix()
        raise UsageError(f"{name} says something else:\n{shown}\ngive --overwrite to replace it; nothing was written")
    if reason := build_notebook(card, root).reason:  # before anything is written
        notes.append(f"one cell for each file, run as a process: {reason}")
    if card.wheels:
        keep_wheels(card.slug, root)
    if not path.is_file() or there != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    (outcome,) = build([card], root, overwrite=overwrite)
    describe_datasets([card], root)
    return Adopted(
        slug=card.slug,
        card=path.relative_to(root).as_posix(),
        notebook=outcome.path,
        state=outcome.state,
        notes=notes,
        next=_next(card),
    )


def _names_of_ours() -> dict[str, str]:
    """Map each name that an adopted kernel must not have to what it is."""
    names = {slug_of(card): "a notebook" for card in own_cards()}
    return names | dict.fromkeys(EXPERIMENTS, "an experiment") | dict.fromkeys(ENSEMBLES, "an ensemble")


def _card(wishes: Wishes, root: Path) -> tuple[AdoptedCard, list[str]]:
    """Make the card of what was typed; return it and what is worth saying of it."""
    folder = wishes.root.resolve()
    if not folder.is_dir():
        raise UsageError(f"--root {wishes.root}: there is no such folder")
    main = next((path for path in (wishes.main, folder / wishes.main) if path.is_file()), None)
    if main is None:
        raise UsageError(f"there is no script {wishes.main}, neither here nor in {folder}")
    if not main.resolve().is_relative_to(folder):
        raise UsageError(f"{main} does not lie below --root {wishes.root}: imports start from there")
    value = {
        "main": main.resolve().relative_to(folder).as_posix(),
        "root": stored(folder, root),
        "competition": wishes.competition,
        "datasets": [*wishes.datasets],
        "models": [*wishes.models],
        "arguments": wishes.arguments,
        "mode": wishes.mode,
        "data": [*wishes.data],
        "without": [*wishes.without],
        "gpu": wishes.gpu,
        "trains": wishes.trains,
    }
    where, notes = f"{NOTEBOOKS}/{wishes.slug}/{CARD}", list[str]()
    card = make_card(wishes.slug, value, root, where)
    if wishes.requirements is None:
        return card, notes
    if len(wheels_slug(wishes.slug)) > LONGEST_SLUG:
        raise UsageError(
            f"--slug {wishes.slug}: with --wheels at most {LONGEST_SLUG - len(wheels_slug(''))} characters"
        )
    if odd := [one for one in wishes.pythons if not PYTHON_FORM.fullmatch(one)]:
        raise UsageError(f"--python {odd[0]}: it is a version such as 3.12")
    fetched = fetch_wheels(wishes.slug, read_requirements(wishes.requirements), wishes.pythons or PYTHONS, root)
    value |= {"requirements": stored(wishes.requirements.resolve(), root), "wheels": fetched.files}
    return make_card(wishes.slug, value, root, where), fetched.notes


def _next(card: AdoptedCard) -> list[str]:
    """Return the commands from here to a score."""
    words = " KERNEL=train" if card.trains else ""
    weights = [f"FOLDER-OF-{one.rpartition('/')[2]}" for one in card.datasets if one != wheels_slug(card.slug)]
    if weights:
        words += f" WEIGHTS={shlex.quote(' '.join(weights))}"
    push = "push-training" if card.trains else "push-inference"
    rehearse = f"make rehearse EXPERIMENT={card.slug}"
    return ["make check", f"{rehearse}{words}", f"make {push} EXPERIMENT={card.slug}"]
