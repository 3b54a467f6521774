"""Chapters: a package whose docstring begins with a heading is one, and its modules' headings are one level below.

A package without such a docstring has no chapter; its modules stand in the notebook with the headings that they have.
"""

import ast
import re

from build.stitch.cells import markdown
from build.stitch.library import Library
from build.stitch.modules import Module
from build.stitch.notebook import CHAPTERS, Cell, make_id
from build.stitch.order import Part, Plan, package_of

_HEADING = re.compile(r"(#+) +(.+)")


class Chapters:
    """Says, from the top of the notebook to its end, which chapter begins where."""

    def __init__(self, plan: Plan, library: Library) -> None:
        """Begin above the first cell."""
        self.plan = plan
        self.library = library
        self.inside = ""  # the package in which the notebook is
        self.times: dict[str, int] = {}  # package → how often its chapter has begun

    def title(self, module: Module) -> bool:
        """Whether a module's package has a chapter."""
        package = self.library.load(package_of(module))
        return package is not None and package.is_package and bool(_heading(_docstring(package))[0])

    def leave(self) -> None:
        """Go on with the script."""
        self.inside = ""

    def heading(self, number: int) -> list[Cell]:
        """Return the heading above a module, by its place in the notebook, where it begins or continues a chapter."""
        module = self.plan.layout[number]
        assert isinstance(module, Module)
        package = self.library.load(package_of(module))
        if package is None or package.name == self.inside:
            return []
        self.inside = package.name
        if not self.title(module):
            return []
        times = self.times[package.name] = self.times.get(package.name, 0) + 1
        text = _docstring(package)
        folded = self._ends_by_heading(number, len(_heading(text)[0]))
        if times == 1:
            return docstring_cell(package, folded=folded)
        level, title = _heading(text)
        id_ = make_id(package.where, 0, times)
        return [Cell(id_, "markdown", f"{level} {title} (continued)", CHAPTERS, folded=folded)]

    def _ends_by_heading(self, number: int, level: int) -> bool:
        """Whether the script goes on below with a heading, so that a folded chapter hides nothing of the script."""
        part = next((step for step in self.plan.layout[number:] if isinstance(step, Part)), None)
        if part is None or part.segment.kind != "markdown":
            return False
        found = _heading(markdown(self.plan.main, part.segment))
        return 0 < len(found[0]) <= level


def docstring_cell(module: Module, *, lower: bool = False, folded: bool = False) -> list[Cell]:
    """Return the cell of a module's docstring, its heading one level lower if asked; none where there is no text."""
    text = _docstring(module)
    if module.docstring is None or not text.strip():
        return []
    text = f"#{text}" if lower and _heading(text)[0] else text
    span = (module.docstring.lineno, module.docstring.end_lineno or 0)
    return [Cell(make_id(module.where, 0), "markdown", text, module.where, span=span, folded=folded)]


def _docstring(module: Module) -> str:
    return ast.get_docstring(module.tree) or ""


def _heading(text: str) -> tuple[str, str]:
    """Return level and title of the heading that a text begins with, "" twice where it begins otherwise."""
    found = _HEADING.match(text)
    return (found[1], found[2].strip()) if found else ("", "")
