"""Which way a script becomes a notebook: inline where that computes the same, else as files.

Inline, the notebook reads as one script; as files it holds the sources as they are and runs them. Whatever is not sure
to be right inline is refused there, with every reason; `auto` then takes files and says the first.
"""

import glob
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from build.core.errors import CheckFailed, Problem, UsageError
from build.stitch.as_files import stitch_files
from build.stitch.assembly import stitch
from build.stitch.template import Stitched

MODES = ("auto", "inline", "files")


def stitch_script(
    main: Path,
    root: Path,
    *,
    mode: str = "auto",
    arguments: str = "",
    data: Sequence[str] = (),
    without: Sequence[str] = (),
    parameters: Mapping[str, object] | None = None,
) -> Stitched:
    """Return the notebook of somebody's script, which does what `cd root && python main.py ARGUMENTS` does.

    Args:
        main: the script.
        root: the folder that the notebook's working folder stands for.
        mode: `inline`, `files`, or `auto`: inline where it is right, else files, with the reason.
        arguments: the command line behind the script's name; files below the root that it names are carried.
        data: globs, relative to the root, of text files that the code does not name.
        without: globs of files that it names and does not need.
        parameters: values for names that the script's own cell tagged `parameters` assigns; inline only.

    Raises:
        CheckFailed: it cannot be done in this mode; carries every reason with file:line.
        UsageError: there is no such script, folder or mode, or the arguments are not what a shell would take.
    """
    if mode not in MODES:
        raise UsageError(f"no mode {mode!r} → one of {', '.join(MODES)}")
    if not main.is_file():
        raise UsageError(f"no script at {main.resolve()}")
    named = [*data, *_named_in(arguments, root)]

    def as_files(reason: str = "") -> Stitched:
        if parameters:
            what = f"files mode has no cell that assigns {', '.join(sorted(parameters))}"
            raise CheckFailed([Problem(what=what, cure="give the values by the script's arguments")])
        return stitch_files(main, root, arguments=arguments, data=named, without=without, reason=reason)

    if mode == "files":
        return as_files("it was asked for")
    try:
        return stitch(main, root, parameters, arguments=arguments, data=named, without=without)
    except CheckFailed as inline:
        try:
            made = as_files(_reason(inline.problems))
        except CheckFailed as neither:
            raise (inline if mode == "inline" else neither) from None
        if mode == "auto":
            return made
        raise CheckFailed([replace(one, cure=_with_files(one.cure)) for one in inline.problems]) from None


def _named_in(arguments: str, root: Path) -> list[str]:
    """Return globs of the files that the arguments name: `config/a.yaml`, `--config=config/a.yaml`."""
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise UsageError(f"the arguments {arguments!r} cannot be split as a shell would: {error}") from None
    root, found = root.resolve(), []
    for name in dict.fromkeys(part for word in words for part in (word, word.partition("=")[2])):
        try:
            path = (root / name).resolve()
            there = 0 < len(name) < 1000 and path.is_file() and path.is_relative_to(root)
        except (OSError, ValueError):  # no path at all
            continue
        if there:
            found.append(glob.escape(path.relative_to(root).as_posix()))
    return found


def _reason(problems: Sequence[Problem]) -> str:
    """Say on one line why a script cannot be inline."""
    first, rest = problems[0], len(problems) - 1
    more = f" (and {rest} more: --mode inline lists them)" if rest else ""
    return f"{first.where}: {first.what}{more}" if first.where else f"{first.what}{more}"


def _with_files(cure: str) -> str:
    return f"{cure}; in files mode it would work: --mode files" if cure else "in files mode it works: --mode files"
