"""Which files beside the sources a notebook carries, and what is said of those that it cannot."""

import pytest

from build.stitch.data_files import LIMIT_BYTES, carried
from build.stitch.modules import Module, parse

READS = "from pathlib import Path\nwords = open('words.txt').read()\nX = Path(__file__).parent / 'conf' / 'a.yaml'\n"


def found(made, *names: str, **more) -> tuple[list[str], list[str]]:
    """The paths of what is carried, and the reasons, for modules of a package."""
    modules = []
    for name in names:
        module = parse(made.root / name, name, name, "", False)
        assert isinstance(module, Module)
        modules.append(module)
    files, problems = carried(modules, made.root, **more)
    for file in files:
        assert file.text.encode() == (made.root / file.path).read_bytes()
    return [file.path for file in files], [str(problem) for problem in problems]


def test_named_files_are_carried_from_beside_the_module_and_from_below_the_root(package):
    made = package(
        {"p/m.py": READS, "p/words.txt": "a\r\nb", "p/conf/a.yaml": "x: 1\n", "main.py": "f('conf/a.yaml')\n"}
    )
    assert found(made, "p/m.py") == (["p/conf/a.yaml", "p/words.txt"], [])
    made.write({"conf/a.yaml": "\ufeffx: 2\n"})
    assert found(made, "main.py") == (["conf/a.yaml"], [])
    assert found(made, "p/m.py") == (["conf/a.yaml", "p/conf/a.yaml", "p/words.txt"], [])  # which of them is not known


def test_a_text_that_is_carried_may_name_others(package):
    made = package({"main.py": "open('a.yaml')\n", "a.yaml": "base: conf/b.json\n", "conf/b.json": "{}\n"})
    assert found(made, "main.py") == (["a.yaml", "conf/b.json"], [])


@pytest.mark.parametrize(
    "line",
    [
        "DATA_DIR = 'data'",
        "f(config_path='data')",
        "Path(__file__).parent / 'data'",
        "os.listdir('data')",
        "x = './data/'",
    ],
)
def test_a_folder_is_named_where_a_path_is_expected(package, line):
    made = package({"main.py": f"import os\n{line}\n", "data/a.csv": "1\n", "data/.hidden": "x", "data/m.py": ""})
    assert found(made, "main.py") == (["data/a.csv"], [])


def test_a_word_that_is_also_a_folder_names_nothing(package):
    made = package({"main.py": "log = get('data')\n", "data/a.csv": "1\n"})
    assert found(made, "main.py") == ([], [])


def test_globs_add_and_leave_out(package):
    made = package({"main.py": "open('log.txt')\n", "log.txt": "x", "c/a.yaml": "1", "c/d/b.yaml": "2", "c/e.txt": "3"})
    assert found(made, "main.py", data=["c/**/*.yaml"], without=["log.*"]) == (["c/a.yaml", "c/d/b.yaml"], [])
    assert found(made, "main.py", data=["c"], without=["log.txt", "c/d"]) == (["c/a.yaml", "c/e.txt"], [])
    _, (reason,) = found(made, "main.py", data=["*.toml"])
    assert reason.startswith("--data *.toml: no file below")


def test_what_is_no_text_or_too_large_is_a_problem_with_two_ways_out(package):
    made = package({"main.py": "open('a.bin')\nopen('b.csv')\nopen('c.csv')\nopen('d.csv')\n"})
    (made.root / "a.bin").write_bytes(b"\xff\0")
    (made.root / "b.csv").write_text("x" * (LIMIT_BYTES + 1))
    made.write({"c.csv": "x" * (LIMIT_BYTES - 10), "d.csv": "y" * 20})
    files, reasons = found(made, "main.py")
    assert [reason.split(" → ")[0] for reason in reasons] == [
        "main.py:1: a.bin is not UTF-8 text, which is all a notebook carries",
        "main.py:2: b.csv has 200,001 bytes, a notebook carries 200,000",
        "main.py:3: the files to carry have 200,010 bytes together, a notebook carries 200,000; the largest are "
        "c.csv (199,990), d.csv (20)",
    ]
    assert all("--dataset owner/slug" in reason and "--without '" in reason for reason in reasons)


def test_a_folder_with_more_than_a_notebook_carries_is_one_problem(package):
    made = package({"main.py": "DATA_DIR = 'train'\n", **{f"train/{number}.txt": "x" for number in range(400)}})
    files, (reason,) = found(made, "main.py")
    assert not files and reason.startswith(
        "main.py:1: the folder train holds more than the 200,000 bytes, or 300 files,"
    )
    assert "--without 'train'" in reason
    assert found(made, "main.py", without=["train"]) == ([], [])


def test_a_python_file_is_carried_where_it_needs_nothing_of_ours_and_is_no_module(package):
    made = package({"main.py": "load('conf.py')\nload('main.py')\nload('run.py')\n", "p/m.py": ""})
    made.write({"conf.py": "epochs = 3\nbase = 'base.yaml'\n", "base.yaml": "", "run.py": "import os\nimport p.m\n"})
    files, reasons = found(made, "main.py")
    assert files == ["base.yaml", "conf.py", "run.py"]
    assert [reason.split(" → ")[0] for reason in reasons] == [
        "main.py:2: names the source main.py, of which an inline notebook has no file",
        "run.py:2: imports a module of ours, of which an inline notebook has no file (main.py:3)",
    ]
    assert found(made, "main.py", sources={"main.py", "run.py"}) == (["base.yaml", "conf.py"], [])


def test_nothing_is_taken_from_outside_the_root(package):
    made = package({"r/main.py": "open('../secret.txt')\n", "secret.txt": "x"})
    module = parse(made.root / "r/main.py", "main.py", "__main__", "", False)
    files, (problem,) = carried([module], made.root / "r")
    assert not files and "lies outside" in problem.what and problem.where == "main.py:1"
