"""The folders below /kaggle/input that a notebook's code asks for, beside those that its metadata lists.

Code asks with `find_dataset(slug, …)` and `find_competition(slug, …)`, or by a literal path. A slug is followed through
literals, names that are bound to them, loops over them and parameters of the notebook's own functions. What cannot be
followed (an attribute of a record, say) is left to the kernel card: it is then the card that says what is needed.
"""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from build.notebooks.check.checked_cells import Cell
from build.notebooks.check.names import Names, last_name
from build.notebooks.check.values import Reader
from build.notebooks.metadata import with_owner
from build.core.errors import Problem
from kernel_src.recipes.kernel_cards import KernelCard

RESOLVERS = {"find_dataset": "dataset_sources", "find_competition": "competition_sources"}
_MOUNT = re.compile(r"/kaggle/input/(?:(competitions)/([a-z0-9-]+)|datasets/([\w-]+/[a-z0-9-]+)|([a-z0-9-]+))(?:/|$)")


@dataclass
class Mounts:
    """What code asks for: kind of source → slug → where."""

    asked: dict[str, dict[str, str]] = field(default_factory=lambda: {kind: {} for kind in RESOLVERS.values()})
    unclear: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in RESOLVERS.values()})
    # Literal paths in the flat layout, which names a competition and a dataset alike.
    flat: dict[str, str] = field(default_factory=dict)


def find_mounts(cells: Sequence[Cell], names: Names) -> Mounts:
    """Follow every slug that the code resolves."""
    mounts = Mounts()
    reader = Reader(cells, names)
    for cell in cells:
        for node in cell.nodes:
            if isinstance(node, ast.Call) and (kind := RESOLVERS.get(last_name(node.func))):
                slugs = [k.value for k in node.keywords if k.arg == "slug"] + node.args[:1]
                found = reader.strings(slugs[0]) if slugs else None
                for slug in filter(None, found or ()):  # an empty parameter: nothing is asked for
                    mounts.asked[kind].setdefault(slug, cell.where(node.lineno))
                if found is None:
                    mounts.unclear[kind].append(cell.where(node.lineno))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in cell.prose:
                if match := _MOUNT.match(node.value):
                    where = cell.where(node.lineno)
                    if match[1]:
                        mounts.asked["competition_sources"].setdefault(match[2], where)
                    elif match[3]:
                        mounts.asked["dataset_sources"].setdefault(match[3], where)
                    elif match[4] not in ("competitions", "datasets", "notebooks", "models"):
                        mounts.flat.setdefault(match[4], where)
    return mounts


def mount_problems(mounts: Mounts, metadata: Mapping[str, Any], where: str, card: KernelCard | None) -> list[Problem]:
    """Compare what code asks for with the metadata's lists, in both directions, and the lists with the card."""
    problems = []
    cards = {
        "dataset_sources": [with_owner(slug) for slug in card.datasets] if card else [],
        "competition_sources": list(card.competitions) if card else [],
    }
    for kind, asked in mounts.asked.items():
        listed = [source for source in metadata.get(kind, []) if isinstance(source, str)]
        field_name = kind.replace("_sources", "s")
        used: set[str] = set()
        for slug, place in asked.items():
            used |= (hits := _matching(slug, listed))
            if not hits:
                cure = (
                    f"add it to {field_name} in the kernel card (kernel_src/recipes/kernel_cards.py), then `make build`"
                )
                problems.append(
                    Problem(what=f"{slug} is not listed in {kind}, so it is not there", where=place, cure=cure)
                )
        for slug in mounts.flat:
            used |= _matching(slug, listed)
        if card and sorted(listed) != sorted(cards[kind]):
            what = f"{kind} lists {_join(listed)}, the kernel card {_join(cards[kind])}"
            problems.append(Problem(what=what, where=where, cure="run `make build`"))
        if mounts.unclear[kind]:
            if not card:
                what = f"the slug cannot be followed, so {kind} cannot be checked"
                cure = "take the slug from the parameters cell"
                problems += [Problem(what=what, where=place, cure=cure) for place in mounts.unclear[kind]]
            continue  # any of the listed ones may be meant
        for source in listed:
            if source not in used:
                what = f"{kind} lists {source}, but no code asks for it"
                problems.append(Problem(what=what, where=where, cure=f"remove it from {field_name} in the kernel card"))
    everything = [source for kind in RESOLVERS.values() for source in metadata.get(kind, [])]
    for slug, place in mounts.flat.items():
        if not _matching(slug, everything):
            cure = "list it in the kernel card, and resolve it with find_dataset or find_competition"
            problems.append(Problem(what=f"/kaggle/input/{slug} is in no list of sources", where=place, cure=cure))
    return problems


def _matching(slug: str, listed: Iterable[str]) -> set[str]:
    return {source for source in listed if source == slug or ("/" not in slug and source.rpartition("/")[2] == slug)}


def _join(sources: Sequence[str]) -> str:
    return ", ".join(sources) or "nothing"
