"""The cards of adopted kernels on disk: `notebooks/<slug>/adopted.json`, small, committed, readable and edited by hand.

1. A card says which script, in which folder, and what its notebook needs on Kaggle; nothing of the sources is in it.
2. What it says is checked whenever it is read; every fault is named with the file, the key and the cure.
3. From it the notebook is stitched afresh by each build, like ours.
"""

import difflib
import hashlib
import json
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from build.core.errors import CheckFailed, Problem, UsageError
from build.notebooks.adopted_card import AdoptedCard, Mode, wheels_slug
from build.notebooks.metadata import MODEL_FORM, MODEL_HANDLE, OWNED, SLUG_FORM
from build.notebooks.wheels_cell import WHEEL_NAME, wheels_cell
from build.stitch.modes import stitch_script
from build.stitch.modules import decode
from build.stitch.template import Stitched
from kernel_src.competition.choice import DEFAULT_COMPETITION
from kernel_src.competitions.held_facts import competitions, facts
from kernel_src.runtime.manifest import checked_sha256
from kernel_src.runtime.untrusted import parsed_json, quoted

CARD = "adopted.json"
FORMAT = 1
NOTEBOOKS = "notebooks"
LONGEST_SLUG = 50
GPU_SHAPE = "NvidiaTeslaT4"
PYTHON_FORM = re.compile(r"3\.[1-9][0-9]?")
LARGEST_BYTES = 1 << 20
MOST_FILES = 20_000  # below an adopted folder; where there are more, each build stitches it afresh
LARGEST_TEXT, LARGEST_TEXTS = 200_000, 4_000_000  # bytes: of one that is no Python, of all of them
TEXT_SUFFIXES = frozenset(".cfg .conf .csv .ini .json .jsonl .md .toml .tsv .txt .yaml .yml".split())
_SKIPPED = {"__pycache__", "node_modules", "site-packages"}
# Each key in the order in which it is written: its type, and what it is when it is left out.
_KEYS: dict[str, tuple[type, Any]] = {
    "format": (int, FORMAT),
    "main": (str, None),
    "root": (str, None),
    "competition": (str, facts(DEFAULT_COMPETITION).slug),
    "datasets": (list, []),
    "models": (list, []),
    "arguments": (str, ""),
    "mode": (str, "auto"),
    "data": (list, []),
    "without": (list, []),
    "gpu": (bool, False),
    "trains": (bool, False),
    "requirements": (str, ""),
    "wheels": (dict, {}),
}
_NAMES = {str: "text", int: "a number", bool: "true or false", list: "a list of texts", dict: "an object"}


def card_path(slug: str, root: Path) -> Path:
    """Return where the card of an adopted kernel lies."""
    return root / NOTEBOOKS / slug / CARD


def adopted_cards(root: Path) -> list[AdoptedCard]:
    """Read the cards of all adopted kernels below `root`, sorted by slug.

    Raises:
        CheckFailed: one of them is not as it should be.
    """
    cards: list[AdoptedCard] = []
    problems: list[Problem] = []
    for path in sorted(root.glob(f"{NOTEBOOKS}/[!.]*/{CARD}")):
        try:
            cards.append(read_card(path, root))
        except CheckFailed as failed:
            problems += failed.problems
    if problems:
        raise CheckFailed(problems)
    return cards


def competition_of_adopted(slug: str) -> str:
    """Return the slug of the competition that an adopted kernel reads; empty where there is none, or no such kernel."""
    path = card_path(slug, Path())
    if not SLUG_FORM.fullmatch(slug) or not path.is_file():
        return ""
    competition = [*read_card(path, Path()).competitions]
    return competition[0] if competition else ""


def read_card(path: Path, root: Path) -> AdoptedCard:
    """Read a card and check every key.

    Raises:
        CheckFailed: it is no card; carries every fault with its key.
    """
    where = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"it has more than {LARGEST_BYTES:,} bytes")
        value = parsed_json(path.read_bytes())
    except (OSError, ValueError) as error:
        what = f"the card of an adopted kernel cannot be read: {error}"
        raise CheckFailed([Problem(what=what, where=where, cure=_anew(path.parent.name))]) from None
    return make_card(path.parent.name, value, root, where)


def make_card(slug: str, value: object, root: Path, where: str) -> AdoptedCard:
    """Make a card of its JSON; `where` stands for the file in messages.

    Raises:
        CheckFailed: carries every fault with its key.
    """
    if not isinstance(value, dict):
        raise CheckFailed([Problem(what="is JSON, but not an object", where=where, cure=_anew(slug))])
    faults = [*_type_faults(value)] or [*_value_faults(slug, value)]
    if faults:
        raise CheckFailed([Problem(what=f"{key}: {what}", where=where, cure=cure) for key, what, cure in faults])
    said = {key: value.get(key, default) for key, (_, default) in _KEYS.items()}
    own_wheels = (wheels_slug(slug),) if said["wheels"] else ()
    return AdoptedCard(
        experiment=slug,
        kernel="train" if said["trains"] else "infer",
        parameters={},
        datasets=(*said["datasets"], *own_wheels),
        models=tuple(said["models"]),
        competitions=(said["competition"],) if said["competition"] else (),
        machine_shape=GPU_SHAPE if said["gpu"] else "",
        enable_gpu=said["gpu"],
        folder=(root / said["root"]).resolve(),
        main=said["main"],
        arguments=said["arguments"],
        mode=said["mode"],
        data=tuple(said["data"]),
        without=tuple(said["without"]),
        requirements=said["requirements"],
        wheels=said["wheels"],
    )


def _anew(slug: str) -> str:
    return f"correct it, or write it anew: `python -m build adopt SCRIPT --root FOLDER --slug {slug} --overwrite`"


def _type_faults(value: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each key that is missing, unknown, or not of its type."""
    for key in value.keys() - _KEYS.keys():
        close = difflib.get_close_matches(key, _KEYS, n=1)
        yield quoted(key), "is not a key of a card", f"did you mean {close[0]}?" if close else "remove it"
    for key, (kind, default) in _KEYS.items():
        if key not in value:
            if default is None:
                yield key, "is missing", f"add it: {_NAMES[kind]}"
            continue
        given = value[key]
        fits = isinstance(given, kind) and not (kind is int and isinstance(given, bool))
        if fits and kind is list:
            fits = all(isinstance(one, str) for one in given)
        if not fits:
            yield key, f"is {quoted(given)}, not {_NAMES[kind]}", f"write {_NAMES[kind]}"


def _value_faults(slug: str, value: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each value that says what cannot be, once all types are right."""
    if value.get("format", FORMAT) != FORMAT:
        yield "format", f"is {value['format']}, and this kit reads {FORMAT}", "take a newer version of the kit"
    main = value["main"]
    if not main.endswith(".py") or main.startswith("/") or {"..", "", "."} & set(main.split("/")):
        yield "main", f"is {quoted(main)}, not the path of a script below root", "e.g. train.py or src/train.py"
    if not value["root"]:
        yield "root", "is empty", '"." is the repository itself'
    slugs = [facts(name).slug for name in competitions()]
    if value.get("competition", "") not in (*slugs, ""):
        what = f"is {quoted(value['competition'])}, for which nothing here checks rehearsals and submissions"
        yield "competition", what, f'one of {", ".join(slugs)}, or "" where none is mounted'
    for one in value.get("datasets", ()):
        if not (OWNED if "/" in one else SLUG_FORM).fullmatch(one):
            yield "datasets", f"has {quoted(one)}", "an entry is owner/slug, or slug where the dataset is your own"
        if one == wheels_slug(slug):
            yield "datasets", f"has {quoted(one)}, which `wheels` attaches by itself", "remove it"
    for one in value.get("models", ()):
        if not MODEL_HANDLE.fullmatch(one):
            yield "models", f"has {quoted(one)}", f"an entry is {MODEL_FORM}"
    for key in ("datasets", "models"):
        names = [one.rpartition("/")[2] if key == "datasets" else one for one in value.get(key, ())]
        if len(set(names)) < len(names):
            yield key, "names something twice", "name it once"
    try:
        shlex.split(value.get("arguments", ""))
    except ValueError as error:
        yield "arguments", f"cannot be split as a shell would: {error}", "close the quote"
    if value.get("mode", "auto") not in get_args(Mode):
        yield "mode", f"is {quoted(value['mode'])}", f"one of {', '.join(get_args(Mode))}"
    yield from _wheel_faults(value.get("wheels", {}))


def _wheel_faults(wheels: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with the wheels: their names and hashes become code of the notebook."""
    for python, files in wheels.items():
        if not PYTHON_FORM.fullmatch(python) or not isinstance(files, dict):
            yield "wheels", f"has {quoted(python)}", "adopt with --wheels again, which writes it"
            continue
        for name, sha256 in files.items():
            try:
                checked_sha256(sha256)
            except ValueError as error:
                yield "wheels", f"{quoted(name)}: {error}", "adopt with --wheels again, which writes it"
            if not WHEEL_NAME.fullmatch(name):
                yield "wheels", f"{quoted(name)} is not the name of a wheel", "adopt with --wheels again"


def card_json(card: AdoptedCard, root: Path) -> dict[str, Any]:
    """Return a card as its file says it; what has its default is left out."""
    own_wheels = {wheels_slug(card.slug)} if card.wheels else set()
    said = {
        "format": FORMAT,
        "main": card.main,
        "root": stored(card.folder, root),
        "competition": card.competitions[0] if card.competitions else "",
        "datasets": [one for one in card.datasets if one not in own_wheels],
        "models": list(card.models),
        "arguments": card.arguments,
        "mode": card.mode,
        "data": list(card.data),
        "without": list(card.without),
        "gpu": card.enable_gpu,
        "trains": card.trains,
        "requirements": card.requirements,
        "wheels": {python: dict(files) for python, files in card.wheels.items()},
    }
    always = ("format", "main", "root", "competition")
    return {key: said[key] for key, (_, default) in _KEYS.items() if key in always or said[key] != default}


def card_text(card: AdoptedCard, root: Path) -> str:
    """Write a card's file."""
    return json.dumps(card_json(card, root), ensure_ascii=False, indent=2) + "\n"


def stored(folder: Path, root: Path) -> str:
    """Write a folder as a card holds it: relative where it lies in the repository or beside it, else absolute."""
    root = root.resolve()
    near = folder.is_relative_to(root.parent) and root.parent != Path(root.anchor)
    return Path(os.path.relpath(folder, root)).as_posix() if near else folder.as_posix()


def stitch_adopted(card: AdoptedCard, *, folder: Path | None = None) -> Stitched:
    """Stitch an adopted kernel's notebook, of the sources in `folder` instead of its own where one is given.

    Raises:
        CheckFailed: there is no such script, or it cannot be made a notebook; carries every reason.
    """
    folder = folder or card.folder
    if not (folder / card.main).is_file():
        key, what = ("main", f"no script {card.main} in") if folder.is_dir() else ("root", "no folder")
        cure = "correct it there; a path is relative to the repository"
        where = f"{NOTEBOOKS}/{card.slug}/{CARD}"
        raise CheckFailed([Problem(what=f"{key}: there is {what} {folder}", where=where, cure=cure)])
    words: dict[str, Any] = {"arguments": card.arguments, "data": card.data, "without": card.without}
    words["parameters"] = card.parameters or None
    stitched = stitch_script(folder / card.main, folder, mode=card.mode, **words)
    if not card.wheels:
        return stitched
    cell = wheels_cell(wheels_slug(card.slug), card.wheels)
    first = next((at for at, one in enumerate(stitched.cells) if one.kind == "code"), len(stitched.cells))
    return replace(stitched, cells=(*stitched.cells[:first], cell, *stitched.cells[first:]))


def texts_held(card: AdoptedCard, stitched: Stitched) -> tuple[str, ...]:
    """Return the texts of the files that a notebook in files mode holds, as they are; nothing for another one."""
    if stitched.mode != "files":
        return ()
    return tuple((card.folder / where).read_bytes().decode() for where in stitched.sources)


def adopted_texts(card: AdoptedCard) -> dict[str, str]:
    """Return the texts below an adopted folder that its notebook may be made of, by their paths relative to it.

    Python's files, and small ones of other kinds that are text.
    """
    texts: dict[str, str] = {}
    left = LARGEST_TEXTS
    for path, status in files_below(card.folder):
        is_python = path.suffix == ".py"
        if not is_python and (status.st_size > LARGEST_TEXT or path.suffix not in TEXT_SUFFIXES):
            continue
        try:
            text = decode(path.read_bytes())
        except (OSError, UnicodeDecodeError):
            continue
        if is_python or (left := left - status.st_size) >= 0:
            texts[path.relative_to(card.folder).as_posix()] = text
    return texts


def files_below(folder: Path, kept_out: Collection[Path] = ()) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the files below a folder, sorted, but for hidden ones, caches and installed packages.

    They are at most one more than MOST_FILES.
    """
    number = 0
    for name, folders, files in os.walk(folder):
        here = Path(name)
        folders[:] = sorted(
            one for one in folders if one[0] != "." and one not in _SKIPPED and here / one not in kept_out
        )
        for file in sorted(files):
            try:
                status = (here / file).stat()
            except OSError:  # a link that leads nowhere
                continue
            yield here / file, status
            if (number := number + 1) > MOST_FILES:
                return


def fingerprint(card: AdoptedCard, root: Path) -> str | None:
    """Return one digest over everything below an adopted folder that its notebook may be made of.

    Of Python's files the content counts, of others size and time. None where there are too many to look at.
    """
    digest = hashlib.sha256()
    files = [*files_below(card.folder, {root / "out", root / NOTEBOOKS})]
    for path, status in files:
        try:
            content = path.read_bytes() if path.suffix == ".py" else b""
        except OSError:  # nobody may read it
            continue
        note = content or f"{status.st_size} {status.st_mtime_ns}".encode()
        digest.update(f"{path.relative_to(card.folder).as_posix()}\0{len(note)}\0".encode())
        digest.update(note)
    return digest.hexdigest() if len(files) <= MOST_FILES else None


def check_new(slug: str, taken: Mapping[str, str]) -> None:
    """Make sure that an adopted kernel can have this slug; `taken` maps the names of ours to what they are.

    Raises:
        UsageError: it cannot.
    """
    if not SLUG_FORM.fullmatch(slug) or not 5 <= len(slug) <= LONGEST_SLUG:
        raise UsageError(f"--slug {slug}: it is 5 to 50 letters a–z, digits and single hyphens, e.g. my-baseline")
    if slug in taken:
        raise UsageError(f"--slug {slug} is {taken[slug]} of this kit; choose another name, e.g. my-{slug}"[:200])
