"""Imports: only the standard library of the image's Python, and the packages that the image is known to have."""

import ast
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from build.core.errors import Problem
from build.core.image import ASKS_THE_INTERNET, IMPORTS, PYTHON, REMOVED_STDLIB, ImagePackage
from build.notebooks.check.checked_cells import Cell


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
