"""The whole way from a script to the bytes of a notebook."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.stitch.ipython_differences import is_suspicious, transformed
from build.stitch.modules import uncollected
from build.stitch.notebook import WRITES, Cell, to_bytes
from build.stitch.template import Stitched, Template, read_template


def stitch(
    main: Path,
    root: Path,
    parameters: Mapping[str, object] | None = None,
    *,
    arguments: str | None = None,
    data: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Stitched:
    """Return the notebook of a script and of every module under `root` that it needs, validated.

    Args:
        main: the script, in percent format (`# %%` cells) or plain.
        root: the folder that imports of ours start from.
        parameters: values for names that the script's cell tagged `parameters` assigns; `SOURCE_SHA256` among them
            becomes the hash of the sources, so that a notebook can say what it was built from.
        arguments: the command line of somebody else's script; None for our own kernels, which have none, and of which
            more is refused.
        data: globs relative to `root` of text files that such a script needs and does not name.
        without: globs of files that it names and that the notebook is not to hold.

    Raises:
        CheckFailed: the notebook would not compute what the package does; carries every reason with file:line.
        UsageError: there is no such script or folder.
    """
    with uncollected():
        template = read_template(main, root, parameters, arguments=arguments, data=data, without=without)
        return stitch_from(template, parameters)


def stitch_from(template: Template, parameters: Mapping[str, object] | None = None) -> Stitched:
    """Do the same with a script whose sources were read: several notebooks of it differ by their parameters alone.

    Raises:
        CheckFailed: see `stitch`.
    """
    stitched = template.fill(parameters or {})
    validate(stitched)
    return stitched


def compose(
    main: Path,
    root: Path,
    parameters: Mapping[str, object] | None = None,
    *,
    built_before: bool = False,
    arguments: str | None = None,
    data: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Stitched:
    """Do the same with the standard library alone: neither nbformat nor IPython is asked whether they agree.

    Sources that were built before, by their hash, are not asked again whether they break a rule.
    """
    with uncollected():
        return read_template(
            main, root, parameters, built_before=built_before, arguments=arguments, data=data, without=without
        ).fill(parameters or {})


# -- what others say -----------------------------------------------------------------------------------------------


def validate(stitched: Stitched) -> None:
    """Ask nbformat whether the file is a notebook, and IPython whether it would leave every cell as it is.

    Raises:
        CheckFailed: it would not.
    """
    problems = []
    # The schema asks of a text only that it is one: notebooks that differ by their texts alone are asked about once.
    refusal = _refusal(
        tuple((one.id, one.kind, one.where, one.ordinal, one.tags, one.folded) for one in stitched.cells)
    )
    if refusal:
        problems.append(Problem(what=f"nbformat refuses the notebook: {refusal}", where=stitched.sources[-1]))
    for cell in stitched.cells:
        is_python = cell.kind == "code" and not cell.source.startswith(WRITES)
        change = _change(cell.source) if is_python else None
        if change is not None:
            line = cell.lines[change[0]] or 1
            problems.append(
                Problem(
                    what=f"IPython would change this line to {change[1].strip()!r}",
                    where=f"{cell.where}:{line}",
                    cure="write it otherwise: it looks like a prompt or a magic",
                )
            )
    if problems:
        raise CheckFailed(problems)


@lru_cache(maxsize=64)
def _refusal(cells: tuple[tuple[str, str, str, int, tuple[str, ...], bool], ...]) -> str:
    """Return why nbformat refuses a notebook of cells such as these, but for their text; nothing when it takes it."""
    import nbformat

    bare = [Cell(id_, kind, "", where, ordinal, tags, folded=fold) for id_, kind, where, ordinal, tags, fold in cells]
    try:
        nbformat.validate(json.loads(to_bytes(bare, "", "")))
    except nbformat.ValidationError as error:
        return str(error.message)
    return ""


@lru_cache(maxsize=4096)
def _change(source: str) -> tuple[int, str] | None:
    """Return the first line of a code cell that IPython would change, from 0, and what it would make of it."""
    if is_suspicious(source):
        changed = transformed(source).split("\n")
        for number, (before, after) in enumerate(zip(source.split("\n"), changed, strict=False)):
            if before != after:
                return number, after
    return None
