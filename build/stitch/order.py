"""The order in which Python would run the modules, found by walking the script's imports as it would.

The script's own cells are the thread; each module hangs just before the cell that first needs it, behind everything it
needs itself. A cell that has already done something when it imports is cut there, so that the order stays Python's.

The modules that hang before one cell are read package by package. Among them
1. a module comes after everything that it imports, and modules that do something when they run (all but inert ones)
   keep Python's order, among themselves and with the third-party imports: nothing computes anything else;
2. a package is left unfinished only where its next module needs something outside it, and then only if no other
   package can be finished in one go. So if the packages need each other in no circle, none is left and entered again;
3. whatever is still free is in Python's order.
"""

import ast
from dataclasses import dataclass, field

from build.stitch.cells import Segment, first_line
from build.stitch.decided import standing_for
from build.stitch.library import Imported, Library, with_parents
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


@dataclass(frozen=True)
class Piece:
    """The beginning of a module that does something before the module's next import runs another one."""

    module: Module
    number: int  # from 0
    first: int  # line
    last: int


Step = Module | Part | Piece | str  # the string is THIRD_PARTY: here the gathered imports stand


@dataclass(eq=False)
class Plan:
    """What the notebook holds, in order."""

    main: Module
    modules: list[Module] = field(default_factory=list)  # without the script, in the order in which they run
    steps: list[Step] = field(default_factory=list)  # in the order in which Python runs them
    layout: list[Step] = field(default_factory=list)  # the same in the order in which the notebook shows them

    def cuts(self, module: Module) -> list[int]:
        """Return the lines after which a module is cut; no other than somebody else's is."""
        return [step.last for step in self.steps if isinstance(step, Piece) and step.module is module]

    @property
    def everything(self) -> list[Module]:
        """The modules and the script, which comes last."""
        return [*self.modules, self.main]

    def is_like(self, other: "Plan") -> bool:
        """Whether another plan shows the same modules and parts in the same order."""
        return list(map(_label, self.layout)) == list(map(_label, other.layout))


def _label(step: Step) -> tuple[object, ...]:
    if isinstance(step, Part):
        return step.segment.ordinal, step.number
    if isinstance(step, Piece):
        return step.module.name, step.number
    return (step,) if isinstance(step, str) else (step.name,)


def is_gathered(imported: Imported) -> bool:
    """Whether an import of somebody else's package moves to the gathered cells."""
    return imported.meaning.kind == "outside" and imported.site.top_level and not imported.runs and not imported.stays


def is_third_party(imported: Imported) -> bool:
    """Whether an import is neither ours nor the standard library's."""
    return not imported.runs and imported.meaning.module.split(".")[0] not in STANDARD_LIBRARY


def is_eager(imported: Imported, module: Module) -> bool:
    """Whether an import of ours runs as soon as its module does."""
    guarded = module.is_main and len(imported.site.parents) == 1 and is_main_guard(imported.site.parents[0])
    return imported.site.top_level or guarded


def package_of(step: Step) -> str:
    """Return the package that a module lies in, of a package's own module the package; "" for anything else.

    A piece of a module is as early as it may be.
    """
    if not isinstance(step, Module):
        return ""
    return step.name if step.is_package else step.name.rpartition(".")[0] or step.name


def _is_markdown(step: Step) -> bool:
    return isinstance(step, Part) and step.segment.kind == "markdown"


def _does_nothing(module: Module, library: Library) -> bool:
    return all(is_inert(node, module, library) for node in module.tree.body)


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
        self.needs: dict[str, set[str]] = {}  # module → modules that run before it, for it

    def cell(self, segment: Segment) -> None:
        """Take one cell of the script, with the modules that it needs in front of it."""
        main = self.plan.main
        statements = [node for node in main.tree.body if segment.first <= first_line(node) <= segment.last]
        if segment.kind == "markdown" or not statements:
            self.place([], Part(segment, 1, segment.first, segment.last))
            return
        number, first, before, moved_over = 1, segment.first, list[Step](), list[ast.stmt]()
        for statement in statements:
            needed = self.needs_of(statement)
            if needed and not all(is_inert(node, main, self.library) for node in moved_over):
                line = self.line_above_comments(first_line(statement), first)
                if "parameters" in segment.tags:
                    self.library.refuse(main.at(statement), "import below code in the parameters cell", "move it up")
                self.place(before, Part(segment, number, first, line - 1))
                number, first, before, moved_over = number + 1, line, [], []
            before += needed
            moved_over.append(statement)
        self.place(before, Part(segment, number, first, segment.last))

    def place(self, before: list[Step], part: Part) -> None:
        """Put a part of the script down, with what it needs above it and above the Markdown that leads up to it."""
        self.plan.steps += [*before, part]
        above = len(self.plan.layout)
        while before and above > 1 and _is_markdown(self.plan.layout[above - 1]):  # the title stays on top
            above -= 1
        self.plan.layout[above:above] = self.by_package(before)
        self.plan.layout.append(part)

    def by_package(self, steps: list[Step]) -> list[Step]:
        """Return the steps in an order that stays in one package as long as it may."""
        needs, last = dict[Step, set[Step]](), set[Step]()
        for place, step in enumerate(steps):
            names = self.needs[step.name] if isinstance(step, Module) else set()
            needs[step] = {one for one in steps if isinstance(one, Module) and one.name in names}
            if isinstance(step, Piece):  # it has run nothing that comes later
                needs[step] = set(steps[:place])
            if not isinstance(step, Module) or not self.library.once(_does_nothing, step):
                needs[step] |= last
                last = {step}
            elif self.gathers(step):
                needs[step] |= {one for one in steps if one == THIRD_PARTY}
        left, order, package = list(steps), list[Step](), ""
        while left:
            ready = [step for step in left if needs[step].issubset(order)]
            packages = dict.fromkeys(map(package_of, ready))
            if "" in packages:  # the third-party imports: as early as they may
                package = ""
            elif package not in packages:
                rest = {name: [step for step in left if package_of(step) == name] for name in packages}
                whole = [name for name, own in rest.items() if all(needs[s].issubset([*order, *own]) for s in own)]
                package = next(iter(whole or packages))
            step = next(step for step in ready if package_of(step) == package)
            order.append(step)
            left.remove(step)
        return order

    def gathers(self, module: Module) -> bool:
        return any(is_gathered(one) and is_third_party(one) for one in self.library.imports(module))

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
        if imported.site.typing_only or not self.library.holds(imported.part):
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
            if twin := next((one for one in self.plan.modules if one.path == found.path and one.name != name), None):
                what = f"{twin.where} is imported as {twin.name} and as {name}: Python runs it twice"
                self.library.refuse(module.at(imported.site.node), what, f"import it as {twin.name} everywhere")
            arrived = self.visit(found)
            if not eager:
                self.require_inert(module, imported, [step for step in arrived if isinstance(step, Module)])
            steps += arrived
        self.needs.setdefault(module.name, set()).update(self.done.intersection(imported.runs))
        return steps

    def visit(self, module: Module) -> list[Step]:
        """Return a module's steps: what it needs, then itself."""
        self.begun.append(module.name)
        self.needs[module.name] = {name for name in with_parents(module.name) if name in self.done}
        steps: list[Step] = []
        pieces: list[Piece] = []
        for imported in self.library.imports(module):
            arrived = self.run(module, imported)
            if self.library.foreign and arrived:
                piece = self.piece_above(module, imported, pieces[-1] if pieces else None)
                if piece is not None:
                    steps += [*self.third_party(module), piece]
                    pieces.append(piece)
            steps += arrived
        self.begun.pop()
        self.done.add(module.name)
        self.plan.modules.append(module)
        return [*steps, *self.third_party(module), module]

    def third_party(self, module: Module) -> list[Step]:
        """Return the gathered imports where this is the first module that has some."""
        if self.gathered or not self.gathers(module):
            return []
        self.gathered = True
        return [THIRD_PARTY]

    def piece_above(self, module: Module, imported: Imported, before: Piece | None) -> Piece | None:
        """Return what a module does between its last cut and an import that runs another module; None for nothing."""
        first, line = before.last + 1 if before else 1, standing_for(module, imported.site.node).lineno
        above = [node for node in module.tree.body if first <= first_line(node) < line]
        above = [node for node in above if (node.end_lineno or node.lineno) < line]
        if not imported.site.top_level or all(is_inert(node, module, self.library) for node in above):
            return None
        return Piece(module, before.number + 1 if before else 0, first, line - 1)

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
