"""The build that a notebook came from, by the hash that the notebook carries: one side of every three-way merge.

`make build` notes each build's sources in `out/builds/`, named by content. A build that is not there (a fresh clone, a
notebook from a colleague) is looked for in git's history. Either is used only if its sources hash to the same; what
the store says of itself is checked before, for it may have come with a copy of the whole folder.
"""

import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.untrusted import inside
from build.notebooks.adopted import (
    adopted_cards,
    adopted_texts,
    card_json,
    card_path,
    make_card,
    read_card,
    stitch_adopted,
)
from build.notebooks.adopted_card import AdoptedCard
from build.notebooks.checked import is_relative_name, is_source_name, read_parameters
from build.notebooks.edited_cells import built_from
from build.notebooks.history import builds_in_history, sources_in_history
from build.notebooks.stamp import SOURCES
from build.notebooks.writing import SYNC, put
from build.stitch.assembly import compose
from build.stitch.modules import decode
from build.stitch.notebook import Cell
from build.stitch.parameters import literal
from kernel_src.runtime.manifest import checked_sha256, checked_slug
from kernel_src.runtime.untrusted import quoted

BUILDS = Path("out", "builds")
GUESSES = 4  # a notebook's name leaves no more; those of all notebooks, for each commit, would take minutes
_KERNEL = re.compile(rf"{SOURCES}/kernels/\w+\.py")
_TEXTS = "sources"  # its folder of sources, named by content
LIMIT_BYTES = 100 << 20
LIMIT_S = 90 * 24 * 3600  # since it was built last
YOUNG_S = 24 * 3600  # younger ones stay whatever they weigh: a copy may be open in some editor
PUSHES = 3  # of each kernel: the site may or may not have a push whose answer was lost
_PUSHED = Path("out", "push", "pushed")
_LYING = ("notebooks/*/*.ipynb", "out/overwritten/*/*.ipynb", f"{SYNC}/kept/*.ipynb", f"{SYNC}/pulled/*.ipynb")


@dataclass(frozen=True)
class Base:
    """One build: what went in and the cells that came out."""

    sha256: str
    main: str  # the script, relative to the root
    parameters: dict[str, object]
    texts: dict[str, str]  # every Python file of the sources, by its path relative to the root
    cells: list[Cell]
    arguments: str | None = None  # the command line of somebody else's script; None: a kernel of ours
    renamed: Mapping[str, str] = field(default_factory=dict)  # name in the cells → name in the sources

    @property
    def adopted(self) -> str:
        """The slug of the adopted kernel that it is of, "" for one of ours."""
        return ""

    def restitched(self, texts: Mapping[str, str]) -> "Base":
        """Build the same from other sources, wherever they lie.

        Raises:
            CheckFailed: they cannot be stitched.
        """
        return stitch_texts(texts, self.main, self.parameters, arguments=self.arguments)

    def today(self, root: Path) -> dict[str, str]:
        """Return the sources as they are now."""
        return read_sources(root)

    def remembered(self, root: Path) -> None:
        """Note it under its hash."""
        remember(root, self.sha256, self.main, self.parameters, self.texts, self.arguments)


@dataclass(frozen=True)
class AdoptedBase(Base):
    """A build of an adopted kernel; its texts are those of the card's folder."""

    card: AdoptedCard = field(kw_only=True)

    @property
    def adopted(self) -> str:
        """Its slug."""
        return self.card.slug

    def restitched(self, texts: Mapping[str, str]) -> "AdoptedBase":
        """Build the same from other sources.

        Raises:
            CheckFailed: they cannot be stitched.
        """
        return _adopted_base(self.card, texts)

    def today(self, root: Path) -> dict[str, str]:
        """Return the sources as they are now, in the folder that the card on disk names.

        Raises:
            CheckFailed: there is no such card any more.
        """
        return adopted_texts(read_card(card_path(self.card.slug, root), root))

    def remembered(self, root: Path) -> None:
        """Note it under its hash, with its card."""
        remember_adopted(root, self.sha256, self.card, self.texts)


def read_sources(root: Path) -> dict[str, str]:
    """Return the text of every Python file of the sources as the stitcher reads it."""
    paths = {path.relative_to(root).as_posix(): path for path in sorted((root / SOURCES).rglob("*.py"))}
    return {
        where: decode(path.read_bytes()) for where, path in paths.items() if is_source_name(where) and path.is_file()
    }


def remember(
    root: Path,
    sha256: str,
    main: str,
    parameters: Mapping[str, object],
    texts: Mapping[str, str],
    arguments: str | None = None,
) -> None:
    """Note a build under its hash; one that is there stays, and is young again."""
    remember_all(root, {sha256: (main, parameters)}, texts, arguments)


def remember_adopted(root: Path, sha256: str, card: AdoptedCard, texts: Mapping[str, str]) -> None:
    """Do the same with a build of an adopted kernel, whose card is part of it."""
    noted = {"adopted": card.slug, "card": card_json(card, root)}
    kept = {where: text for where, text in texts.items() if is_relative_name(where)}
    remember_all(root, {sha256: (card.main, {})}, kept, card.arguments, noted)


def remember_all(
    root: Path,
    builds: Mapping[str, tuple[str, Mapping[str, object]]],
    texts: Mapping[str, str],
    arguments: str | None = None,
    more: Mapping[str, object] | None = None,
) -> None:
    """Do the same with several builds of the same sources, each a script and its parameters by their hash."""
    with _store_held(root):
        entries = {sha256: root / BUILDS / f"{checked_sha256(sha256)}.json" for sha256 in builds}
        there = {sha256 for sha256, entry in entries.items() if _read_entry(entry) is not None}
        for sha256 in there:
            os.utime(entries[sha256])
        new = {sha256: entry for sha256, entry in entries.items() if sha256 not in there}
        blobs = {where: hashlib.sha256(text.encode()).hexdigest() for where, text in texts.items()} if new else {}
        for where, blob in blobs.items():
            path, content = root / BUILDS / _TEXTS / blob, texts[where].encode()
            if not path.is_file() or path.read_bytes() != content:
                put(path, content)
        for sha256, entry in new.items():
            main, parameters = builds[sha256]
            # As Python's text: JSON would turn tuples into lists, and the hash tells them apart.
            noted: dict[str, object] = {"main": main, "parameters": literal(dict(parameters)), "sources": blobs}
            if arguments is not None:
                noted["arguments"] = arguments
            noted |= more or {}
            put(entry, (json.dumps(noted, indent=1) + "\n").encode())


@contextmanager
def _store_held(root: Path) -> Iterator[None]:
    """Hold out/builds/ for this process, so that nothing is thrown away that another one is about to name."""
    folder = root / BUILDS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def find(root: Path, sha256: str, guesses: Sequence[Mapping[str, object]] = ()) -> Base:
    """Return the build of a hash; `guesses` are parameters it may have had, for a build from git's history.

    Nothing is written: a build from git's history is noted by whoever writes an edit of it back.

    Raises:
        CheckFailed: neither out/builds/ nor git knows it.
    """
    if base := _from_store(root, sha256) or _adopted_today(root, sha256):
        return base
    for texts, main, parameters in builds_in_history(root, sha256):
        for guess in (*guesses, parameters):
            values = {
                name: parameters.get(name, value) if name != "SOURCE_SHA256" else "" for name, value in guess.items()
            }
            for one in (values, dict(guess)):
                if base := _stitched_before(texts, main, one, sha256):
                    return base
    # Most notebooks are built on demand and in no commit; their sources are.
    for texts in chain([read_sources(root)], sources_in_history(root)) if len(guesses) <= GUESSES else ():
        for main, guess in ((main, guess) for main in texts if _KERNEL.fullmatch(main) for guess in guesses):
            named = all(f"\n{name} = " in texts[main] for name in guess)
            if named and (base := _stitched_before(texts, main, dict(guess), sha256)):
                return base
    raise CheckFailed(
        [
            Problem(
                what=f"the build it came from, sources sha256 {sha256[:12]}…, is neither in {BUILDS.as_posix()}/ "
                "nor in git's history, or was made by another version of the kit",
                cure="check out the commit it was built from and `make build` there; then sync again",
            )
        ]
    )


def stitch_texts(
    texts: Mapping[str, str],
    main: str,
    parameters: Mapping[str, object],
    *,
    built_before: bool = False,
    arguments: str | None = None,
) -> Base:
    """Stitch sources that lie nowhere; of those that were built before, no rule is asked again.

    Raises:
        CheckFailed: they cannot be stitched.
    """
    with tempfile.TemporaryDirectory(prefix="kit-sync-") as name:
        folder = Path(name).resolve()
        odd = [where for where in {**texts, main: ""} if not is_source_name(where)]
        try:
            for where, text in ({} if odd else texts).items():
                path = folder / where
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode())
        except (FileExistsError, NotADirectoryError):  # one source's name is another's folder
            odd.append(where)
        if odd:
            what, cure = f"{quoted(odd[0])} is not the path of a source", "name it by a plain path below kernel_src/"
            raise CheckFailed([Problem(what=what, where=SOURCES, cure=cure)])
        stitched = compose(folder / main, folder, parameters, built_before=built_before, arguments=arguments)
    cells, renamed = list(stitched.cells), stitched.renamed
    return Base(stitched.source_sha256, main, dict(parameters), dict(texts), cells, arguments, renamed)


def _stitched_before(
    texts: Mapping[str, str],
    main: str,
    parameters: Mapping[str, object],
    sha256: str,
    *,
    built_before: bool = False,
    arguments: str | None = None,
) -> Base | None:
    """Return the build if these sources make it; not those of another kit, which this one may be unable to stitch."""
    try:
        base = stitch_texts(texts, main, parameters, built_before=built_before, arguments=arguments)
    except (CheckFailed, UsageError, RecursionError, MemoryError):
        return None
    return base if base.sha256 == sha256 else None


def _from_store(root: Path, sha256: str) -> Base | None:
    noted = _read_entry(root / BUILDS / f"{checked_sha256(sha256)}.json")
    if noted is None:  # never built here, deleted, or damaged: git may have it
        return None
    main, parameters, blobs, arguments, adopted = noted
    texts = {}
    for where, blob in blobs.items():
        try:
            content = (root / BUILDS / _TEXTS / blob).read_bytes()
            texts[where] = content.decode()
        except (OSError, UnicodeDecodeError):
            return None
        if hashlib.sha256(content).hexdigest() != blob:
            return None
    if not adopted:
        return _stitched_before(texts, main, parameters, sha256, built_before=True, arguments=arguments)
    try:
        card = make_card(checked_slug(adopted["adopted"]), adopted["card"], root, str(BUILDS))
        again = _adopted_base(card, texts)
    except (CheckFailed, UsageError, ValueError, RecursionError, MemoryError):
        return None
    return again if again.sha256 == sha256 else None


def _adopted_base(card: AdoptedCard, texts: Mapping[str, str], folder: Path | None = None) -> AdoptedBase:
    """Stitch an adopted kernel's texts, which lie in a folder or nowhere."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="kit-sync-") as name:
            for where, text in texts.items():
                put(inside(Path(name).resolve(), where), text.encode())
            return _adopted_base(card, texts, Path(name).resolve())
    stitched = stitch_adopted(card, folder=folder)
    cells, renamed = list(stitched.cells), stitched.renamed
    return AdoptedBase(stitched.source_sha256, card.main, {}, dict(texts), cells, card.arguments, renamed, card=card)


def _adopted_today(root: Path, sha256: str) -> AdoptedBase | None:
    """Return the build if an adopted kernel's sources of today make it."""
    for card in adopted_cards(root):
        try:
            today = _adopted_base(card, adopted_texts(card), card.folder)
        except (CheckFailed, UsageError, RecursionError, MemoryError):
            continue
        if today.sha256 == sha256:
            return today
    return None


_Noted = tuple[str, dict[str, object], dict[str, str], str | None, dict[str, Any]]


def _read_entry(entry: Path) -> _Noted | None:
    """Return a noted build's script, parameters, sources by their hashes, arguments, and what makes it an adopted one.

    None where it is absent or damaged.
    """
    try:
        noted = json.loads(entry.read_bytes())
        main, blobs = noted["main"], dict(noted["sources"])
        parameters = read_parameters(noted["parameters"])
        blobs = {where: checked_sha256(blob) for where, blob in blobs.items()}
        arguments = noted.get("arguments")
        adopted = {key: noted[key] for key in ("adopted", "card")} if "adopted" in noted else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_name = is_relative_name if adopted else is_source_name
    right = main in blobs and all(map(is_name, blobs)) and isinstance(arguments, str | None)
    return (main, parameters, blobs, arguments, adopted) if right else None


def noted_slug(root: Path, sha256: str) -> str:
    """Return the adopted kernel that a build is noted to be of, "" where it is not noted or is one of ours."""
    noted = _read_entry(root / BUILDS / f"{checked_sha256(sha256)}.json") if sha256 else None
    return str(noted[4].get("adopted", "")) if noted else ""


def _blobs_of(entry: Path) -> set[str]:
    """Return the hashes of the texts that a noted build has; of a damaged one nothing can be rebuilt."""
    noted = _read_entry(entry)
    return set(noted[2].values()) if noted else set()


# -- out/builds/ stays small --------------------------------------------------------------------------------------


def prune(root: Path, limit_bytes: int = LIMIT_BYTES, limit_s: float = LIMIT_S) -> list[str]:
    """Forget builds that nothing needs, those that are old and the oldest where there is too much; return their hashes.

    One that was committed is still found in git's history.
    """
    folder = root / BUILDS
    now = time.time()
    with _store_held(root):
        entries = {path: path.stat() for path in folder.glob("*.json")}
        sizes = {path.name: path.stat().st_size for path in (folder / _TEXTS).glob("*") if path.is_file()}
        total = sum(sizes.values()) + sum(status.st_size for status in entries.values())
        if total <= limit_bytes and all(now - status.st_mtime <= limit_s for status in entries.values()):
            return []
        needed = needed_builds(root)
        blobs = {path: _blobs_of(path) for path in entries}
        users = Counter(blob for names in blobs.values() for blob in names)
        for blob in sizes.keys() - users.keys():  # left by a kill
            (folder / _TEXTS / blob).unlink()
            total -= sizes[blob]
        deleted = []
        for path, status in sorted(entries.items(), key=lambda item: item[1].st_mtime):
            age_s = now - status.st_mtime
            if path.stem in needed or not (age_s > limit_s or (total > limit_bytes and age_s > YOUNG_S)):
                continue
            path.unlink()  # first: a kill leaves texts without a build, never a build without its texts
            deleted.append(path.stem)
            total -= status.st_size
            users.subtract(blobs[path])
            for blob in blobs[path]:
                if users[blob] == 0:
                    (folder / _TEXTS / blob).unlink(missing_ok=True)
                    total -= sizes.get(blob, 0)
    return deleted


def needed_builds(root: Path) -> set[str]:
    """Return the hashes of the builds whose notebooks may still be edited.

    They lie here (built, kept, pulled, overwritten), or are the last pushes of a kernel.
    """
    notebooks = [path for pattern in _LYING for path in root.glob(pattern)]
    for kernel in (root / _PUSHED).glob("*"):
        notebooks += sorted(kernel.glob("*.ipynb"), key=lambda path: path.stat().st_mtime)[-PUSHES:]
    return {built_from(path.read_bytes()) for path in notebooks if path.is_file()} - {""}
