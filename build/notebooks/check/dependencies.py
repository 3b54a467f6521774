"""What the code needs: packages that Kaggle's image is known to have, and mounts that the metadata lists."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from build.core.errors import Problem
from build.core.image import ASKS_THE_INTERNET, IMPORTS, PYTHON, REMOVED_STDLIB, ImagePackage
from build.notebooks.check.checked_cells import Cell

_RESOLVERS = {"find_dataset": "dataset_sources", "find_competition": "competition_sources"}
_MOUNT = re.compile(r"/kaggle/input/(?:(competitions)/([a-z0-9-]+)|datasets/([\w-]+/[a-z0-9-]+)|([a-z0-9-]+))(?:/|$)")
_CURE = "list it in the kernel card (kernel_src/competitions/kernel_cards.py), then `make build`"


def find_imports(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the top-level name of every import, wherever it stands, with the place of the first one."""
    found: dict[str, str] = {}
    for cell in cells:
        for node in cell.nodes:
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = ["." * node.level + (node.module or "")]
            else:
                continue
            for module in modules:
                top = module.partition(".")[0] if not module.startswith(".") else module
                found.setdefault(top, cell.where(node.lineno))
    return found


def import_problems(cells: Sequence[Cell], root: Path, image: Mapping[str, ImagePackage] = IMPORTS) -> list[Problem]:
    """List the imports that would fail on Kaggle, and the packages that would ask the internet on import."""
    problems = []
    for name, where in sorted(find_imports(cells).items()):
        if name in REMOVED_STDLIB:
            what = f"{name} is gone from the standard library of Kaggle's Python {PYTHON}"
            problems.append(Problem(what=what, where=where, cure="do without it"))
        elif name.startswith(".") or (root / name / "__init__.py").is_file():
            what = f"{name} is ours and never reaches Kaggle: only the notebook is uploaded"
            problems.append(Problem(what=what, where=where, cure="run `make build`, which inlines it"))
        elif name not in image and name not in sys.stdlib_module_names:
            cure = "do without it, or add it to build/core/image.py once a preflight has seen it there"
            problems.append(Problem(what=f"{name} is not known to be in Kaggle's image", where=where, cure=cure))
    return problems + _asking_problems(cells)


def _asking_problems(cells: Sequence[Cell]) -> list[Problem]:
    """List packages that look for their own updates when imported, unless a variable was set in good time."""
    problems = []
    for package, variable in ASKS_THE_INTERNET.items():
        quiet = False
        for cell in cells:
            statements = sorted((node for node in cell.nodes if hasattr(node, "lineno")), key=_position)
            for node in statements:
                if isinstance(node, ast.Constant) and node.value == variable and id(node) not in cell.prose:
                    quiet = True
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if not quiet and any(name.partition(".")[0] == package for name in names):
                    what = f"{package} asks the internet for its newest version when it is imported"
                    cure = f'os.environ["{variable}"] = "1" in an earlier cell'
                    problems.append(Problem(what=what, where=cell.where(getattr(node, "lineno", 0)), cure=cure))
    return problems


def _position(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def mount_problems(cells: Sequence[Cell], metadata: Mapping[str, Any]) -> list[Problem]:
    """List the folders below /kaggle/input that the code names and the metadata does not list.

    Code names them by `find_dataset("slug", …)` and `find_competition("slug", …)`, or by a path. A slug in a variable
    is not followed: the kernel card puts the same slugs into parameters and metadata, and a rehearsal mounts only
    those.
    """
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
