"""What is not refused computes the same; what cannot is refused with file:line and the reason (texts in `cases/`)."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from build.core.errors import CheckFailed

CASES = Path(__file__).parent / "cases"


@dataclass
class Case:
    claim: str
    files: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.claim


def read_cases(name: str) -> list[Case]:
    """Read claims (`======== claim`), reasons (`refused: …`) and files (`-------- path`)."""
    cases: list[Case] = []
    path = ""
    for line in (CASES / name).read_text(encoding="utf-8").split("\n"):
        if line.startswith("======== "):
            cases.append(Case(line[9:]))
            path = ""
        elif line.startswith("-------- "):
            path = line[9:]
            cases[-1].files[path] = ""
        elif cases and path:
            cases[-1].files[path] += line + "\n"
        elif line.startswith("refused: "):
            cases[-1].refused.append(line[9:])
    for case in cases:
        case.files = {path: text.rstrip("\n") + "\n" if text.strip() else "" for path, text in case.files.items()}
    return cases


@pytest.mark.parametrize("case", read_cases("equal.txt"), ids=str)
def test_notebook_prints_what_the_package_prints(package, case):
    main = next(name for name in case.files if name.endswith("main.py"))
    assert package(case.files).must_agree(main).strip()


@pytest.mark.parametrize("case", read_cases("refused.txt"), ids=str)
def test_refused_with_every_place_and_reason(package, case):
    reasons = package(case.files).refusals()
    assert len(reasons) == len(case.refused), reasons
    for reason, beginning in zip(reasons, case.refused, strict=True):
        assert reason.startswith(beginning), reasons
        assert " → " in reason, "no cure"


@pytest.mark.parametrize("case", read_cases("traps.txt"), ids=str)
def test_trap_is_refused_or_prints_the_same(package, case):
    made = package(case.files)
    try:
        notebook = made.as_notebook()
    except CheckFailed as failed:
        assert all(problem.where and problem.cure for problem in failed.problems)
        return
    assert notebook == made.as_package()


# -- characters that a text file would not keep --------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "X = 1\n   \ndef f():\n    a = 1\n   \n    return a\nprint(f())\n",
        "\ufeffX = '''a\r\nb'''\r\nprint(repr(X))\r\n",
        "X = '''a\x0c\n\x0b\n b\x1c\n'''\nprint(repr(X))\n",
        "X = 'a\u2028b\x0c\x85'\nprint(ascii(X))\n",
        "def f():\n\tif 1:\n\t\treturn 2\n\x0c\nX = 1\nprint(f())\n",
        "X = '''a   \n b\t\n'''\nprint(repr(X))\n",
    ],
    ids=["empty lines of spaces", "windows", "control characters", "line separators", "tabs", "trailing spaces"],
)
def test_unusual_characters_are_refused_or_keep_their_value(package, text):
    test_trap_is_refused_or_prints_the_same(
        package, Case("", {"p/m.py": text, "main.py": "from p.m import X\nprint(X)\n"})
    )


def test_spaces_on_an_empty_line_of_a_string_are_refused_because_ipython_removes_them(package):
    (reason,) = package({"main.py": "x = '''a\n   \nb'''\n"}).refusals()
    assert reason.startswith("main.py:2: IPython removes the spaces")


def test_a_file_that_is_not_utf8_is_refused(package):
    made = package({"main.py": "import p\n"})
    (made.root / "p.py").write_bytes("x = 'ä'\n".encode("latin-1"))
    assert made.refusals() == ["p.py:1: not UTF-8 (byte 5) → save the file as UTF-8"]


def test_a_data_file_beside_the_module_or_under_the_root_is_refused(package):
    module = "def f():\n    return open('words.txt')\nA = 'data/a.csv'\nB = Path('data') / 'a.csv'\n"
    files = {
        "p/m.py": "from pathlib import Path\n" + module,
        "p/words.txt": "",
        "data/a.csv": "",
        "main.py": "import p.m\n",
    }
    assert [reason.split(" is a file")[0] for reason in package(files).refusals()] == [
        "p/m.py:3: 'words.txt'",
        "p/m.py:4: 'data/a.csv'",
        "p/m.py:5: 'data/a.csv'",
    ]


def test_all_reasons_come_at_once_sorted_by_place(package):
    files = {
        "p/a.py": "from p.gone import x\nprint(__file__)\ny = globals()\n",
        "p/b.py": "y = 2\n",
        "main.py": "import p.b\nimport p.a\nfrom p.b import *\n",
    }
    places = [reason.split(" ")[0] for reason in package(files).refusals()]
    assert places == ["main.py:3:", "p/a.py:1:", "p/a.py:2:", "p/a.py:3:", "p/a.py:3:"]


def test_a_syntax_error_shows_no_traceback(package):
    (reason,) = package({"main.py": "import p\n", "p.py": "def f(:\n"}).refusals()
    assert reason.startswith("p.py:1: syntax error: ") and "Traceback" not in reason
