"""The names that every module has by itself: in the notebook of somebody else's script, what each stands for.

- `__name__` and `__package__` become texts, `__doc__` of a library module too.
- `__file__` becomes a path below the folder in which the notebook starts, where the carried files lie.
- The script's own `__name__` is `__main__` in a kernel, too, and its `__doc__` is set above (`set_up`).

What cannot be said so (the names are set, or looked up where a class may have its own) is refused in `rules`.
"""

import ast
import re
from itertools import accumulate

from build.stitch.drafts import Draft, Edit
from build.stitch.library import Library
from build.stitch.modules import Module
from build.stitch.parameters import literal
from build.stitch.rules import REWRITTEN
from build.stitch.scopes import Use

_STRING = re.compile(  # as Python up to 3.11 reads one, f-strings as well
    r"""[a-zA-Z]*(?=(["']))(?:\'{3}(?:[^\\]|\\.)*?\'{3}|"{3}(?:[^\\]|\\.)*?"{3}|"""
    r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")""",
    re.DOTALL,
)


def stands_for(name: str, module: Module, library: Library) -> str:
    """Return the expression that has a name's value in the notebook; nothing where the name itself has it."""
    if name == "__file__":
        return f'f"{{{library.working_folder}}}/{module.where}"'
    if name == "__package__":
        return literal(module.package if not module.is_main or library.as_module else None)
    if module.is_main:
        return ""
    return literal(module.name) if name == "__name__" else _text(ast.get_docstring(module.tree, clean=False))


def _text(value: str | None) -> str:
    written = literal(value)
    return written if written.isprintable() and ast.literal_eval(written) == value else ascii(value)


def rewrite_names(module: Module, library: Library, draft: Draft) -> None:
    """Put what they stand for in place of a module's own names."""
    for use in module.names.uses:
        if use.name in REWRITTEN and is_own(use) and not module.runtime(use.name):
            text = stands_for(use.name, module, library)
            if not text:
                continue
            if use.joined is not None:
                _rewrite_in_string(use, text, module, library, draft)
                continue
            draft.replace(use.node, text)
            draft.values[id(use.node)] = text


def name_of(module: str, attribute: ast.Attribute, library: Library) -> str:
    """Return what `m.__file__` and the like stand for, of a module of ours; nothing for any other attribute."""
    found = library.load(module)
    wanted = library.foreign and attribute.attr in REWRITTEN and isinstance(attribute.ctx, ast.Load)
    if not wanted or found is None or found.path.is_dir() or attribute.value.lineno != attribute.end_lineno:
        return ""
    return stands_for(attribute.attr, found, library)


def is_own(use: Use) -> bool:
    """Whether a mention reads the module's own name."""
    return use.scope.holder(use.name).kind == "module" and isinstance(use.node.ctx, ast.Load)


def _rewrite_in_string(use: Use, text: str, module: Module, library: Library, draft: Draft) -> None:
    """Inside an f-string Python 3.11 gives no positions, and its own quotation marks must not appear."""
    joined, name = use.joined, use.name
    assert joined is not None
    if name == "__file__":
        text = f'({library.working_folder} + "/{module.where}")'
    wanted = sum(other.joined is joined and other.name == name for other in module.names.uses)
    first, last = draft.position(joined, "lineno", "col_offset"), draft.position(joined, "end_lineno", "end_col_offset")
    lines = {number: module.lines[number - 1] for number in range(first[0], last[0] + 1)}
    places = [
        (number, found.start())
        for number, line in lines.items()
        for found in re.finditer(rf"(?<![\w.]){name}(?!\w)", line)
        if first <= (number, found.start()) < last
    ]
    if len(places) != wanted or _is_nested(joined) or name == "__doc__":
        library.refuse(module.at(joined), f"{name} inside this f-string", "give it a name before the f-string")
        return
    starts = dict(zip(lines, accumulate((len(line) + 1 for line in lines.values()), initial=0), strict=False))
    pieces = list(_STRING.finditer("\n".join(lines.values()), first[1]))
    for place in places:
        at = starts[place[0]] + place[1]
        quote = next((piece[1] for piece in pieces if piece.start() < at < piece.end()), "")
        written = text.replace('"', "'") if quote == '"' else text
        edit = Edit(place, (place[0], place[1] + len(name)), written)
        if edit not in draft.edits:
            draft.edits.append(edit)
    draft.values[id(use.node)] = text


def _is_nested(joined: ast.JoinedStr) -> bool:
    """Whether there is an f-string inside a field of this one: then both kinds of quotation marks are taken."""
    fields = [part.value for part in ast.walk(joined) if isinstance(part, ast.FormattedValue)]
    return any(isinstance(part, ast.JoinedStr) for one in fields for part in ast.walk(one))


def reads_docstring(script: Module) -> bool:
    """Whether the script reads its own `__doc__`."""
    return any(use.name == "__doc__" and is_own(use) for use in script.names.uses)
