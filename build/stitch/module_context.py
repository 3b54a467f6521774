"""What one module can see: its own text and what its imports mean, and nothing else.

So what the rules say of it can be kept. An edit leaves almost every module with the context that it had: a build in
the same process applies the rules to the others only.
"""

from dataclasses import dataclass, field
from typing import Protocol

from build.core.errors import Problem
from build.stitch.library import Imported, Library
from build.stitch.modules import Meaning, Module


class Meanings(Protocol):
    """Says what a module's imports do and what its names mean: the library, or the module's context."""

    def imports(self, module: Module) -> list[Imported]:
        """Return every import clause of a module, resolved."""

    def meaning(self, source: str, name: str) -> Meaning | None:
        """Return what a module-level name means in a module."""

    def defined_in(self, meaning: Meaning) -> Module | None:
        """Return the module where a name's value is made, where that module is seen."""


def named(meanings: Meanings, module: Module, name: str) -> Meaning | None:
    """Return what a module-level name means in a module, type-checking imports included."""
    meaning = meanings.meaning(module.name, name)
    if meaning is None:
        for imported in meanings.imports(module):
            if imported.bound == name and imported.site.scope is module.names.module:
                return imported.meaning
    return meaning


@dataclass(frozen=True)
class ModuleContext:
    """Equal for modules of which every rule says the same: the rest follows from the key."""

    key: tuple[object, ...]
    module: Module = field(compare=False)
    imported: list[Imported] = field(compare=False)
    meanings: dict[str, Meaning | None] = field(compare=False)  # of the names that imports bind in the module
    foreign: bool = field(compare=False, default=False)  # see Library
    problems: list[Problem] = field(compare=False, default_factory=list)  # what the rules note

    def refuse(self, where: str, what: str, cure: str) -> None:
        """Note a reason."""
        self.problems.append(Problem(what=what, where=where, cure=cure))

    def imports(self, module: Module) -> list[Imported]:
        """Return every import clause of the module, resolved."""
        assert module is self.module
        return self.imported

    def meaning(self, source: str, name: str) -> Meaning | None:
        """Return what a module-level name of the module means."""
        assert source == self.module.name
        if name in self.meanings:
            return self.meanings[name]
        made_here = any(binding.how == "value" for binding in self.module.runtime(name))
        return Meaning("name", source, name) if made_here else None

    def defined_in(self, meaning: Meaning) -> Module | None:
        """Return the module itself or nothing: of other modules its text is not known."""
        return self.module if meaning.module == self.module.name else None


def context_of(module: Module, library: Library) -> ModuleContext:
    """Return what a module sees of the library."""
    imported = library.imports(module)
    bound = module.names.module.bound
    by_import = [name for name, bindings in bound.items() if any(binding.how == "import" for binding in bindings)]
    meanings = {name: library.meaning(module.name, name) for name in by_import}
    clauses = tuple(
        (one.alias.lineno, one.alias.col_offset, one.meaning, one.runs, one.target, one.stays) for one in imported
    )
    own = (module.name, module.where, module.package, module.is_package, module.text, library.foreign)
    return ModuleContext((own, clauses, tuple(meanings.items())), module, imported, meanings, library.foreign)
