"""The cells above somebody else's script that make a kernel look to it like the process it is used to.

- its arguments, as text in a cell of their own, and `sys.argv` from it;
- its end: `sys.exit()` ends the script, and the cells below do nothing, where a kernel would report an error;
- the folder in which it starts, where a module asks for its `__file__`; the script's `__doc__`;
- tables of pandas, which prints wide ones otherwise in a kernel;
- the text files beside the sources, one cell each.

Each is there only where the sources need it. The names that they bind are no word of any source.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from build.stitch.data_files import CarriedFile
from build.stitch.ipython_differences import is_suspicious
from build.stitch.library import Library
from build.stitch.module_names import is_own, reads_docstring
from build.stitch.modules import Module, read_names
from build.stitch.notebook import SETUP, Cell, make_id
from build.stitch.order import Plan
from build.stitch.parameters import literal

ARGUMENTS = "ARGS"
# Packages that read the command line, and end the process after `--help` or a mistake in it.
_COMMAND_LINES = frozenset(
    "absl argparse asyncclick cappa click configargparse cyclopts defopt docopt draccus fire getopt jsonargparse "
    "optparse plac pyrallis pytest rich_click sacred simple_parsing tap typer tyro unittest".split()
)
_PARSERS = _COMMAND_LINES | frozenset(
    "parse_args parse_known_args parse_args_into_dataclasses ArgumentParser HfArgumentParser LightningCLI".split()
)
_READS = _PARSERS | frozenset({"argv", "orig_argv", "from_cli"})
_EXITS = _PARSERS | frozenset({"exit", "SystemExit"})


@dataclass(frozen=True)
class Needs:
    """What the sources ask of the process around them."""

    command_line: bool
    exit: bool
    folder: bool
    docstring: str | None  # the script's, as an expression, where it is read
    tables: bool  # those of pandas


def needs_of(plan: Plan, library: Library) -> Needs:
    """Return what must stand above the script."""
    found = [library.once(_words, module) for module in plan.everything]
    words = frozenset[str]().union(*found)
    docstring = ast.get_docstring(plan.main.tree, clean=False)
    return Needs(
        command_line=bool(library.arguments) or bool(words & _READS),
        exit=bool(words & _EXITS),
        folder="__file__" in words,
        docstring=("None" if docstring is None else text_literal(docstring)) if reads_docstring(plan.main) else None,
        tables="pandas" in words,
    )


def refuse_borrowed(plan: Plan, cells: Sequence[Cell], library: Library) -> None:
    """A name that the set-up binds must be no module's undefined one."""
    names = {name for cell in cells for name in _bound(cell.source)}
    for module in plan.everything:
        for use in module.names.uses:
            if use.name in names and use.scope.holder(use.name).kind == "module" and not use.typing_only:
                if use.name not in module.names.module.bound:
                    what = f"{use.name} is a name that this module does not define, but a cell of the set-up does"
                    library.refuse(module.at(use.node), what, "define or import it")


def _bound(text: str) -> set[str]:
    return set(read_names(text, False)[1].module.bound) - {"__doc__"}


def _words(module: Module, library: Library) -> frozenset[str]:
    """Return what a module mentions: names, attributes, imported packages."""
    attributes = {node.attr for node in module.names.nodes if isinstance(node, ast.Attribute)}
    packages = {one.meaning.module.split(".")[0] for one in library.imports(module) if not one.runs}
    imported = {one.alias.name for one in library.imports(module)}
    own = {use.name for use in module.names.uses if use.name != "__file__" or is_own(use)}
    return frozenset(attributes | packages | imported | own)


def free_name(wanted: str, texts: Sequence[str]) -> str:
    """Return a name that is no word of any text: the wanted one, if need be with a number."""
    number, name = 1, wanted
    while any(re.search(rf"\b{name}\b", text) for text in texts):
        number += 1
        name = f"{wanted}_{number}"
    return name


# -- cells ---------------------------------------------------------------------------------------------------------


def set_up_cells(plan: Plan, library: Library, files: Sequence[CarriedFile]) -> list[Cell]:
    """Return the cells that stand above everything else that runs."""
    needs = needs_of(plan, library)
    texts = [module.text for module in plan.everything]
    cells: list[Cell] = []
    if needs.command_line:
        tagged = any('"parameters"' in comment.text for comment in plan.main.comments)  # the script has its own
        tags = () if tagged else ("parameters",)
        lines = [f"{ARGUMENTS} = {literal(library.arguments)}  # as behind `python {plan.main.where}`"]
        cells.append(_cell("arguments", lines, "arguments", tags))
    lines = _process_lines(plan, library, needs)
    if lines:
        cells.append(_cell("process", lines, "the process that the script expects"))
    if needs.exit:
        cells.append(_cell("exit", _exit_lines(texts), "where the script ends"))
    if needs.tables:
        cells.append(_cell("tables", _table_lines(texts), "tables as a process prints them"))
    writer = free_name("write_carried", texts)
    for number, file in enumerate(files):
        lines = [*(_writer_lines(writer) if number == 0 else []), _call(writer, file)]
        cells.append(replace(_cell("file", lines, file.path), id=make_id(f"{SETUP}-file", number + 1)))
    return cells


def _cell(name: str, lines: Sequence[str], title: str, tags: tuple[str, ...] = ()) -> Cell:
    source = "\n".join([f"# {SETUP}: {title}", *lines])
    id_, numbers = f"{SETUP}-{name}", (0,) * (source.count("\n") + 1)
    return Cell(id_, "code", source, SETUP, tags=tags, lines=numbers, folded=not tags and name != "arguments")


def _process_lines(plan: Plan, library: Library, needs: Needs) -> list[str]:
    where = literal(plan.main.where)
    folder = library.working_folder
    imports, lines = [], []
    if needs.folder or (needs.command_line and library.as_module):
        imports.append("import os")
        lines.append(f"{folder} = os.getcwd()  # for the sources it is the folder in which they lie")
    if needs.command_line:
        imports += ["import shlex", "import sys"]
        first = f'f"{{{folder}}}/{plan.main.where}"' if library.as_module else where
        lines.append(f"sys.argv = [{first}, *shlex.split({ARGUMENTS})]")
    if needs.docstring is not None:
        lines.append(f"__doc__ = {needs.docstring}")
    return [*imports, *([""] if imports else []), *lines]


_EXIT = '''
import ast
import sys


class {kind}(ast.NodeTransformer):
    """`sys.exit()` ends the script, not the kernel: the cells below do nothing. A code other than 0 is an error."""

    ended = False
    guard = "try:\\n    pass\\nexcept SystemExit as {name}_error:\\n    {name}.end({name}_error)"

    def visit_Module(self, cell):
        if self.ended and "class {kind}" not in ast.unparse(cell):  # this cell may run again
            cell.body = ast.parse("{name}.skip()").body
        elif cell.body and getattr(cell.body[0], "module", "") != "__future__":
            lines, cell.body = cell.body, ast.parse(self.guard).body
            cell.body[0].body = lines
        return cell

    def end(self, error):
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
            error = SystemExit(1)
        if error.code is not None and error.code % 256:
            raise error
        self.ended = True

    def skip(self):
        from IPython.display import display

        display({{"text/plain": "The script has ended above: this cell does nothing."}}, raw=True)


{name} = {kind}()
get_ipython().ast_transformers[:] = [{name}]
'''


def _exit_lines(texts: Sequence[str]) -> list[str]:
    kind, name = free_name("ScriptEnd", texts), free_name("script_end", texts)
    return _EXIT.strip("\n").format(kind=kind, name=name).split("\n")


_TABLES = '''
import importlib.util
import sys


class {name}:
    """Tells pandas, once it is imported, to print wide tables as in a process: a kernel has another default."""

    def find_spec(self, name, path=None, target=None):
        if name != "pandas":
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        if found is not None:
            load = found.loader.exec_module
            found.loader.exec_module = lambda module: (load(module), self.tell(module))
        return found

    def tell(self, pandas):
        pandas.set_option("display.max_columns", 0)


if "pandas" in sys.modules:
    {name}().tell(sys.modules["pandas"])
else:
    sys.meta_path.insert(0, {name}())
'''


def _table_lines(texts: Sequence[str]) -> list[str]:
    return _TABLES.strip("\n").format(name=free_name("TablesOfAProcess", texts)).split("\n")


_WRITER = '''
import os


def {name}(path, text):
    """Write a file that the sources expect beside them; one that is there and says something else stays."""
    if os.path.lexists(path):
        with open(path, encoding="utf-8", newline="") as there:
            if there.read() != text:
                raise FileExistsError(f"{{path}} is there already, and not as this notebook has it: move it away")
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "x", encoding="utf-8", newline="") as file:
        file.write(text)
'''


def _writer_lines(name: str) -> list[str]:
    return [*_WRITER.strip("\n").format(name=name).split("\n"), "", ""]


def _call(writer: str, file: CarriedFile) -> str:
    assert not PurePosixPath(file.path).is_absolute() and ".." not in PurePosixPath(file.path).parts
    return f"{writer}({literal(file.path)}, {text_literal(file.text)})"


def text_literal(text: str) -> str:
    """Write a text so that it can be read: over several lines, as it is, where Python and IPython leave it so."""
    if "\n" in text:
        for written in _as_it_is(text):
            if not is_suspicious(written) and _is(written, text):
                return written
        lines = "\n".join(f"    {literal(line)}" for line in text.splitlines(keepends=True))
        if _is(f"(\n{lines}\n)", text):
            return f"(\n{lines}\n)"
    return literal(text) if _is(literal(text), text) else ascii(text)


def _as_it_is(text: str) -> Iterator[str]:
    for quotes in ("'''", '"""'):
        yield f"{quotes}\\\n{text}{quotes}"
        yield f"r{quotes}{text}{quotes}"


def _is(written: str, text: str) -> bool:
    try:
        return bool(ast.literal_eval(written) == text)
    except (SyntaxError, ValueError):
        return False
