"""Generated packages compute the same as package and as notebook; a few run in a real kernel."""

import ast
import json
import symtable
import sysconfig
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from build.core.errors import CheckFailed
from build.stitch.walk import find_names


@st.composite
def packages(draw):
    """Files of a package of two to five modules, each importing some earlier ones in some form, and a script.

    Names are unique, apart from a rare twin, a builtin's name or an alias that clashes: those must be refused.
    """
    count = draw(st.integers(2, 5))
    nested = [draw(st.booleans()) for _ in range(count)]
    modules = [f"pkg.sub.m{index}" if nested[index] else f"pkg.m{index}" for index in range(count)]
    postponed = draw(st.sampled_from([False, False, True]))
    future = "from __future__ import annotations\n" if postponed else ""
    files = {"pkg/__init__.py": "", "pkg/sub/__init__.py": ""}
    names = [[f"K{index}", f"f{index}", f"C{index}", f"seen{index}"] for index in range(count)]
    if draw(st.integers(0, 5)) == 3:
        names[-1][1] = draw(st.sampled_from(["f0", "max"]))  # a twin, or a builtin that others use
    for index in range(count):
        imports, reads = [], []
        for other in range(index):
            lines, read = draw(uses_of(modules[index], modules[other], names[other], f"{index}_{other}"))
            imports += lines
            reads += read
        constant, function, class_, state = names[index]
        value = " + ".join([str(draw(st.integers(0, 9))), *draw(st.permutations(reads))])
        loud = draw(st.integers(0, 3)) == 2
        inner = value if function == f"f{index}" else constant  # a twin would call itself for ever
        files[modules[index].replace(".", "/") + ".py"] = (
            f'"""## Module {index}\n\nText with `from pkg import *`.\n"""\n{future}'
            + "import math\n"
            + "".join(imports)
            + ("\n# %%\n" if draw(st.booleans()) else "\n")
            + f"{state} = []\n{constant} = {value}\n"
            + (f"print('runs', '{modules[index]}', {constant})\n" if loud else "")
            + f"def {function}(x: int, {'K0' if draw(st.integers(0, 7)) == 5 else 'y'}: int = {constant}) -> int:\n"
            + f"    {state}.append(x)\n    return x + len({state}) + math.floor({inner})\n\n"
            + ("# %% The class\n" if draw(st.booleans()) else "")
            + f"class {class_}:\n    size = {constant}\n"
            + f"    def get(self, x):\n        return {function}(x) + max(self.size, 0)\n"
        )
    if draw(st.booleans()):
        files["pkg/__init__.py"] = f"from {modules[0].replace('pkg.', '.', 1)} import {names[0][1]} as api\n"
    cells = ["# %% [markdown]\n# # Generated\n"]
    for position, other in enumerate(draw(st.permutations(range(count)))):
        lines, read = draw(uses_of("main", modules[other], names[other], f"main_{other}", relative=False))
        before = f"print('before', {position})\n" if draw(st.booleans()) else ""
        text = "{" + read[0] + "!r}" if '"' not in read[0] else "x"
        cells.append(f'# %%\n{before}{"".join(lines)}print({", ".join(read)}, f"{text}")\n')
    if files["pkg/__init__.py"]:
        cells.append("# %%\nimport pkg\nprint(pkg.api(3))\n")
    files["main.py"] = future + "".join(cells)
    return files


@st.composite
def uses_of(draw, importer, module, names, tag, relative=True):
    """Lines that import a module in one form, and expressions of int that use it."""
    constant, function, class_, _ = names
    parent, _, leaf = module.rpartition(".")
    source = module
    if relative and draw(st.booleans()):
        here = importer.rpartition(".")[0].split(".")
        there = module.split(".")
        shared = 1 if len(here) == 1 or there[:2] != here[:2] else 2
        source = "." * (len(here) - shared + 1) + ".".join(there[shared:])
    form = draw(st.sampled_from([*["from", "from as", "import", "import as", "from package"] * 3, "lazy"]))
    if form == "from":
        return [f"from {source} import (\n    {constant},\n    {function}, {class_},  # why\n)\n"], [
            constant, f"{function}(1)", f"{class_}().get(2)",
        ]  # fmt: skip
    if form == "from as":
        return [f"from {source} import {function} as g_{tag}, {constant}\n"], [f"g_{tag}(1)", constant]
    if form == "import":
        return [f"import {module}\n"], [f"{module}.{constant}", f"{module}.{class_}().size"]
    if form == "import as":
        return [f"import {module} as mod_{tag}\n"], [f"mod_{tag}.{function}(mod_{tag}.{constant})"]
    if form == "from package":
        return [f"from {parent} import {leaf} as leaf_{tag}\n"], [f"leaf_{tag}.{constant}"]
    return [f"def late_{tag}():\n    from {source} import {function} as h\n    return h(4)\n"], [f"late_{tag}()"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=packages())
def test_generated_package_and_notebook_print_the_same(package, tmp_path_factory, files):
    made = type(package({}))(tmp_path_factory.mktemp("generated"), **files)  # a fresh folder per example
    expected = made.as_package()
    try:
        assert made.as_notebook(pure=True) == expected
        event("equal")
    except CheckFailed as failed:
        event("refused: " + failed.problems[0].what[:30])
        assert all(problem.where.rpartition(":")[2].isdigit() for problem in failed.problems)


def test_most_generated_packages_are_stitched_not_refused(package, tmp_path_factory):
    """The property would be empty if the stitcher refused everything."""
    import random

    made = package({})
    rng = random.Random(0)
    equal = 0
    for _ in range(12):
        forms = [rng.choice(["from c.m{0} import f{0}", "import c.m{0} as a{1}_{0}"]) for _ in range(4)]
        files = {"c/m0.py": "def f0(x):\n    return x + 1\n"}
        for index in range(1, 4):
            line = forms[index].format(index - 1, index)
            call = f"f{index - 1}" if line.startswith("from") else f"a{index}_{index - 1}.f{index - 1}"
            files[f"c/m{index}.py"] = f"{line}\ndef f{index}(x):\n    return {call}(x) * {index}\n"
        fresh = type(made)(
            tmp_path_factory.mktemp("mostly"), **files, **{"main.py": "from c.m3 import f3\nprint(f3(1))\n"}
        )
        equal += fresh.as_notebook(pure=True) == fresh.as_package() == "12\n"
    assert equal == 12


@pytest.mark.parametrize("number", [0, 1])
def test_a_real_kernel_prints_the_same(package, number):
    """The notebook runs as Jupyter runs it: nbclient, ipykernel, a fresh process."""
    import nbformat
    from nbclient import NotebookClient

    files = [
        {
            "p/a.py": '''
                """## A"""
                from __future__ import annotations
                from dataclasses import dataclass

                @dataclass
                class A:
                    x: Later = 1
            ''',
            "p/b.py": "import p.a as first\n\n# %%\n...\ndef make():\n    return first.A(x=f'{first.A().x}')\n",
            "main.py": """
                # %%
                from __future__ import annotations
                print('start')
                from p.b import make as build_one
                # %%
                print(build_one())
            """,
        },
        {
            "p/m.py": "def f(x: int) -> str:\n    return x % 5\nprint(f.__annotations__)\n",
            "main.py": "import p.m as m\nif __name__ == '__main__':\n    print(m.f(7), f'{m.f(8)}')\n",
        },
    ][number]  # fmt: skip
    made = package(files)
    notebook = nbformat.reads(made.stitch().notebook.decode(), as_version=4)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "".join(output.get("text", "") for output in outputs) == made.as_package()


STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


@pytest.mark.parametrize(
    "name", ["argparse", "ast", "dataclasses", "enum", "inspect", "typing", "zipfile", "logging/__init__"]
)
def test_scopes_agree_with_the_compilers_symbol_table(name):
    """An independent judge: which names of a module are global, by CPython's own symbol table."""
    text = (STANDARD_LIBRARY / f"{name}.py").read_text()
    names = find_names(ast.parse(text), skip_guards=False)
    ours = {use.name for use in names.uses if use.scope.holder(use.name).kind == "module"}
    # A class body may read a global under a name that it binds itself, and symtable then calls it local.
    theirs: set[str] = set()

    def collect(table: symtable.SymbolTable) -> None:
        for symbol in table.get_symbols():
            top = table.get_type() == "module"
            if (symbol.is_referenced() or symbol.is_assigned() or symbol.is_imported()) and (
                symbol.is_global() or (top and symbol.is_local())
            ):
                theirs.add(symbol.get_name())
        for child in table.get_children():
            collect(child)

    collect(symtable.symtable(text, name, "exec"))
    bound = {name for name, bindings in names.module.bound.items() if bindings}
    assert ours | bound == theirs | bound
    assert bound <= theirs


def test_ipython_leaves_the_standard_library_alone_as_cells():
    """What `traps` does not suspect, IPython does not change: tried on real code."""
    from IPython.core.inputtransformer2 import TransformerManager

    from build.stitch.ipython_differences import is_suspicious

    manager = TransformerManager()
    for path in sorted(STANDARD_LIBRARY.glob("*.py"))[:60]:
        for text in path.read_text(encoding="utf-8", errors="replace").split("\n\n\n")[:12]:
            cell = "# source\n" + text.strip("\n")
            try:
                ast.parse(cell)
            except SyntaxError:
                continue
            if not is_suspicious(cell):
                assert manager.transform_cell(cell) == cell + "\n", path


def test_cells_hold_valid_json_text(package):
    """Control characters and separators of the source survive the file format."""
    made = package({"main.py": "S = 'a\u2028b\x0c\x85'\nprint(ascii(S))\n"})
    assert "a\\u2028b\\x0c\\x85" in made.must_agree()
    assert json.loads(made.stitch().notebook)["nbformat"] == 4
