"""The folders below /kaggle/input that a notebook's code names, beside those that its metadata lists.

Code names them by `find_dataset("slug", …)` and `find_competition("slug", …)`, or by a path. A slug in a variable is
not followed: the kernel card puts the same slugs into parameters and metadata, and a rehearsal mounts only those.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from build.core.errors import Problem
from build.notebooks.check.checked_cells import Cell

_RESOLVERS = {"find_dataset": "dataset_sources", "find_competition": "competition_sources"}
_MOUNT = re.compile(r"/kaggle/input/(?:(competitions)/([a-z0-9-]+)|datasets/([\w-]+/[a-z0-9-]+)|([a-z0-9-]+))(?:/|$)")
_CURE = "list it in the kernel card (kernel_src/recipes/kernel_cards.py), then `make build`"


def mount_problems(cells: Sequence[Cell], metadata: Mapping[str, Any]) -> list[Problem]:
    """List what the code names that the metadata does not list."""
    problems = []
    for cell in cells:
        for node in cell.nodes:
            if isinstance(node, ast.Constant) and id(node) in cell.prose:
                continue
            for slug, kinds in _named(node):
                listed = [source for kind in kinds for source in metadata.get(kind, []) if isinstance(source, str)]
                if not any(slug in (source, source.rpartition("/")[2]) for source in listed):
                    what = f"{slug} is not listed in {' or '.join(kinds)}, so it is not there"
                    problems.append(Problem(what=what, where=cell.where(getattr(node, "lineno", 0)), cure=_CURE))
    return problems


def _named(node: ast.AST) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each slug that stands in an expression, with the lists of the metadata that it may be in."""
    if isinstance(node, ast.Call):
        kind = _RESOLVERS.get(getattr(node.func, "id", getattr(node.func, "attr", "")))
        slugs = [k.value for k in node.keywords if k.arg == "slug"] + node.args[:1]
        slug = slugs[0].value if slugs and isinstance(slugs[0], ast.Constant) else None
        if kind and isinstance(slug, str) and slug:
            yield slug, [kind]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := _MOUNT.match(node.value)):
        if match[1]:
            yield match[2], ["competition_sources"]
        elif match[3]:
            yield match[3], ["dataset_sources"]
        elif match[4] not in ("competitions", "datasets", "notebooks", "models"):
            yield match[4], list(_RESOLVERS.values())  # the flat layout names a competition and a dataset alike
