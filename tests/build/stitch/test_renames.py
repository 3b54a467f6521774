"""Names that clash are renamed in one of the modules: the notebook prints what the script prints, in a real kernel."""

import ast
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from build.core.errors import CheckFailed
from build.stitch import Stitched, stitch
from tests.build.stitch.clashing_packages import clashing_package
from tests.build.stitch.real_kernel import run_notebook, run_script
from tests.build.stitch.test_equality import Case, read_cases


def notebook_of(made) -> Stitched:
    """The notebook of somebody else's script."""
    return stitch(made.root / "main.py", made.root, arguments="")


def shown(stitched: Stitched) -> str:
    """The code of all cells, without the line that names its source."""
    return "\n".join(cell.source for cell in stitched.cells if cell.kind == "code")


def agree(made, folder: Path) -> tuple[str, str]:
    """Run the script and the notebook, each as it is run; return what both print, and the notebook's code."""
    stitched = notebook_of(made)
    script, notebook = run_script(made.root / "main.py", made.root), run_notebook(stitched, folder / "notebook")
    assert (notebook.code, notebook.printed) == (script.code, script.printed), (script, notebook, shown(stitched))
    assert script.code == 0, script.errors
    return script.printed, shown(stitched)


@pytest.fixture
def both(package, tmp_path: Path) -> Callable[[dict[str, str]], tuple[str, str]]:
    return lambda files: agree(package(files), tmp_path / "run")


# -- each kind ---------------------------------------------------------------------------------------------------------


def test_a_variable_of_two_modules_is_called_after_the_second(both):
    printed, code = both(
        {
            "p/log.py": "logger = ['log']\ndef add(x):\n    logger.append(x)\n    return logger\n",
            "main.py": "from p.log import add\nlogger = {'of': 'main'}\nprint(add(1), logger, f'logger: {logger}')\n",
        }
    )
    assert printed == "['log', 1] {'of': 'main'} logger: {'of': 'main'}\n"
    assert "logger_log.append(x)" in code and "logger = {'of': 'main'}" in code


def test_a_function_keeps_its_own_name_for_whoever_asks_it(both):
    printed, code = both(
        {
            "p/a.py": "def mark(f):\n    print(f.__name__)\n    return f\n",
            "p/b.py": "from p.a import mark\n@mark\ndef run(n):\n    return n and run(n - 1) or run.__qualname__\n",
            "main.py": "from p import b\ndef run():\n    return repr(b.run)[:14], b.run(2)\nprint(run())\n",
        }
    )
    assert printed == "run\n('<function run ', 'run')\n"
    assert "def run(n):\n    return n and run_b(n - 1) or run_b.__qualname__\nrun_b = run  # " in code


def test_a_class_keeps_its_name_in_its_repr_its_mangled_names_and_its_error(both):
    printed, _ = both(
        {
            "p/a.py": """
                from dataclasses import dataclass

                @dataclass
                class Net:
                    size: int = 1
                    __depth = 3

                    def clone(self) -> "Net":
                        return Net(self.size + Net.__depth)

                class Error(Exception):
                    pass
            """,
            "main.py": """
                from p.a import Net as Other, Error as OtherError
                class Net(Other):
                    pass
                class Error(Exception):
                    pass
                print(Other().clone(), Net(), vars(Other).keys() >= {'_Net__depth'}, Net.__mro__[1].__name__)
                try:
                    raise OtherError(1)
                except Error:
                    print('wrong')
                except OtherError as error:
                    print(type(error).__name__)
            """,
        }
    )
    assert printed.splitlines()[0].startswith("Net(size=4) Net(size=1) True Net") and "wrong" not in printed


def test_one_name_for_two_packages_is_renamed_in_the_gathered_line(both):
    printed, code = both(
        {
            "p/a.py": "from typing import Sequence\ndef f(x: Sequence) -> str:\n    return str(Sequence)\n",
            "p/cli.py": "from collections.abc import Sequence\nimport json as j\ndef g(x):\n    return Sequence, j\n",
            "main.py": "from p import a, cli\nimport math as j\nprint(a.f(1), cli.g(1), j.pi, a.f.__annotations__)\n",
        }
    )
    assert "collections.abc.Sequence" in printed
    assert "from collections.abc import Sequence as Sequence_cli\n" in code and "import json as j_cli\n" in code


def test_a_builtin_that_one_module_redefines_is_renamed_there(both):
    printed, code = both(
        {
            "p/log.py": """
                from functools import partial
                print = partial(print, 'log:')
                def open(x):
                    return f'opened {x}'
                def log(x):
                    print(open(x))
            """,
            "p/b.py": "def read(x):\n    with open(x) as file:\n        return len(file.read()) > 0\n",
            "main.py": "from p.log import log\nfrom p.b import read\nlog('x')\nprint(read('/proc/version'))\n",
        }
    )
    assert printed == "log: opened x\nTrue\n"
    assert "print_log = print\nprint_log = partial(print_log, 'log:')" in code and "del open" in code


def test_a_builtin_read_above_its_redefinition_is_the_builtin_there(both):
    printed, _ = both(
        {
            "p/a.py": "def size(x):\n    return len(x)\nN = size('abc')\ndef len(x):\n    return -1\nM = size('abc')\n",
            "main.py": "from p import a\nprint(a.N, a.M, a.size(''), len('ab'))\n",
        }
    )
    assert printed == "3 -1 -1 2\n"


def test_a_name_that_a_module_forgot_to_import_stays_undefined_there_alone(both):
    printed, code = both(
        {
            "p/a.py": "import json as np\nA = np.dumps(1)\n",
            "p/b.py": "def f():\n    return np.dumps(2)\n",
            "main.py": "from p import a, b\ntry:\n    print(a.A, b.f())\nexcept NameError:\n    print('undefined')\n",
        }
    )
    assert printed == "undefined\n" and "return np_b.dumps(2)" in code and "A = np.dumps(1)" in code


def test_a_name_comes_home_through_every_way_to_import_it(both):
    printed, code = both(
        {
            "p/__init__.py": "from .a import size, area as surface\nfrom . import b\n",
            "p/a.py": "size = 1\ndef area():\n    return size\n",
            "p/b.py": "size = 2\n\nsurface = 'b'\ndef get():\n    return size, surface\n",
            "p/c.py": "from p import size\ndef late():\n    from p.b import size as other\n    from p.b import size\n"
            "    return size, other, first()\ndef first():\n    return size\n",
            "main.py": "import p\nimport p.c as c\nfrom p import surface, b\nsize = 3\n"
            "print(p.size, p.surface(), surface(), p.b.size, b.get(), c.size, c.late(), size, f'{p.b.size}{b.size}')\n",
        }
    )
    assert printed == "1 1 1 2 (2, 'b') 1 (2, 2, 1) 3 22\n"
    assert "size_a" in code and "size_b" in code


def test_names_of_other_scopes_are_left_alone(both):
    printed, code = both(
        {
            "p/a.py": """
                import io
                x = 1
                class C:
                    x = x
                    y = x + 1
                    def x_of(self, x=x, *, y=[x for x in [x]]):
                        return x, y, self.x, [x for x in 'ab'], (lambda x: x)(5)
                def f(x: int, y=x):
                    def g():
                        return x
                    return g(), y, dict(x=x)
                def h():
                    global x
                    x += 1
                    for x in (x,):
                        pass
                    return x
                try:
                    1 / 0
                except ZeroDivisionError as x_error:
                    pass
                match {'x': 3, 'k': 4}:
                    case {'x': n, **rest}:
                        pass
                with io.StringIO() as stream:
                    pass
                [last := v for v in range(3)]
            """,
            "main.py": """
                import p.a as a
                x, n, rest, last, v = 9, 8, 7, 6, 5
                stream = 1
                C = a.C
                print(C.x, C.y, C().x_of(), a.f(2), a.h(), a.n, a.rest, a.last, a.stream.closed, x, n, rest, last, v)
            """,
        }
    )
    assert printed == "1 2 (1, [1], 1, ['a', 'b'], 5) (2, 1, {'x': 2}) 2 3 {'k': 4} 2 True 9 8 7 6 5\n"
    assert "def f(x: int, y=x_a):" in code and "global x_a" in code and "dict(x=x)" in code


def test_f_strings_are_changed_where_the_name_is_meant_and_their_text_is_not(both):
    printed, _ = both(
        {
            "p/a.py": """
                x, w = 2.0, 8
                def f(o):
                    return f'x {x:{w}.{x:.0f}f} {{x}} {o.x} {[x for x in [x]]} {dict(x=x)["x"]}' f"{x!r:>5}"
            """,
            "main.py": "from p.a import f\nclass O:\n    x = 'o'\nx, w = 'main', 1\nprint(f(O), f'{x} {w}')\n",
        }
    )
    assert printed == "x     2.00 {x} o [2.0] 2.0  2.0 main 1\n"


def test_annotations_in_quotes_and_postponed_ones_are_changed(both):
    printed, code = both(
        {
            "p/a.py": """
                from __future__ import annotations
                from typing import Literal, Type, get_type_hints
                class Net:
                    size = 1
                def f(x: Net, y: "Type[Net]", z: Literal["Net"]) -> Net: ...
                HINTS = get_type_hints(f) | {"y": get_type_hints(f)["y"].__args__[0]}
            """,
            "main.py": """
                from p.a import HINTS, Net as Other
                class Net:
                    size = 2
                print({name: getattr(one, 'size', str(one)[-17:]) for name, one in HINTS.items()})
            """,
        }
    )
    assert "'x': 1, 'y': 1" in printed and "Literal['Net']" in printed and "'return': 1" in printed
    assert 'def f(x: Net_a, y: "Type[Net_a]", z: Literal["Net"]) -> Net_a' in code


def test_the_value_of_a_parameter_keeps_its_name(both):
    printed, code = both(
        {
            "p/a.py": "def LIMIT():\n    return 1\n",
            "main.py": """
                # %%
                from p import a
                # %% tags=["parameters"]
                LIMIT = 3
                # %%
                print(LIMIT, a.LIMIT())
            """,
        }
    )
    assert printed == "3 1\n" and "LIMIT = 3" in code and "LIMIT_a = LIMIT" in code


def test_what_a_script_defines_before_a_module_that_it_imports_later_is_not_overwritten(both):
    printed, _ = both(
        {
            "p/a.py": "def f():\n    return 'a'\n",
            "main.py": "# %%\ndef f():\n    return 'main'\nprint(f())\n\n# %%\nfrom p import a\nprint(f(), a.f())\n",
        }
    )
    assert printed == "main\nmain a\n"


@pytest.mark.parametrize("all_", ["", "__all__ = ['size', 'area']\n"], ids=["public names", "__all__"])
def test_a_star_import_brings_the_names_that_its_module_has_in_the_notebook(both, all_):
    printed, code = both(
        {
            "p/__init__.py": "from .a import *\n",
            "p/a.py": f"{all_}size = 1\ndef area():\n    return size\n",
            "p/b.py": "from p import *\nsize_of = lambda: (size, area())\n",
            "main.py": "import p\nfrom p import b\nsize = 2\ndef area():\n    return 3\n"
            "print(p.size, p.area(), b.size_of(), size, area())\n",
        }
    )
    assert printed == "1 1 (1, 1) 2 3\n" and "size_a" in code and "area_a" in code


# -- what stays refused, with the reason -------------------------------------------------------------------------------


def refusal(made) -> str:
    with pytest.raises(CheckFailed) as caught:
        notebook_of(made)
    return "\n".join(map(str, caught.value.problems))


@pytest.mark.parametrize(
    ("module", "script", "why"),
    [
        ("x = 1\nS = f'{x=}'\n", "from p.a import S\nx = 2\nprint(f'{x=}', S)\n", "shows x in an f-string"),
        (
            "x = 1\n",
            "import p.a\nimport pandas as pd\ndef x():\n    return pd.DataFrame().query('@x')\n",
            "may be read as code",
        ),
        (
            "class Net:\n    pass\n",
            "import pickle\nimport p.a as a\nclass Net:\n    pass\nprint(pickle.loads(pickle.dumps(a.Net())))\n",
            "may be pickled",
        ),
        (
            "x = 1\nclass C:\n    for i in range(2):\n        x = x + 1\n",
            "from p.a import C\nx = 5\ndef f():\n    return f'{x=}'\n",
            "reads it or the class's own",
        ),
        ("import os.path\n", "import p.a\nimport math as os\nprint(f'{os=}')\n", "imports a module inside it"),
    ],
    ids=["a name that an f-string shows", "a name in a query", "pickled", "half the class's own", "import a.b"],
)
def test_what_cannot_be_renamed_is_refused_with_the_reason(package, module, script, why):
    reason = refusal(package({"p/a.py": module, "main.py": script}))
    assert why in reason and " → rename one of them" in reason


def test_our_own_kernels_may_not_have_names_that_clash(package):
    made = package({"p/a.py": "x = 1\n", "main.py": "import p.a\nx = 2\n"})
    assert made.refusals()[0].startswith("main.py:2: x is defined here and in p/a.py:1")


# -- everything that was refused or meant as a trap --------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", [*read_cases("traps.txt"), *read_cases("refused.txt"), *read_cases("equal.txt")], ids=str
)
def test_what_is_accepted_prints_the_same(package, tmp_path, case: Case):
    main = next(name for name in case.files if name.endswith("main.py"))
    made = package(case.files)
    try:
        stitched = stitch(made.root / main, made.root, arguments="")
    except CheckFailed as failed:
        assert all(problem.where and problem.cure for problem in failed.problems)
        return
    if not stitched.renamed:
        return  # test_equality has it
    script = run_script(made.root / main, made.root)
    assert run_notebook(stitched, tmp_path / "notebook").printed == script.printed


def test_a_new_name_is_no_word_of_any_source(package):
    made = package({"p/a.py": "x = 1  # not x_a\n", "q/p/a.py": "x = 3\n", "main.py": "import p.a, q.p.a\nx = 2\n"})
    assert notebook_of(made).renamed == {"x_p_a": "x", "x_q_p_a": "x"}


def test_the_lines_of_a_renamed_cell_say_where_they_come_from(package):
    made = package({"p/a.py": "\n\ndef f():\n    return f\n", "main.py": "import p.a\ndef f(): ...\n"})
    (cell,) = [cell for cell in notebook_of(made).cells if cell.where == "p/a.py"]
    assert cell.lines == (0, 3, 4, 0, 0)
    ast.parse(cell.source)
    assert re.search(r"\ndef f\(\):\n    return f_a\nf_a = f  # .*\ndel f$", cell.source)


# -- random packages ---------------------------------------------------------------------------------------------------


def judged(made, folder: Path) -> str:
    """Whether notebook and script agree, or why there is no notebook."""
    try:
        stitched = notebook_of(made)
    except CheckFailed as failed:
        return f"refused: {failed.problems[0]}"
    ran = run_notebook(stitched, folder)
    assert (ran.code, ran.printed) == (0, made.as_package()), (ran.errors, shown(stitched))
    return "equal, renamed" if stitched.renamed else "equal"


def test_random_packages_whose_names_clash_compute_the_same_or_are_refused(package, tmp_path_factory):
    said: list[str] = []
    for seed in range(10):
        folder = tmp_path_factory.mktemp("clashing")
        made = type(package({}))(folder / "root", **clashing_package(random.Random(seed)))
        said.append(judged(made, folder / "run"))
    assert said.count("equal, renamed") >= 7, said


@pytest.mark.full
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_many_random_packages_whose_names_clash_compute_the_same_or_are_refused(package, tmp_path_factory, choice):
    folder = tmp_path_factory.mktemp("clashing")
    made = type(package({}))(folder / "root", **clashing_package(choice))
    event(judged(made, folder / "run")[:40])
