"""The one cell that people edit: its values are an experiment's, so they are written back only on request."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from build.core.errors import Problem
from build.stitch.parameters import assigned
from build.stitch.template import OWN_HASH, PARTS


@dataclass(frozen=True)
class ParameterEdit:
    """A value that was changed in the notebook."""

    name: str
    old: str
    new: str


def split_parameters(
    base: str, edited: str, given: Mapping[str, object], write: bool, where: str
) -> tuple[str, list[ParameterEdit], list[Problem]]:
    """Return the cell's text with the values that stay as they were, the changed values, and those it cannot write.

    With `write`, values that the script itself gives are written back; those that an experiment gives (`given`) have
    their place in `kernel_src/recipes/`, and are refused with its name.
    """
    old, new = (assigned(ast.parse(text).body) for text in (base, edited))
    edits, problems, back = [], list[Problem](), dict[str, str]()
    for name in [name for name in new if name in old]:
        before, after = (
            ast.get_source_segment(text, node) or "" for text, node in ((base, old[name]), (edited, new[name]))
        )
        if ast.dump(old[name]) == ast.dump(new[name]):
            continue
        edits.append(ParameterEdit(name, before, after))
        if write and name in given:
            whose, cure = "the experiment's", "set it in the competition's experiments.py, or "
            if name == OWN_HASH:
                whose, cure = "the build's, which fills it in", ""
            if name == PARTS:
                whose = "the kernel card's"
                cure = "name the part in EXTRA_PARTS of kernel_src/competitions/kernel_cards.py, or "
            problems.append(
                Problem(
                    what=f"{name} = {after}: this value is not the script's but {whose}",
                    where=where,
                    cure=f"{cure}in the notebook put back {name} = {before}",
                )
            )
        if not write:
            back[name] = before
    lines = edited.split("\n")
    for name in sorted(back, key=lambda one: -new[one].lineno):
        node = new[name]
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        head = lines[first].encode()[: node.col_offset].decode()
        tail = lines[last].encode()[node.end_col_offset :].decode()
        lines[first : last + 1] = (head + back[name] + tail).split("\n")
    return "\n".join(lines), edits, problems
