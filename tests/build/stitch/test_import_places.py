"""Imports of somebody else's script run where Python runs them: what may be gathered is, the rest stays."""

import pytest

from build.core.errors import CheckFailed
from build.stitch import stitch

# A package that says when it is imported, and what it finds then.
LOUD = "import os\nprint('{name} is imported,', os.environ.get('WHO'))\nX = '{name}'\n"


@pytest.fixture
def outside(tmp_path_factory, monkeypatch):
    """Two packages that are installed, for the script and for the kernel."""
    folder = tmp_path_factory.mktemp("installed")
    for name in ("outer", "other", "third"):
        (folder / f"{name}.py").write_text(LOUD.format(name=name))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


# -- somebody else's packages ------------------------------------------------------------------------------------------


def test_a_third_party_import_after_code_that_acts_stays_in_its_cell(package):
    files = {
        "p/m.py": "import os\nimport numpy as np\n\nos.environ['WHO'] = 'm'\nimport yaml as pd\n\nN = np, pd\n",
        "main.py": "from p.m import N\nimport scipy\nprint(N)\n",
    }
    assert package(files).code(arguments="") == [
        "# imports: standard library\nimport os",
        "# imports: third party\nimport numpy as np",
        "# p/m.py\nos.environ['WHO'] = 'm'\nimport yaml as pd\n\nN = np, pd",
        "# main.py\nimport scipy\nprint(N)",
    ]


@pytest.mark.parametrize("before", ["print('acts')", "os.environ['WHO'] = 'main'", "x = [n for n in range(3)]", "pass"])
def test_packages_are_imported_in_pythons_order_and_find_what_they_would(agree, outside, before):
    files = {
        "p/a.py": "import os\nimport outer\n\nprint('a runs')\nimport third\nY = outer.X\n",
        "p/b.py": "from outer import X\nimport other\n\nZ = X + other.X\n",
        "main.py": f"import os\nfrom p.a import Y\n{before}\nfrom p.b import Z\nimport third\nprint(Y, Z, third.X)\n",
    }
    said = agree(files, fresh=True)
    assert said.startswith("outer is imported, None\na runs\nthird is imported, None\n")


def test_what_is_imported_in_a_try_or_an_if_keeps_its_turn(agree, outside):
    main = """
        import outer
        try:
            import other
        except ImportError:
            other = None
        try:
            import not_there
        except ImportError as error:
            print(error)
        import third
        from p.m import X
        print(X, other.X, third.X)
    """
    agree({"p/m.py": "import third\nprint('m')\nX = 1\n", "main.py": main}, fresh=True)


def test_a_module_that_acts_above_an_import_of_ours_is_cut_there(agree, package, outside):
    files = {
        "p/a.py": "import os\nfrom p.c import f\n\nos.environ['WHO'] = f('a')\nprint('a begins')\n\n"
        "# b comes next\nfrom p.b import B\n\nA = B + 1\nprint('a ends')\n",
        "p/b.py": "import os\n\nprint('b runs', os.environ['WHO'])\nB = 1\n",
        "p/c.py": "def f(x):\n    return x\n",
        "main.py": "import os\nfrom p.a import A\n\nprint(A, os.environ['WHO'])\n",
    }
    assert agree(files) == "a begins\nb runs a\na ends\n2 a\n"
    assert package(files).code(arguments="")[1:] == [
        "# p/c.py\ndef f(x):\n    return x",
        "# p/a.py\nos.environ['WHO'] = f('a')\nprint('a begins')\n\n# b comes next",
        "# p/b.py\nprint('b runs', os.environ['WHO'])\nB = 1",
        "# p/a.py\nA = B + 1\nprint('a ends')",
        "# main.py\nprint(A, os.environ['WHO'])",
    ]


def test_a_module_is_cut_as_often_as_it_needs_to_be(agree):
    files = {
        "p/__init__.py": '"""## The package\n\nText."""\n',
        "p/a.py": '"""## A"""\nprint(1)\nimport p.b\nprint(3)\n\n# %%\nprint(4)\nimport p.c\n'
        "from p.d import f\nprint(6, f())\n",
        "p/b.py": "print(2)\n",
        "p/c.py": "print(5)\n",
        "p/d.py": "def f():\n    return 7\n",
        "main.py": "print(0)\nimport p.a\n",
    }
    assert agree(files) == "0\n1\n2\n3\n4\n5\n6 7\n"


def test_our_own_kernels_still_refuse_such_imports(package):
    files = {"p/m.py": "x = 1\n", "p/n.py": "print(1)\nfrom p.m import x\nimport numpy\n", "main.py": "import p.n\n"}
    assert len(package(files).refusals()) == 2


# -- ours, late or perhaps -----------------------------------------------------------------------------------------


def test_a_lazy_import_of_ours_may_need_what_is_imported_in_any_case(agree, package):
    files = {
        "p/late.py": "from json import dumps\nimport click.core\n\ndef f():\n    return dumps([1])\n",
        "main.py": "import click\nprint('acts')\ndef g():\n    from p.late import f\n    return f()\nprint(g())\n",
    }
    assert agree(files) == "acts\n[1]\n"
    made = package({**files, "p/late.py": "import onnx\n\ndef f():\n    return onnx\n"})
    (reason,) = made.refusals(arguments="")
    assert reason.startswith("p/late.py:1: onnx is imported only when this module is")


def test_a_lazy_import_of_a_module_that_acts_stays_refused(package):
    files = {"p/m.py": "print('m')\nX = 1\n", "main.py": "def f():\n    from p.m import X\n    return X\nprint(f())\n"}
    (reason,) = package(files).refusals(arguments="")
    assert "would run p/m.py:1 only when called" in reason


# -- where modules lie ---------------------------------------------------------------------------------------------


def test_modules_beside_the_script_come_before_those_under_the_root(agree):
    files = {
        "scripts/tools.py": "WHO = 'beside', __name__\n",
        "tools.py": "WHO = 'root'\n",
        "scripts/more/m.py": "from tools import WHO\n",
        "scripts/main.py": "import tools\nfrom more.m import WHO\nprint(tools.WHO, WHO)\n",
    }
    assert agree(files, main="scripts/main.py") == "('beside', 'tools') ('beside', 'tools')\n"


@pytest.mark.parametrize(
    "added",
    [
        "sys.path.insert(0, 'src')",
        "sys.path.append(os.path.join(os.path.dirname(__file__), '..', 'src'))",
        "sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, 'src'))",
        "sys.path.append(str(Path(__file__).resolve().parent.parent / 'src'))",
        "ROOT = Path(__file__).resolve().parents[1]\nsys.path.insert(0, str(ROOT / 'src'))",
        "sys.path += [os.getcwd() + '', os.path.join(os.getcwd(), 'src')]",
        "sys.path.extend([str(Path.cwd().joinpath('src'))])",
    ],
)
def test_a_folder_that_the_script_adds_to_the_path_is_looked_into(agree, added):
    files = {
        "src/tools.py": "WHO = __name__\n",
        "scripts/main.py": f"import os, sys\nfrom pathlib import Path\n{added}\nfrom tools import WHO\nprint(WHO)\n",
    }
    assert agree(files, main="scripts/main.py") == "tools\n"


def test_a_module_under_two_names_or_in_a_folder_nobody_can_read_is_refused(package):
    files = {"scripts/m.py": "X = 1\n", "scripts/main.py": "import m\nimport scripts.m\nprint(m.X)\n"}
    assert "imported as m and as scripts.m" in package(files).refusals("scripts/main.py", arguments="")[0]
    main = "import os, sys\nsys.path.append(os.environ['SRC'])\nimport tools\nprint(tools)\n"
    (reason,) = package({"src/tools.py": "", "main.py": main}).refusals(arguments="")
    assert reason.startswith("main.py:3: tools may be src/tools.py")


def test_a_script_with_relative_imports_is_run_as_a_module(package, tmp_path):
    from tests.build.stitch.real_kernel import run_notebook, run_script

    main = "import sys\nfrom .m import X\nfrom . import m\nprint(X, m.X, __package__, __name__, sys.argv[1:])\n"
    made = package({"p/__init__.py": "", "p/m.py": "X = __name__, __package__\n", "p/main.py": main})
    script = run_script(made.root / "p/main.py", made.root, "-v", module="p.main")
    ran = run_notebook(made.stitch("p/main.py", arguments="-v"), tmp_path / "there")
    assert (ran.code, ran.printed) == (script.code, script.printed) and script.code == 0


# -- what is decided before the program runs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "head, said",
    [
        ("try:\n    from p.m import f\nexcept ImportError:\n    f = None\n", "p.m 1"),
        (
            "try:\n    import p.m as m\n    from p.m import f as g, h\nexcept Exception as e:\n    print(e)\nf = g\n",
            "p.m 1",
        ),
        ("try:\n    from .p.m import f\nexcept ImportError:\n    from p.m import f\n", "p.m 1"),
        ("try:\n    from p.gone import f\nexcept (ImportError, OSError):\n    from p.m import f\n", "p.m 1"),
        ("if True:\n    from p.m import f\nelse:\n    import p.other\n", "p.m 1"),
        ("from p.m import *\n", "p.m 1"),
        ("from p import *\n", "p.m 1"),
    ],
)
def test_imports_of_ours_in_a_try_under_a_condition_or_with_a_star(agree, head, said):
    files = {
        "p/__init__.py": "from .m import *\nfrom .m import _hidden\n__all__ = ['f', '_hidden']\n",
        "p/m.py": "import os\n_hidden = 2\ndef h():\n    return 1\ndef f():\n    return __name__, h()\n",
        "p/other.py": "def other():\n    pass\n",
        "main.py": f"{head}print(*f())\n",
    }
    assert agree(files) == f"{said}\n"


def test_the_cell_shows_nothing_of_a_try_that_is_decided(package):
    main = "import os\ntry:\n    from p.m import f as g  # fast\nexcept ImportError:  # slow\n    g = None\nprint(g)\n"
    made = package({"p/m.py": "def f():\n    pass\n", "main.py": main})
    assert made.code(arguments="")[-1] == "# main.py\ng = f\nprint(g)"


@pytest.mark.parametrize(
    "files, reason",
    [
        (
            {"p/m.py": "import cupy\ndef f():\n    return cupy\n"},
            "p/m.py:1: cupy is imported only when this module is",
        ),
        (
            {"main.py": "try:\n    from p.gone import f\nexcept ImportError:\n    f = None\nprint(f)\n"},
            "main.py:2: there is no module p.gone",
        ),
        ({"p/m.py": "def g():\n    pass\n"}, "main.py:2: p.m does not define f"),
        ({"main.py": "from json import *\nprint(dumps)\n"}, "main.py:1: star import from json"),
        (
            {"main.py": "x = 1\nif x:\n    from p.m import f\n", "p/m.py": "print(1)\ndef f():\n    pass\n"},
            "main.py:3: this import inside a function would run p/m.py:1",
        ),
    ],
)
def test_what_cannot_be_decided_is_refused(package, files, reason):
    there = {
        "p/m.py": "def f():\n    pass\n",
        "main.py": "try:\n    from p.m import f\nexcept ImportError:\n    f = None\nprint(f)\n",
    }
    assert package({**there, **files}).refusals(arguments="")[0].startswith(reason)


@pytest.mark.parametrize(
    "head",
    [
        "if TYPE_CHECKING:\n    from p.m import C\n",
        "if TYPE_CHECKING:\n    from p.m import C\nelse:\n    C = None\n",
        "if TYPE_CHECKING:\n    if 1:\n        from p.m import C\n",
        "if TYPE_CHECKING:\n    import p.m as m\n    from p import m as n\n    from .p.m import C\n",
        "if not TYPE_CHECKING:\n    C = None\nelse:\n    from p.m import C\n",
    ],
)
def test_imports_for_type_checking_alone(package, tmp_path, head):
    from tests.build.stitch.real_kernel import run_notebook, run_script

    main = f"from typing import TYPE_CHECKING\n{head}\ndef f(c: 'C') -> 'C':\n    return c\nprint(f(1))\n"
    made = package({"p/m.py": "print('never')\nclass C:\n    pass\n", "main.py": main})
    try:
        stitched = made.stitch(arguments="")
    except CheckFailed as failed:
        assert all(problem.cure for problem in failed.problems)
        return
    assert run_notebook(stitched, tmp_path / "there").printed == run_script(made.root / "main.py", made.root).printed


def test_a_module_that_cannot_be_read_is_refused_even_if_it_is_named_for_type_checking_first(package):
    main = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.m import C\nfrom p.m import C as D\nprint(D)\n"
    )
    assert package({"p/m.py": "def f(:\n", "main.py": main}).refusals(arguments="")[0].startswith("p/m.py:1: syntax")


def test_third_party_imports_stand_in_the_order_in_which_python_runs_them(tmp_path):
    """The script's own first ones come before those of the modules that it imports below them."""
    (tmp_path / "p.py").write_text("import numpy as np\n\nONE = np.ones(1)\n")
    (tmp_path / "main.py").write_text(
        "import pandas as pd\n\nfrom p import ONE\n\nimport torch\n\nprint(pd, ONE, torch)\n"
    )
    cells = stitch(tmp_path / "main.py", tmp_path).cells
    gathered = next(cell.source for cell in cells if cell.id == "imports-third-party")
    assert gathered.split("\n")[1:] == ["import pandas as pd", "import numpy as np", "import torch"]
