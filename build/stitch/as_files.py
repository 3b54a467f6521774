"""The files way: one cell for each file, with the file's own text, and a last cell that runs the script as a process.

The working folder stands for the root. Nothing of the code is changed, moved or judged: what it does there is what
`cd root && python main.py ARGS` does.
"""

import ast
import json
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.image import SOURCE_LIMIT_BYTES
from build.stitch.assembly import validate
from build.stitch.data_files import CarriedFile, carried
from build.stitch.file_cells import ARGS, blank_lines, file_cell, parameters_cell, run_cell, set_up_cell, without_blanks
from build.stitch.modules import uncollected
from build.stitch.notebook import Cell, sha256_of_sources, sign
from build.stitch.parameters import literal
from build.stitch.reach import Reached, reach
from build.stitch.template import Stitched

MODE = "files"


def stitch_files(
    main: Path,
    root: Path,
    *,
    arguments: str = "",
    data: Sequence[str] = (),
    without: Sequence[str] = (),
    reason: str = "",
) -> Stitched:
    """Return the notebook that writes a script's files and runs it.

    Raises:
        CheckFailed: a file cannot be read or carried, or the notebook would be too large; carries every reason.
        UsageError: there is no such script below such a folder, or the arguments are not what a shell would take.
    """
    main, root = main.resolve(), root.resolve()
    if not root.is_dir():
        raise UsageError(f"no folder at {root}")
    if not main.is_file():
        raise UsageError(f"no script at {main}")
    if not main.is_relative_to(root):
        raise UsageError(f"{main} lies outside {root} → name a root that holds it")
    try:
        shlex.split(arguments)
    except ValueError as error:
        raise UsageError(f"the arguments {arguments!r} cannot be split as a shell would: {error}") from None
    with uncollected():
        reached = reach(main, root, without)
        files, problems = _files(reached, root, data, without)
        if problems:
            raise CheckFailed(problems)
        stitched = _stitched(reached, files, arguments, reason)
        _refuse_large(stitched, files)
        validate(stitched)
    return stitched


def _files(
    reached: Reached, root: Path, data: Sequence[str], without: Sequence[str]
) -> tuple[list[CarriedFile], list[Problem]]:
    """Return the files in the order in which the notebook shows them, the script last, and what is wrong."""
    problems = list(reached.problems)
    sources: dict[str, str] = {}
    for path in [*(module.path for module in reached.modules), *reached.others, reached.main.path]:
        where = path.relative_to(root).as_posix()
        try:
            sources[where] = path.read_bytes().decode()
        except UnicodeDecodeError as error:
            if all(problem.where != f"{where}:1" for problem in problems):
                cure = f"save it as UTF-8, or --without '{where}'"
                problems.append(Problem(where=f"{where}:1", what=f"not UTF-8 (byte {error.start})", cure=cure))
    others, more = carried([*reached.modules, reached.main], root, data, without, sources)
    main = reached.main.where
    files = [CarriedFile(path, text) for path, text in sources.items() if path != main]
    odd = [file.path for file in [*files, *others] if any(character in file.path for character in "\0\n\r")]
    more += [Problem(where=repr(path), what="its name has a line end", cure="rename it") for path in odd]
    return [*files, *others, *(CarriedFile(path, text) for path, text in sources.items() if path == main)], [
        *problems,
        *more,
    ]


def _stitched(reached: Reached, files: Sequence[CarriedFile], arguments: str, reason: str) -> Stitched:
    main = reached.main.where
    command = ["-m", reached.as_module] if reached.as_module else [main]
    strings = {module.where: module.string_lines for module in [*reached.modules, reached.main]}
    found = {file.path: blank_lines(file, strings[file.path]) for file in files if file.path in strings}
    blank = {path: lines for path, lines in found.items() if lines}
    cells = [
        Cell("files-introduction", "markdown", _introduction(reached), main),
        parameters_cell(main, arguments),
        Cell("files-heading", "markdown", "## The files", main),
        set_up_cell(main, files, blank),
        *_file_cells(files, blank),
        Cell("files-run-heading", "markdown", "## The run", main),
        run_cell(main, command, root_on_path=reached.root_on_path),
    ]
    texts = [(file.path, file.text) for file in files]
    digest = sha256_of_sources(texts, literal({"mode": MODE, ARGS: arguments, "command": command}))
    signed = sign(cells, main, sum(file.path.endswith(".py") for file in files) - 1, digest)
    assert len({cell.id for cell in signed}) == len(signed), "cell ids must be unique"
    sources = tuple(file.path for file in files)
    return Stitched(tuple(signed), digest, sources, reached.third_party, mode=MODE, reason=reason)


def _introduction(reached: Reached) -> str:
    main = reached.main
    text = ast.get_docstring(main.tree) or ""
    title = "" if text.startswith("# ") else f"# {main.where}\n\n"
    how = (
        f"Each cell below writes one file of the sources; the last one runs `{main.where}` as a process. "
        f"`{ARGS}` is its command line."
    )
    return "\n\n".join(filter(None, [f"{title}{_lowered(text)}".strip(), how]))


def _lowered(docstring: str) -> str:
    """Return a docstring of which only the first line is a heading."""
    first, *rest = docstring.split("\n")
    return "\n".join([first, *(re.sub(r"^#+ ", "", line) for line in rest)])


def _file_cells(files: Sequence[CarriedFile], blank: Collection[str]) -> Iterator[Cell]:
    """Yield the cells of the files that are not empty; ids that would meet get a number."""
    seen: dict[str, int] = {}
    for file in files:
        if not file.text:
            continue
        cell = file_cell(CarriedFile(file.path, without_blanks(file.text)) if file.path in blank else file)
        times = seen[cell.id] = seen.get(cell.id, 0) + 1
        yield cell if times == 1 else replace(cell, id=f"{cell.id}-{times}")


def _refuse_large(stitched: Stitched, files: Sequence[CarriedFile]) -> None:
    """Kaggle's client sends the JSON with every other letter than ASCII escaped."""
    content = stitched.notebook
    size = max(len(content), len(json.dumps(json.loads(content))))
    if size < SOURCE_LIMIT_BYTES:
        return
    largest = sorted(files, key=lambda file: (-len(file.text), file.path))[:5]
    names = ", ".join(f"{file.path} ({len(file.text.encode()):,})" for file in largest)
    what = (
        f"the notebook has {size:,} bytes, Kaggle takes less than {SOURCE_LIMIT_BYTES:,}; the largest files are {names}"
    )
    cure = "leave out what the script does not need: --without GLOB; put data into a dataset"
    raise CheckFailed([Problem(where=stitched.sources[-1], what=what, cure=cure)])
