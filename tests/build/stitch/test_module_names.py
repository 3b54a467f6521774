"""`__name__`, `__file__`, `__doc__` and `__package__` of a module: in the notebook, what they are in the package."""

import pytest

MODULE = '''
    """What it is for.

      Two lines, a "quote" and a \\\\ backslash.
    """

    import logging
    import os
    from pathlib import Path

    HERE = Path(__file__).parent
    log = logging.getLogger(__name__)

    def names():
        return __name__, __package__, f"{__name__}: {__package__!r}", f'{__name__}', __doc__

    def beside():
        return HERE.relative_to(Path(__file__).parents[1]), os.path.basename(__file__), f"{__file__}".rpartition("/")[2]
'''
MAIN = '''
    """Title of the script

    with two lines"""
    import p.q.m as m
    from p.q.m import beside, log, names

    if __name__ == "__main__":
        print(names())
        print(beside(), log.name, m.__name__, m.__package__)
        print(__name__, __package__, repr(__doc__), __file__.endswith("/main.py"), __file__[0])
'''


def test_a_library_modules_names_are_its_own_and_the_scripts_are_main(agree, package):
    said = agree({"p/q/m.py": MODULE, "main.py": MAIN})
    assert "('p.q.m', 'p.q', \"p.q.m: 'p.q'\", 'p.q.m', 'What it is for.\\n\\n  Two lines" in said
    assert "(PosixPath('q'), 'm.py', 'm.py') p.q.m p.q.m p.q\n" in said
    assert said.splitlines()[-1] == "__main__ None 'Title of the script\\n\\nwith two lines' True /"


def test_the_cells_show_literals_and_a_folder_that_is_named_once(package):
    made = package(
        {
            "p/m.py": "import os\nname = __name__\nhere = os.path.dirname(__file__)\ntext = f'{__name__}'\n",
            "main.py": "import p.m\nprint(p.m.name, __name__, __file__)\n",
        }
    )
    assert made.code(arguments="") == [
        "# set-up: the process that the script expects\nimport os\n\n"
        "WORKING_FOLDER = os.getcwd()  # for the sources it is the folder in which they lie",
        "# imports: standard library\nimport os",
        '# p/m.py\nname = "p.m"\nhere = os.path.dirname(f"{WORKING_FOLDER}/p/m.py")\ntext = f\'{"p.m"}\'',
        '# main.py\nprint(name, __name__, f"{WORKING_FOLDER}/main.py")',
    ]


def test_a_change_of_the_folder_changes_no_file_name(agree):
    main = """
        import os
        from pathlib import Path
        from p.m import path
        before = path()
        Path("new").mkdir()
        os.chdir("new")
        print(path() == before, Path(__file__).parent.name == Path(before).parents[1].name)
    """
    assert agree({"p/m.py": "def path():\n    return __file__\n", "main.py": main}) == "True True\n"


@pytest.mark.parametrize(
    "module",
    [
        "def f():\n    if __name__ == '__main__':\n        return 1\n    return 2\n",
        "def f():\n    return __name__ != '__main__', 'm' in __name__\n",
        "def f():\n    __name__ = 'local'\n    return __name__, f'{__name__}'\n",
        "class C:\n    __name__ = 'c'\n    x = __name__\n    def y(self):\n        return __name__\n"
        "def f():\n    return C.x, C().y()\n",
        "def f(__doc__='d'):\n    return __doc__\n",
        "def f():\n    return __doc__\n",
        "def f():\n    return f'{__name__!r:>9}{__name__.upper()}' f\"{__name__[0]}\"\n",
        "def f():\n    return f'''\n{__name__}\n'''\n",
        "def f():\n    return [__name__ for _ in range(2)], (lambda: __package__)()\n",
        "def f():\n    return __name__.split(\".\")[-1], __file__.rpartition('/')[2]\n",
        "if __name__ == '__main__':\n    print('never')\ndef f():\n    return 'f'\n",
    ],
)
def test_names_by_scope_and_in_strings(agree, module):
    agree({"p/m.py": module, "main.py": "from p.m import f\nprint(f())\n"})


@pytest.mark.parametrize(
    "module, reason",
    [
        ("print(__spec__)\n", "p/m.py:1: __spec__ differs in a notebook"),
        ("__doc__ = 'x'\nprint(__doc__)\n", "p/m.py:1: sets __doc__"),
        ("class C:\n    'text'\n    x = __doc__\n", "p/m.py:3: __doc__ in a class body"),
        ("print(f'__name__ is {__name__}')\n", "p/m.py:1: __name__ inside this f-string"),
        ("print(f'{__doc__}')\n", "p/m.py:1: __doc__ inside this f-string"),
        ("print(f'{__name__=}')\n", "p/m.py:1: this statement cannot be rewritten safely"),
        ("print(__path__)\n", "p/m.py:1: __path__ differs in a notebook"),
    ],
)
def test_what_cannot_be_said_as_a_literal_is_refused(package, module, reason):
    refusals = package({"p/m.py": module, "main.py": "import p.m\n"}).refusals(arguments="")
    assert refusals[0].startswith(reason), refusals


def test_an_edit_of_such_a_cell_comes_home_with_the_name_and_a_new_literal_stays_one(package):
    from build.notebooks.base import Base
    from build.notebooks.edited_cells import EditedCell
    from build.sync.cell_matching import base_text, match
    from build.sync.mapping import apply

    texts = {"p/m.py": "def f():\n    return __name__, 1\n", "main.py": "from p.m import f\nprint(f())\n"}
    stitched = package(texts).stitch(arguments="")
    base = Base(stitched.source_sha256, "main.py", {}, texts, list(stitched.cells))
    edited = [
        EditedCell(number, cell.kind, base_text(cell).replace(", 1", ', 2, "p.m"'), cell.id)
        for number, cell in enumerate(stitched.cells, 1)
    ]
    problems = []
    back = apply(base, edited, match(base.cells, edited), problems)
    assert not problems and back["p/m.py"] == 'def f():\n    return __name__, 2, "p.m"\n'
