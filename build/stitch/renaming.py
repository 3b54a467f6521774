"""Sources as the notebook names things: every mention of a renamed variable is changed, and nothing else.

The rest of the stitcher reads these sources instead of those on disk; their lines have the same numbers. What is
changed is decided node by node, by scope. The proof: the new text parses to the old tree with those nodes changed.
A variable with a mention that cannot be changed keeps its name, and the reason is kept.
"""

import ast
import builtins
import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from tokenize import TokenError
from typing import Any

from build.stitch.cells import first_line
from build.stitch.class_bodies import read_from
from build.stitch.drafts import Edit
from build.stitch.library import Imported, Library
from build.stitch.modules import Module, take_apart
from build.stitch.order import Plan, is_gathered
from build.stitch.quoted_annotations import is_no_annotation, with_names
from build.stitch.renames import Key, Renames, choose
from build.stitch.scopes import Scope, Use
from build.stitch.string_places import find_places

_DEFINED = {ast.FunctionDef: r"def\s+", ast.AsyncFunctionDef: r"async\s+def\s+", ast.ClassDef: r"class\s+"}


class _CannotRename(Exception):
    """A variable that must keep its name, and why."""

    def __init__(self, key: Key, why: str) -> None:
        super().__init__(why)
        self.key, self.why = key, why


@dataclass(frozen=True)
class _New:
    """A new name, and the variable that has it."""

    name: str
    key: Key


def rename(plan: Plan, library: Library) -> tuple[Library, Renames]:
    """Return the library in which as many modules as can be share one namespace; the same one where all do already."""
    fixed: dict[Key, str] = {}
    while True:
        renames = choose(plan, library, fixed)
        modules, failed = _renamed_modules(plan, library, renames)
        if not failed:
            break
        fixed |= failed
    if not modules:
        return library, renames
    there = {name: module for name, module in library.modules.items() if module is not None}  # others are read again
    empty: dict[str, Any] = {"cuts": {}, "_found": {}, "_imports": {}, "_meanings": {}, "_open": set()}
    return replace(library, problems=[], modules={**there, **modules}, **empty), renames


def _renamed_modules(plan: Plan, library: Library, renames: Renames) -> tuple[dict[str, Module], dict[Key, str]]:
    """Return the modules that change, and the variables that cannot be renamed, with why."""
    modules, failed = dict[str, Module](), dict[Key, str]()
    for module in plan.everything if renames.names else ():
        try:
            changed = _Rewriting(module, library, renames).module()
        except _CannotRename as one:
            failed[one.key] = one.why
            continue
        if changed is not None:
            modules[module.name] = changed
    return modules, failed


@dataclass(eq=False)
class _Rewriting:
    """One module under edit."""

    of: Module
    library: Library
    renames: Renames
    edits: list[Edit] = field(default_factory=list)
    changes: dict[int, dict[str, Any]] = field(default_factory=dict)  # by the id of a node, its new fields

    def module(self) -> Module | None:
        """Return the module with the new names; None where it has none of them.

        Raises:
            _CannotRename: there is a mention that cannot be changed.
        """
        of = self.of
        self.imports()
        self.mentions()
        self.bindings()
        self.quoted()
        self.exported()
        if not self.edits:
            return None
        lines = [*of.lines]
        for edit in sorted(set(self.edits), reverse=True):
            line = lines[edit.start[0] - 1]
            lines[edit.start[0] - 1] = line[: edit.start[1]] + edit.text + line[edit.end[1] :]
        text = "\n".join(lines)
        try:
            tree, comments, string_lines, names = take_apart(text, not of.is_main)
            proved = ast.dump(tree) == ast.dump(self.changed(of.tree))
        except (SyntaxError, ValueError, RecursionError, TokenError):
            proved = False
        if not proved:
            keys = [key for (name, _), key in self.renames.keys.items() if name == of.name]
            raise _CannotRename([*keys, *self.renames.keys.values()][0], f"{of.where} would not read the same")
        own = {new: old for (name, old), new in self.renames.names.items() if name == of.name}
        defined = {new: old for new, old in own.items() if (of.name, old) in self.renames.definitions}
        more: dict[str, Any] = {"before_renames": of, "defined_as": defined, "given": self.given(own)}
        return replace(of, text=text, tree=tree, comments=comments, names=names, string_lines=string_lines, **more)

    def changed(self, node: ast.AST) -> ast.AST:
        """Return a copy of a tree with the changes in it."""
        result = copy.copy(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                setattr(result, name, self.changed(value))
            elif isinstance(value, list):
                setattr(result, name, [self.changed(one) if isinstance(one, ast.AST) else one for one in value])
        for name, value in self.changes.get(id(node), {}).items():
            setattr(result, name, value)
        return result

    @cached_property
    def imported_modules(self) -> list[Imported]:
        """The import clauses that bind a module of ours."""
        return [one for one in self.library.imports(self.of) if one.meaning.kind == "module"]

    # -- what is meant -------------------------------------------------------------------------------------------------

    def new_name(self, module: str, name: str) -> _New | None:
        """Return what a name of a module's own level is called in the notebook; None where it keeps its name."""
        new = self.renames.names.get((module, name))
        return None if new is None else _New(new, self.renames.keys[module, name])

    def own(self, name: str) -> _New | None:
        """Return the same of this module's names."""
        return self.new_name(self.of.name, name)

    def meant(self, use: Use) -> Iterator[tuple[ast.AST, str, _New]]:
        """Yield what changes in one mention of a name: the node, its field and the new value."""
        new = self.own(use.name)
        if new is not None and self.is_module_level(use, new):
            if use.node.id != use.name:
                raise _CannotRename(new.key, f"{self.of.at(use.node)} has {use.node.id} inside a class")
            yield use.node, "id", new
        current = self.module_behind(use) if use.attributes else ""
        for attribute in use.attributes if current else ():
            meaning = self.library.attribute(current, attribute.attr)
            if meaning is None or meaning.kind != "module":
                new = self.new_name(current, attribute.attr)
                if new is not None:
                    yield attribute, "attr", new
                return
            current = meaning.module

    def module_behind(self, use: Use) -> str:
        """Return the module of ours that a name stands for; nothing for any other name."""
        found = [one for one in self.imported_modules if one.bound == use.name]
        scope = use.scope.holder(use.name) if found else None
        return next((one.meaning.module for one in found if one.site.scope is scope), "")

    def is_module_level(self, use: Use, new: _New) -> bool:
        """Whether a mention of a name is one of the module's variable."""
        holder = use.scope.holder(use.name)
        if holder.kind != "class":
            return holder.kind == "module"
        owner = read_from(use, self.of)
        if owner == "either":
            raise _CannotRename(new.key, f"{self.of.at(use.node)} reads it or the class's own")
        return owner == "module"

    # -- mentions ------------------------------------------------------------------------------------------------------

    def mentions(self) -> None:
        """Change the names that the code reads, binds and deletes, and what it reads through a module."""
        strings: dict[int, tuple[ast.JoinedStr, list[tuple[str, _New]]]] = {}
        for use in self.of.names.uses:
            for node, attribute, new in self.meant(use):
                old = getattr(node, attribute)
                if use.joined is None:
                    self.rename(node, attribute, old, new)
                else:
                    strings.setdefault(id(use.joined), (use.joined, []))[1].append((old, new))
                    self.changes[id(node)] = {attribute: new.name}
        for joined, inside in strings.values():
            self.formatted(joined, inside)

    def rename(self, node: ast.AST, attribute: str, old: str, new: _New) -> None:
        """Change a name, or what a node ends with."""
        line, end = self.position(node, "end_lineno", "end_col_offset")
        self.word(line, end - len(old), old, new)
        self.changes[id(node)] = {attribute: new.name}

    def position(self, node: ast.AST, line: str = "lineno", column: str = "col_offset") -> tuple[int, int]:
        """Return a position in characters; the tree counts bytes."""
        number = getattr(node, line)
        return number, len(self.of.lines[number - 1].encode()[: getattr(node, column)].decode())

    def word(self, line: int, start: int, old: str, new: _New) -> None:
        """Change one word of the text."""
        written = re.compile(rf"(?<!\w){re.escape(old)}(?!\w)")
        if start < 0 or written.match(self.of.lines[line - 1], start) is None:
            raise _CannotRename(new.key, f"{self.of.at(line)} writes it in some other way")
        self.edits.append(Edit((line, start), (line, start + len(old)), new.name))

    def whole(self, node: ast.AST, text: str, new: _New) -> None:
        """Write a node of one line anew."""
        start, end = self.position(node), self.position(node, "end_lineno", "end_col_offset")
        if start[0] != end[0]:
            raise _CannotRename(new.key, f"{self.of.at(start[0])} names it in a statement over several lines")
        self.edits.append(Edit(start, end, text))

    # -- statements that bind ------------------------------------------------------------------------------------------

    def imports(self) -> None:
        """Change import clauses: what a name is called in its module, and what it is called here."""
        found = {id(one.alias): one for one in self.library.imports(self.of)}
        for site in self.of.names.sites:
            for alias in site.node.names:
                imported = found.get(id(alias))
                if imported is None:
                    continue
                at_module_level = site.scope is self.of.names.module or imported.bound in site.scope.global_names
                here = self.own(imported.bound) if at_module_level else None
                there = None
                if imported.runs and isinstance(site.node, ast.ImportFrom):
                    there = self.new_name(self.library.absolute(self.of, site.node) or "", alias.name)
                new = here or there
                if new is None:
                    continue
                source, target = there.name if there else alias.name, here.name if here else imported.bound
                asname = target if target != source else None
                self.whole(alias, f"{source} as {asname}" if asname else source, new)
                self.changes[id(alias)] = {"name": source, "asname": asname}

    def bindings(self) -> None:
        """Change what binds a name and is no name itself: definitions, `except … as`, patterns, `global`."""
        for name, bindings in self.of.names.module.bound.items():
            new = self.own(name)
            for binding in bindings if new is not None else ():
                node = binding.node
                if isinstance(node, ast.Name) or binding.alias is not None:
                    continue
                assert new is not None
                if isinstance(node, ast.MatchAs | ast.MatchStar):
                    self.rename(node, "name", name, new)
                elif isinstance(node, ast.MatchMapping):
                    self.after(node, r".*\*\*\s*", "rest", name, new)
                elif isinstance(node, ast.ExceptHandler):
                    self.after(node, r".*\bas\s+", "name", name, new)
                elif type(node) in _DEFINED:
                    self.after(node, _DEFINED[type(node)], "name", name, new)
                else:
                    raise _CannotRename(new.key, f"{self.of.at(node)} binds it in some other way")
        for node in self.of.names.nodes:
            declared = [new for name in node.names if (new := self.own(name))] if isinstance(node, ast.Global) else []
            if isinstance(node, ast.Global) and declared:
                names = [new.name if (new := self.own(name)) else name for name in node.names]
                self.whole(node, f"global {', '.join(names)}", declared[0])
                self.changes[id(node)] = {"names": names}

    def after(self, node: ast.AST, start: str, attribute: str, name: str, new: _New) -> None:
        """Change a name that stands in a node's first line behind something."""
        line, column = self.position(node)
        found = re.match(start + re.escape(name) + r"(?!\w)", self.of.lines[line - 1][column:])
        if found is None:
            raise _CannotRename(new.key, f"{self.of.at(line)} writes it in some other way")
        self.word(line, column + found.end() - len(name), name, new)
        self.changes[id(node)] = {attribute: new.name}

    # -- strings -------------------------------------------------------------------------------------------------------

    def formatted(self, joined: ast.JoinedStr, inside: list[tuple[str, _New]]) -> None:
        """Change names in an f-string."""
        expected = ast.dump(self.changed(joined))

        def is_right(text: str) -> bool:
            return ast.dump(ast.parse(f"({text})", mode="eval").body) == expected

        if not self.in_string(joined, inside, is_right):
            what = f"{self.of.at(joined)} shows {inside[0][0]} in an f-string"
            raise _CannotRename(inside[0][1].key, what)

    def quoted(self) -> None:
        """Change names in annotations that are written in quotes."""
        for node, scope, _ in self.of.names.quoted:
            inside = self.names_in(node, scope)
            if not inside or is_no_annotation(node, self.of):
                continue
            value = with_names(str(node.value), {old: new.name for old, new in inside})

            def is_right(text: str, value: str | None = value) -> bool:
                return value is not None and ast.literal_eval(f"({text})") == value

            if not self.in_string(node, inside, is_right):
                raise _CannotRename(inside[0][1].key, f"{self.of.at(node)} has {inside[0][0]} in an odd annotation")
            self.changes[id(node)] = {"value": value}

    def exported(self) -> None:
        """Change the texts in `__all__`, which say what a star import of this module brings."""
        for statement in self.of.tree.body:
            if not isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
                continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if not any(isinstance(one, ast.Name) and one.id == "__all__" for one in targets):
                continue
            for node in ast.walk(statement):
                new = self.own(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
                if isinstance(node, ast.Constant) and new is not None:
                    line, column = self.position(node)
                    self.word(line, column + 1, str(node.value), new)  # between its quotes
                    self.changes[id(node)] = {"value": new.name}

    def names_in(self, node: ast.Constant, scope: Scope) -> list[tuple[str, _New]]:
        """Return the names in a quoted annotation that change, those inside further quotes as well."""
        try:
            tree = ast.parse(str(node.value), mode="eval")
        except (SyntaxError, ValueError):
            return []
        names = [part.id for part in ast.walk(tree) if isinstance(part, ast.Name)]
        texts = [
            part.value for part in ast.walk(tree) if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        names += [word for text in texts for word in re.findall(r"\w+", text)]
        return [(name, new) for name in names if scope.holder(name).kind == "module" and (new := self.own(name))]

    def in_string(self, node: ast.expr, inside: list[tuple[str, _New]], is_right: Any) -> bool:
        """Change names in a string, in the places for which it is right; say whether there are any."""
        wanted: dict[tuple[str, str], int] = {}
        for old, new in inside:
            wanted[old, new.name] = wanted.get((old, new.name), 0) + 1
        last = self.position(node, "end_lineno", "end_col_offset")
        edits = find_places(self.of.lines, self.position(node), last, wanted, is_right)
        self.edits += edits or []
        return edits is not None

    # -- builtins ------------------------------------------------------------------------------------------------------

    def given(self, own: Mapping[str, str]) -> dict[int, list[str]]:
        """Return what stands above a statement: `print_log = print`, where a name may be read before it is bound."""
        lines: dict[int, list[str]] = {}
        for new, old in sorted(own.items()):
            early = self.early_read(old) if hasattr(builtins, old) else 0
            if not early:
                continue
            if any(one.bound == old and is_gathered(one) for one in self.library.imports(self.of)):
                raise _CannotRename(self.renames.keys[self.of.name, old], f"{self.of.at(early)} reads the builtin")
            statement = next(one for one in self.of.tree.body if early <= (one.end_lineno or one.lineno))
            lines.setdefault(first_line(statement), []).append(f"{new} = {old}")
        return lines

    def early_read(self, name: str) -> int:
        """Return the first line that may read a name before the module has surely bound it; 0 where there is none."""
        bound = {id(one.node) for one in self.of.runtime(name)}
        always = [one for one in self.of.tree.body if any(id(part) in bound for part in _surely_bound(one))]
        end = always[0].end_lineno or always[0].lineno if always else len(self.of.lines)
        uses = (use for use in self.of.names.uses if use.name == name and isinstance(use.node.ctx, ast.Load))
        lines = [use.node.lineno for use in uses if use.scope.holder(name).kind != "function"]
        return min((line for line in lines if line <= end), default=0)


def _surely_bound(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the nodes by which a statement of the module binds names whenever it runs."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
        yield statement
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from ast.walk(target)
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        yield statement.target
