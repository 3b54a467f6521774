"""Imports of somebody else's script run where Python runs them: what may be gathered is, the rest stays."""

import pytest

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
        "p/m.py": "import os\nimport numpy as np\n\nos.environ['WHO'] = 'm'\nimport pandas as pd\n\nN = np, pd\n",
        "main.py": "from p.m import N\nimport scipy\nprint(N)\n",
    }
    assert package(files).code(arguments="") == [
        "# imports: standard library\nimport os",
        "# imports: third party\nimport numpy as np",
        "# p/m.py\nos.environ['WHO'] = 'm'\nimport pandas as pd\n\nN = np, pd",
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
