"""The order in which Python would run the modules, found by walking the script's imports as it would.

The script's own cells are the thread; each module hangs just before the cell that first needs it, behind everything it
needs itself. A cell that has already done something when it imports is cut there, so that the order stays Python's.
"""

import ast
from dataclasses import dataclass, field

from build.stitch.cells import Segment, first_line
from build.stitch.library import Imported, Library
from build.stitch.modules import MAIN, STANDARD_LIBRARY, Module
from build.stitch.purity import is_inert
from build.stitch.scopes import is_main_guard

THIRD_PARTY = "third-party imports"


@dataclass(frozen=True)
class Part:
    """A cell of the script, or a piece of one that was cut at an import."""

    segment: Segment
    number: int  # from 1
    first: int  # line
    last: int


Step = Module | Part | str  # the string is THIRD_PARTY: here the gathered imports stand


@dataclass(eq=False)
class Plan:
    """What the notebook holds, in order."""

    main: Module
    modules: list[Module] = field(default_factory=list)  # without the script, in the order in which they run
    steps: list[Step] = field(default_factory=list)

    @property
    def everything(self) -> list[Module]:
        """The modules and the script, which comes last."""
        return [*self.modules, self.main]


def is_gathered(imported: Imported) -> bool:
    """Whether an import of somebody else's package moves to the gathered cells."""
    return imported.meaning.kind == "outside" and imported.site.top_level and not imported.runs


def is_third_party(imported: Imported) -> bool:
    """Whether an import is neither ours nor the standard library's."""
    return not imported.runs and imported.meaning.module.split(".")[0] not in STANDARD_LIBRARY


def is_eager(imported: Imported, module: Module) -> bool:
    """Whether an import of ours runs as soon as its module does."""
    guarded = module.is_main and len(imported.site.parents) == 1 and is_main_guard(imported.site.parents[0])
    return imported.site.top_level or guarded


def make_plan(library: Library, main: Module, segments: list[Segment]) -> Plan:
    """Walk the script's statements; everything that the order forbids is noted as a problem."""
    walk = _Walk(library, main)
    for segment in segments:
        walk.cell(segment)
    return walk.plan


class _Walk:
    def __init__(self, library: Library, main: Module) -> None:
        self.library = library
        self.plan = Plan(main)
        self.done: set[str] = set()
        self.begun: list[str] = [MAIN]
        self.gathered = False

    def cell(self, segment: Segment) -> None:
        """Take one cell of the script, with the modules that it needs in front of it."""
        main = self.plan.main
        statements = [node for node in main.tree.body if segment.first <= first_line(node) <= segment.last]
        if segment.kind == "markdown" or not statements:
            self.plan.steps.append(Part(segment, 1, segment.first, segment.last))
            return
        number, first, before, moved_over = 1, segment.first, list[Step](), list[ast.stmt]()
        for statement in statements:
            needed = self.needs_of(statement)
            if needed and not all(is_inert(node, main, self.library) for node in moved_over):
                line = self.line_above_comments(first_line(statement), first)
                if "parameters" in segment.tags:
                    self.library.refuse(main.at(statement), "import below code in the parameters cell", "move it up")
                self.plan.steps += [*before, Part(segment, number, first, line - 1)]
                number, first, before, moved_over = number + 1, line, [], []
            before += needed
            moved_over.append(statement)
        self.plan.steps += [*before, Part(segment, number, first, segment.last)]

    def line_above_comments(self, line: int, lowest: int) -> int:
        """Return where the comment lines directly above a statement begin: they belong to it."""
        while line > lowest and self.plan.main.lines[line - 2].startswith("#"):
            line -= 1
        return line

    def needs_of(self, statement: ast.stmt) -> list[Step]:
        """Return what must stand before one statement of the script."""
        main = self.plan.main
        first, last = first_line(statement), statement.end_lineno or statement.lineno
        steps: list[Step] = []
        for imported in self.library.imports(main):
            if first <= imported.site.node.lineno <= last:
                steps += self.run(main, imported)
                if is_gathered(imported) and is_third_party(imported) and not self.gathered:
                    self.gathered = True
                    steps.append(THIRD_PARTY)
        return steps

    def run(self, module: Module, imported: Imported) -> list[Step]:
        """Return the modules that one import runs and that have not run yet."""
        steps: list[Step] = []
        if imported.site.typing_only or imported.left_out:
            return steps
        if imported.target in self.begun:
            circle = [*self.begun[self.begun.index(imported.target) :], imported.target]
            self.library.refuse(
                module.at(imported.site.node),
                f"cycle of imports: {' → '.join(circle)}",
                "move what both need into a third module",
            )
            return steps
        eager = is_eager(imported, module)
        for name in imported.runs:
            if name in self.done or name in self.begun:
                continue
            found = self.library.load(name)
            if found is None:
                continue
            if found.path == self.plan.main.path:
                self.library.refuse(
                    module.at(imported.site.node),
                    f"{name} is the script itself: it would run twice",
                    "move what is shared",
                )
                continue
            arrived = self.visit(found)
            if not eager:
                self.require_inert(module, imported, [step for step in arrived if isinstance(step, Module)])
            steps += arrived
        return steps

    def visit(self, module: Module) -> list[Step]:
        """Return a module's steps: what it needs, then itself."""
        self.begun.append(module.name)
        steps: list[Step] = []
        for imported in self.library.imports(module):
            steps += self.run(module, imported)
        self.begun.pop()
        self.done.add(module.name)
        gathers = any(is_gathered(one) and is_third_party(one) for one in self.library.imports(module))
        if gathers and not self.gathered:
            self.gathered = True
            steps.append(THIRD_PARTY)
        self.plan.modules.append(module)
        return [*steps, module]

    def require_inert(self, module: Module, imported: Imported, arrived: list[Module]) -> None:
        """A lazily imported module runs when the function is called; in the notebook, earlier."""
        for found in arrived:
            for node in found.tree.body:
                if not is_inert(node, found, self.library):
                    self.library.refuse(
                        module.at(imported.site.node),
                        f"this import inside a function would run {found.at(node)} only when called, "
                        "the notebook runs it before",
                        "import it at the top of the file",
                    )
                    break
