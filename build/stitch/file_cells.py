"""The cells of a notebook in files mode, and the files that such a notebook holds.

A file is written by `%%writefile`, with its own text below; the few that this magic would change (no newline at the
end, other line ends, an odd name) by a literal, line by line. IPython empties lines of spaces: where they stand between
statements of Python, they are put back when the files are verified. The other cells are the text of `run_files`.
"""

import ast
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from textwrap import indent
from typing import Any

from build.stitch.data_files import CarriedFile
from build.stitch.ipython_differences import looks_like_prompt, transformed
from build.stitch.notebook import WRITES, Cell, make_id
from build.stitch.parameters import literal

SET_UP, RUN = "# set-up: checks and folders", "# the run: the script, as a process"
ARGS = "ARGS"
Blank = dict[str, list[int]]  # spaces → the lines that are made of them
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_PROMPTS = (">>>", "...", "In [")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_FILES = re.compile(r"^FILES = (\{.*?^\})$", re.MULTILINE | re.DOTALL)
_BLANK = re.compile(r"^BLANK = (\{.*?\})$", re.MULTILINE | re.DOTALL)


def parameters_cell(main: str, arguments: str) -> Cell:
    """Return the cell that people edit."""
    text = f"# what follows the script's name on the command line, as in a shell\n{ARGS} = {literal(arguments)}"
    return Cell("files-parameters", "code", text, main, tags=("parameters",), lines=(0, 0))


def set_up_cell(main: str, files: Sequence[CarriedFile], blank: Mapping[str, Blank]) -> Cell:
    """Return the cell that comes before the files: it writes the empty ones."""
    sha256 = {file.path: hashlib.sha256(file.text.encode()).hexdigest() for file in files}
    hashes = "".join(f"    {literal(path)}: {literal(one)},\n" for path, one in sha256.items())
    spaces = "".join(f"    {literal(path)}: {literal(one)},\n" for path, one in blank.items())
    empty = [file.path for file in files if not file.text]
    calls = [
        f"FILES = {{  # what the cells below write, with the sha256 of each\n{hashes}}}",
        f"BLANK = {{  # lines of spaces, which IPython empties, by these spaces\n{spaces}}}" if blank else "BLANK = {}",
        f"claim_places({literal(main)}, [*FILES])",
        *(f"write_file({literal(path)})" for path in empty),
    ]
    return _own_cell("files-set-up", main, "\n".join([SET_UP, _run_files()[0], *calls]))


def run_cell(main: str, command: Sequence[str], *, root_on_path: bool) -> Cell:
    """Return the last cell."""
    path = ", str(Path.cwd())" if root_on_path else ""
    words = ", ".join(map(literal, command))
    call = f"run_files(FILES, BLANK, [{words}, *shlex.split({ARGS})]{path})"
    return _own_cell("files-run", main, "\n".join([RUN, "import shlex", "", _run_files()[1], call]))


def blank_lines(file: CarriedFile, string_lines: Collection[int]) -> Blank:
    """Return a Python file's lines of spaces by these; nothing where one of them is part of a string."""
    found: dict[str, list[int]] = {}
    for number, line in enumerate(file.text.split("\n"), start=1):
        if line.isspace():
            found.setdefault(line, []).append(number)
    meant = any(number in string_lines for numbers in found.values() for number in numbers)
    plain = all(not spaces.strip(" \t") for spaces in found)
    return found if plain and not meant and _magic_keeps(file.path, without_blanks(file.text)) else {}


def without_blanks(text: str) -> str:
    """Return a text of which no line is made of spaces."""
    return re.sub(r"^[ \t]+$", "", text, flags=re.MULTILINE)


def with_blanks(edited: str, base: str) -> str:
    """Return an edited text with the lines of spaces of its base, which it has lost."""
    if edited == without_blanks(base):
        return base
    lost, kept, lines = without_blanks(base).split("\n"), edited.split("\n"), base.split("\n")
    for block in SequenceMatcher(None, lost, kept, autojunk=False).get_matching_blocks():
        kept[block.b : block.b + block.size] = lines[block.a : block.a + block.size]
    return "\n".join(kept)


def file_cell(file: CarriedFile) -> Cell:
    """Return the cell that writes a file."""
    id_ = make_id(file.path, 1)
    if _magic_keeps(file.path, file.text):
        # IPython adds one newline where a cell ends without.
        text = file.text[:-1] if not file.text.endswith("\n\n") else file.text
        numbers = (0, *range(1, text.count("\n") + 2))
        return Cell(id_, "code", f"{WRITES}{file.path}\n{text}", file.path, 1, lines=numbers)
    lines = _LINES.findall(file.text)
    body = indent("".join(f"{line!r},\n" for line in [file.path, *lines]), "    ")
    source = f"# {_why(file)}\nwrite_file(\n{body})"
    return Cell(id_, "code", source, file.path, 1, lines=(0, 0, 0, *range(1, len(lines) + 1), 0))


def written_by(source: str) -> CarriedFile | None:
    """Return the file that a cell writes, whoever has edited it; None for every other cell.

    Raises:
        ValueError: it was one that writes a literal, and is none any more.
    """
    if source.startswith(WRITES):
        first, _, text = source.partition("\n")
        return CarriedFile(first.removeprefix(WRITES).strip(), text if text.endswith("\n") else f"{text}\n")
    if "\nwrite_file(\n" not in source or source.startswith((SET_UP, RUN)):
        return None
    try:
        statements = ast.parse(source).body
        call = statements[0].value if len(statements) == 1 and isinstance(statements[0], ast.Expr) else None
        words = [ast.literal_eval(one) for one in call.args] if isinstance(call, ast.Call) else []
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        words = []
    if not words or not all(isinstance(one, str) for one in words):
        raise ValueError("the call of write_file does not hold the lines of one file any more")
    return CarriedFile(words[0], "".join(words[1:]))


def listed_files(source: str) -> dict[str, str] | None:
    """Return the files that a set-up cell lists, with the hashes they had when they were stitched; None of others."""
    value = _listing(_FILES, source)
    return value if value is not None and all(isinstance(one, str) for one in value.values()) else None


def listed_blanks(source: str) -> dict[str, Blank]:
    """Return the lines of spaces that a set-up cell lists."""
    value = _listing(_BLANK, source) or {}
    return {
        path: blank for path, blank in value.items() if isinstance(blank, dict) and all(map(_is_blank, blank.items()))
    }


def _is_blank(pair: tuple[object, object]) -> bool:
    spaces, numbers = pair
    is_list = isinstance(numbers, list) and all(isinstance(one, int) and one > 0 for one in numbers)
    return isinstance(spaces, str) and not spaces.strip(" \t") and is_list


def _listing(form: re.Pattern[str], source: str) -> dict[str, Any] | None:
    found = form.search(source) if source.startswith(SET_UP) else None
    try:
        value = ast.literal_eval(found[1]) if found else None
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) and all(isinstance(path, str) for path in value) else None


def restored(text: str, blank: Blank) -> str:
    """Return a text with its lines of spaces, where it is as it was stitched."""
    lines = text.split("\n")
    for spaces, numbers in blank.items():
        for number in numbers:
            lines[number - 1 : number] = [spaces]
    return "\n".join(lines)


def _magic_keeps(path: str, text: str) -> bool:
    """Whether `%%writefile` writes exactly this, whichever version of IPython has it."""
    first = text.partition("\n")[0]
    if any(line.isspace() for line in text.split("\n")):
        return False
    plain = bool(_PLAIN_PATH.fullmatch(path)) and text.endswith("\n") and bool(text.strip())
    if not plain or "\r" in text or "\ufeff" in text or looks_like_prompt(first) or first.lstrip().startswith(_PROMPTS):
        return False
    if not any(line.lstrip().startswith(_PROMPTS) for line in text.split("\n")):
        return True
    return transformed(f"{WRITES}{path}\n{text}") == f"get_ipython().run_cell_magic('writefile', {path!r}, {text!r})\n"


def _why(file: CarriedFile) -> str:
    """Say why a file is written by a literal."""
    if "\r" in file.text:
        what = "it has Windows line ends"
    elif "\ufeff" in file.text:
        what = "it has a byte-order mark"
    elif not file.text.endswith("\n"):
        what = "it has no newline at its end"
    else:
        what = "%%writefile would change it"
    return f"a literal, because {what}"


def _own_cell(id_: str, main: str, text: str) -> Cell:
    return Cell(id_, "code", text, main, lines=(0,) * (text.count("\n") + 1), folded=id_ == "files-set-up")


@lru_cache(maxsize=1)
def _run_files() -> tuple[str, str]:
    """Return the text of `run_files`: of the set-up and of the run."""
    text = Path(__file__).with_name("run_files.py").read_text(encoding="utf-8")
    text = re.sub(r"  # type: ignore\[[\w-]+\]|  # noqa: \w+", "", text)
    _, set_up, run = re.split(r"^# %%\n", text, flags=re.MULTILINE)
    return set_up.strip() + "\n\n", run.strip() + "\n\n"
