"""The one cell that people edit: values given from outside replace the literals in the script's `parameters` cell."""

import ast
import json
import math
from collections.abc import Iterable, Mapping

from build.stitch.cells import Segment
from build.stitch.drafts import Draft
from build.stitch.library import Library


def literal(value: object) -> str:
    """Write a value as Python source.

    Raises:
        ValueError: it is not built from None, bool, int, finite float, str, list, tuple and dict.
    """
    if value is None or isinstance(value, bool | int):
        return repr(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{literal(key)}: {literal(one)}' for key, one in value.items())}}}"
    raise ValueError(f"{value!r} cannot be written as a literal")


def assigned(statements: Iterable[ast.stmt]) -> dict[str, ast.expr]:
    """Return what `NAME = …` and `NAME: type = …` assign, by name."""
    values: dict[str, ast.expr] = {}
    for node in statements:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            values[node.target.id] = node.value
    return values


def set_parameters(draft: Draft, segments: list[Segment], values: Mapping[str, object], library: Library) -> None:
    """Put values into the cell tagged `parameters`; a name that it does not assign is noted as a problem."""
    module = draft.module
    cell = [segment for segment in segments if "parameters" in segment.tags]
    if len(cell) > 1:
        library.refuse(module.at(cell[1].marker), "second cell tagged parameters", "keep one")
    if values and not cell:
        library.refuse(module.at(1), "no cell is tagged parameters", 'write `# %% tags=["parameters"]` above it')
    if not values or not cell:
        return
    there = assigned(node for node in module.tree.body if cell[0].first <= node.lineno <= cell[0].last)
    for name, value in sorted(values.items()):
        if name not in there:
            known = ", ".join(sorted(there)) or "nothing"
            library.refuse(
                module.at(cell[0].marker), f"parameter {name} is not assigned here", f"this cell assigns {known}"
            )
            continue
        old = there[name]
        try:
            ast.literal_eval(old)
            text = literal(value)
        except ValueError as error:
            library.refuse(module.at(old), f"parameter {name}: {error}", "keep to literals")
            continue
        draft.replace(old, text)
        draft.values[id(old)] = text
