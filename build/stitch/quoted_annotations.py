"""Annotations that are written in quotes: names inside a text, which change when the variable gets another name."""

import ast
from collections.abc import Mapping

from build.stitch.modules import Module


def with_names(text: str, names: Mapping[str, str]) -> str | None:
    """Return an annotation's text with other names in it; None where it is not a plain one."""
    tree = ast.parse(text, mode="eval")
    if not text.isascii() or "\n" in text or any(isinstance(part, ast.Constant) for part in ast.walk(tree)):
        return None
    parts = [part for part in ast.walk(tree) if isinstance(part, ast.Name) and part.id in names]
    for part in sorted(parts, key=lambda one: -one.col_offset):
        text = text[: part.col_offset] + names[part.id] + text[part.end_col_offset :]
    return text


def is_no_annotation(node: ast.Constant, module: Module) -> bool:
    """Whether a text inside an annotation is a value: one of `Literal[…]`, or what `Annotated[…]` adds."""
    called = {"Literal": {"Literal"}, "Annotated": {"Annotated"}}
    for site in module.names.sites:
        for alias in site.node.names:
            if alias.name in called and alias.asname:
                called[alias.name].add(alias.asname)
    for one in module.names.nodes:
        if not isinstance(one, ast.Subscript):
            continue
        name = getattr(one.value, "attr", getattr(one.value, "id", ""))
        inside: list[ast.expr] = [one.slice] if name in called["Literal"] else []
        if name in called["Annotated"] and isinstance(one.slice, ast.Tuple):
            inside = one.slice.elts[1:]
        if any(part is node for value in inside for part in ast.walk(value)):
            return True
    return False
