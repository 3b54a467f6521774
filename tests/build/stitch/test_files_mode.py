"""Files mode: the notebook writes the sources as they are and runs the script as a process, in a real ipykernel."""

import json
import os
import re
import shlex
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.core.errors import CheckFailed, UsageError
from build.stitch.as_files import stitch_files
from build.stitch.data_files import CarriedFile
from build.stitch.file_cells import file_cell, with_blanks, written_by
from tests.build.stitch.conftest import Package
from tests.build.stitch.real_kernel import Kernel, Ran, kernel_in, run_notebook, run_script
from tests.build.stitch.test_generated import packages

TRICKS = {
    "p/__init__.py": "",
    "p/registry.py": """
    import sys

    NAMES = {}


    def note(value):
        NAMES[value.__name__] = sys.modules[value.__module__].__name__
        return value
    """,
    "p/models.py": """
    from p.registry import note


    @note
    class Model:
        pass
    """,
    "main.py": """
    '''Shows where its classes live.

    ## Not a section
    '''
    import p.models
    from p.registry import NAMES

    print(NAMES, eval("1 + 1"), globals()["__file__"][-7:])
    """,
}


def paths(made: Package, main: str = "main.py", **more) -> list[str]:
    """The files of the notebook, in its order."""
    return list(stitch_files(made.root / main, made.root, **more).sources)


def reasons(made: Package, main: str = "main.py", **more) -> list[str]:
    with pytest.raises(CheckFailed) as caught:
        stitch_files(made.root / main, made.root, **more)
    return [str(problem) for problem in caught.value.problems]


def must_agree(made: Package, folder: Path, main: str = "main.py", arguments: str = "", **more) -> Ran:
    """Script and notebook print the same, end alike and write the same files; return what the notebook did."""
    stitched = stitch_files(made.root / main, made.root, arguments=arguments, **more)
    script = run_script(made.root / main, made.root, arguments, module=more.get("module", ""))
    ran = run_notebook(stitched, folder)
    assert (ran.code, ran.printed) == (script.code, script.printed + script.errors), ran.errors
    assert ran.written(made.root) == script.written(made.root)
    return ran


def test_the_notebook_reads_as_the_files_do(package):
    cells = json.loads(stitch_files(package(TRICKS).root / "main.py", package(TRICKS).root, arguments="-v").notebook)[
        "cells"
    ]
    shown = [cell["source"].split("\n")[0] for cell in cells]
    assert shown == [
        "# main.py",
        "# what follows the script's name on the command line, as in a shell",
        "## The files",
        "# set-up: checks and folders",
        "%%writefile p/registry.py",
        "%%writefile p/models.py",
        "%%writefile main.py",
        "## The run",
        "# the run: the script, as a process",
    ]
    assert cells[1]["source"].endswith('\nARGS = "-v"') and cells[1]["metadata"]["tags"] == ["parameters"]
    assert (
        "Shows where its classes live." in cells[0]["source"]
        and "*Stitched from `main.py` and 3 modules" in cells[0]["source"]
    )
    registry = TRICKS["p/registry.py"].replace("\n    ", "\n")[1:]
    assert cells[4]["source"] == "%%writefile p/registry.py\n" + registry.rstrip("\n")


def test_what_no_inline_notebook_can_do_is_done(package, tmp_path_factory):
    ran = must_agree(package(TRICKS), tmp_path_factory.mktemp("run"))
    assert ran.printed.startswith("{'Model': 'p.models'} 2 ") and ran.printed.endswith("main.py\n")


def test_the_same_sources_give_the_same_bytes_and_arguments_another_hash(package):
    made = package(TRICKS)
    one, other = (stitch_files(made.root / "main.py", made.root) for _ in range(2))
    assert one.notebook == other.notebook and one.mode == "files"
    assert stitch_files(made.root / "main.py", made.root, arguments="x").source_sha256 != one.source_sha256


# -- which files ---------------------------------------------------------------------------------------------------


EVERY = ["p/__init__.py", "p/lost.py", "p/m.py", "x.py", "y.py"]


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("def f():\n    import p.m\n", ["p/__init__.py", "p/m.py"]),
        ("try:\n    from p import m\nexcept ImportError:\n    m = None\n", ["p/__init__.py", "p/m.py"]),
        ("if 1:\n    from p.m import x\n", ["p/__init__.py", "p/m.py"]),
        ("from importlib import import_module\nimport_module('p.m')\n", ["p/__init__.py", "p/m.py"]),
        ("from p import *\n", ["p/__init__.py", "p/lost.py", "p/m.py"]),
        ("exec(open('x.py').read())\n", ["x.py", "y.py"]),  # with exec, all beside the script
        ("import subprocess, sys\nsubprocess.run([sys.executable, 'x.py'])\n", ["x.py"]),
        ("import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'p.m'])\n", ["p/__init__.py", "p/m.py"]),
        ("import importlib, sys, p\nimportlib.import_module(sys.argv[1])\n", EVERY),
        ("import hydra\nTARGET = 'p.m.Model'\n", EVERY),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.m\n", []),
        ("import os, numpy, x\n", ["x.py"]),
    ],
)  # fmt: skip
def test_everything_that_may_be_imported_or_run_is_there(package, text, there):
    made = package({"p/__init__.py": "", "p/m.py": "x = 1\n", "p/lost.py": "", "x.py": "", "y.py": "", "main.py": text})
    assert sorted(paths(made)) == sorted([*there, "main.py"])
    assert paths(made)[-1] == "main.py"


def test_files_come_in_the_order_in_which_imports_run_them_then_the_others_then_data_then_the_script(package):
    files = {
        "p/a.py": "import p.b\n",
        "p/b.py": "",
        "p/late.py": "",
        "p/c.py": "def f():\n    import p.late\n",
        "main.py": "import p.c\nimport p.a\nopen('words.txt')\n",
        "words.txt": "x\n",
    }
    assert paths(package(files)) == ["p/c.py", "p/b.py", "p/a.py", "p/late.py", "words.txt", "main.py"]


def test_modules_are_found_as_python_finds_them(package, tmp_path_factory):
    """Beside the script first, then below the root, then where the code puts folders on sys.path."""
    files = {
        "scripts/main.py": """
        import sys
        from pathlib import Path

        sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
        import beside, deep.inner

        print(beside.X, deep.inner.Y)
        """.replace("        ", "    "),
        "scripts/beside.py": "X = 'beside the script'\n",
        "beside.py": "X = 'below the root'\n",
        "src/deep/__init__.py": "",
        "src/deep/inner.py": "from . import other\n\nY = other.Z\n",
        "src/deep/other.py": "Z = 3\n",
    }
    made = package(files)
    assert "beside.py" not in paths(made, "scripts/main.py")
    ran = must_agree(made, tmp_path_factory.mktemp("run"), "scripts/main.py")
    assert ran.printed == "beside the script 3\n"


def test_an_import_that_only_the_root_holds_is_found_there(package, tmp_path):
    made = package({"scripts/main.py": "import p.m\nprint(p.m.X)\n", "p/m.py": "X = 1\n"})
    assert run_notebook(stitch_files(made.root / "scripts/main.py", made.root), tmp_path / "run").printed == "1\n"


def test_the_root_hides_nothing_from_a_script_that_sets_its_own_search_path(package, tmp_path_factory):
    """`sys.path.append` puts a folder behind the installed packages, where ours of the same name are not found."""
    text = "import sys\nfrom pathlib import Path\n\nsys.path.append(str(Path(__file__).parent.parent))\n"
    text += "import tqdm, p.m\n\nprint(tqdm.tqdm)\n"
    made = package({"scripts/main.py": text, "tqdm/__init__.py": "tqdm = 'ours'\n", "p/m.py": ""})
    ran = must_agree(made, tmp_path_factory.mktemp("run"), "scripts/main.py")
    assert ran.printed == "<class 'tqdm.std.tqdm'>\n"


def test_a_script_with_relative_imports_is_run_as_a_module(package, tmp_path_factory):
    made = package(
        {"p/__init__.py": "print('p')\n", "p/main.py": "from .m import X\nprint(X, __package__)\n", "p/m.py": "X = 1\n"}
    )
    ran = run_notebook(stitch_files(made.root / "p/main.py", made.root), tmp_path_factory.mktemp("run"))
    assert ran.printed == run_script(made.root / "p/main.py", made.root, module="p.main").printed == "p\n1 p\n"


def test_what_cannot_be_read_is_said_with_its_place_all_at_once(package):
    made = package({"main.py": "import a, b\nopen('c.bin')\n", "a.py": "x = 1\ndef f(:\n"})
    (made.root / "b.py").write_bytes(b"# caf\xe9\n")
    (made.root / "c.bin").write_bytes(b"\xff\xfe")
    found = reasons(made)
    assert [re.split(": | →", reason)[0] for reason in found] == ["a.py:2", "b.py:1", "main.py:2"]
    assert found[1].startswith("b.py:1: not UTF-8 (byte 5)") and "--without 'b.py'" in found[1]
    (made.root / "c.bin").unlink()
    made.write({"a.py": ""})
    assert paths(made, without=["b.py"]) == ["a.py", "main.py"]


def test_a_file_that_only_a_dynamic_import_could_ask_for_need_not_be_python(package):
    assert paths(package({"main.py": "exec('1')\n", "old.py": "print 'python 2'\n"})) == ["old.py", "main.py"]


def test_more_than_kaggle_takes_is_a_problem_that_names_the_largest(package):
    made = package({"main.py": "import big, small\n", "big.py": "# " + "x" * 999_000 + "\n", "small.py": ""})
    (reason,) = reasons(made)
    assert "Kaggle takes less than 1,000,000" in reason and "the largest files are big.py (999,003)" in reason


def test_a_script_outside_the_root_and_broken_arguments_are_usage_errors(package):
    made = package({"main.py": "", "p/m.py": ""})
    with pytest.raises(UsageError, match="lies outside"):
        stitch_files(made.root / "main.py", made.root / "p")
    with pytest.raises(UsageError, match="cannot be split"):
        stitch_files(made.root / "main.py", made.root, arguments="'open")


# -- byte for byte -------------------------------------------------------------------------------------------------

ODD = {
    "no_newline.py": "x = 1",
    "windows.py": "x = '''a\r\nb'''\r\n",
    "bom.py": "\ufeffx = 'ä'\n",
    "blank_lines.py": "\n\nx = 1\n\n\n",
    "spaces.py": "x = '''\n   \n'''   \n",
    "only_newline.py": "\n",
    "prompt.py": ">>> x\n",
    "dots.py": "...\nx = 1\n",
    "doctest.py": '"""Adds.\n\n>>> 1 + 1\n2\n"""\n>>> 1\n... 2\n',
    "magic.py": "%%writefile other.py\n!ls\n%time x\nx?\n",
    "separators.py": "x = 'a\u2028b\x0c\x85'\n\x0c\n",
    "quotes.py": "x = '''a''' + \"\"\"b\"\"\" + '\\n'\n",
    "tabs.py": "\tx\n",
    "odd name {x} $HOME.py": "x = 1\n",
    "~tilde.py": "x\n",
    "-dash.py": "x\n",
    "ümlaut.py": "x\n",
    "sub/deep/with.dots.py": "x\n",
}


def test_every_file_is_written_byte_for_byte(package, tmp_path_factory):
    made = package({"main.py": "print(1)\n", **{f"data/{path}": text for path, text in ODD.items()}})
    stitched = stitch_files(made.root / "main.py", made.root, data=["data/*", "data/*.py", "data/sub/deep/*"])
    ran = run_notebook(stitched, tmp_path_factory.mktemp("run"))
    assert (ran.code, ran.printed) == (0, "1\n"), ran.errors
    assert ran.files == {path: (made.root / path).read_bytes() for path in ran.files}
    assert {f"data/{path}" for path in ODD} < set(ran.files)
    by_literal = [cell.where for cell in stitched.cells if "\nwrite_file(\n" in cell.source and cell.where != "main.py"]
    assert "data/blank_lines.py" not in by_literal
    assert {"data/no_newline.py", "data/spaces.py", "data/windows.py", "data/bom.py", "data/~tilde.py"} < set(
        by_literal
    )


def test_lines_of_spaces_between_statements_come_back_and_leave_the_text_readable(package, tmp_path_factory):
    text = "import sys\n    \ndef f():\n    x = 1\n    \n\t\n    return x\n    \nprint(f())\n"
    made = package({"main.py": text})
    (source,) = [cell.source for cell in stitch_files(made.root / "main.py", made.root).cells if "def f" in cell.source]
    assert source == "%%writefile main.py\nimport sys\n\ndef f():\n    x = 1\n\n\n    return x\n\nprint(f())"
    assert must_agree(made, tmp_path_factory.mktemp("run")).files["main.py"] == text.encode()
    assert with_blanks(source.partition("\n")[2].replace("x = 1", "x = 2\n    y = 3") + "\n", text) == (
        "import sys\n    \ndef f():\n    x = 2\n    y = 3\n    \n\t\n    return x\n    \nprint(f())\n"
    )


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    st.text(alphabet=st.one_of(st.sampled_from("\n\n >.%!?'\"\\\r\t{}$x"), st.characters(codec="utf-8")), min_size=1)
)
def test_a_cell_says_which_file_it_writes_whatever_is_in_it(text):
    file = CarriedFile("p/m.py", text)
    assert written_by(file_cell(file).source) == file


# -- the run -------------------------------------------------------------------------------------------------------


def test_arguments_are_split_as_a_shell_would_and_can_be_changed_in_the_notebook(package, tmp_path_factory):
    made = package({"main.py": "import sys\nprint(sys.argv[1:])\n"})
    ran = must_agree(made, tmp_path_factory.mktemp("run"), arguments="""--name 'two words' "quo'te" --n=3""")
    assert ran.printed == "['--name', 'two words', \"quo'te\", '--n=3']\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import sys\nsys.exit(0)", 0),
        ("raise SystemExit(3)", 3),
        ("import sys\nsys.exit('no data')", 1),
        ("1 / 0", 1),
        ("import os\nos._exit(7)", 7),
    ],
)
def test_the_exit_code_decides_how_the_notebook_ends(package, tmp_path, text, code):
    made = package({"main.py": f"print('begun', flush=True)\n{text}\n"})
    ran = run_notebook(stitch_files(made.root / "main.py", made.root), tmp_path / "run")
    assert ran.code == code == run_script(made.root / "main.py", made.root).code
    assert ran.printed.startswith("begun\n") and (f"exit code {code}" in ran.errors) == bool(code)


def test_a_traceback_points_into_the_files(package, tmp_path):
    made = package({"main.py": "import p.m\np.m.f()\n", "p/m.py": "def f():\n    return {}['gone']\n"})
    ran = run_notebook(stitch_files(made.root / "main.py", made.root), tmp_path / "run")
    assert f'File "{tmp_path}/run/p/m.py", line 2, in f' in ran.printed and "KeyError: 'gone'" in ran.printed


def test_a_script_that_is_killed_is_said_to_be(package, tmp_path):
    made = package({"main.py": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"})
    ran = run_notebook(stitch_files(made.root / "main.py", made.root), tmp_path / "run")
    assert "the script was killed by SIGKILL (exit code 137)" in ran.errors


def test_the_process_is_one_of_a_shell_not_of_a_kernel(package, tmp_path_factory):
    """Its input is empty, its matplotlib the usual one, and nothing says that a notebook is near."""
    text = """
    import asyncio, os, signal, sys, atexit

    atexit.register(print, "at exit")
    print(repr(sys.stdin.read()), __name__, sys.argv[0], "get_ipython" in dir(__builtins__))
    print([name for name in ("MPLBACKEND", "FORCE_COLOR", "CLICOLOR", "JPY_PARENT_PID") if name in os.environ])
    sys.stdout.buffer.write(b"bytes\\n")
    sys.stdout.reconfigure(line_buffering=True)
    asyncio.run(asyncio.sleep(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    """
    ran = must_agree(package({"main.py": text}), tmp_path_factory.mktemp("run"))
    assert ran.printed == "'' __main__ main.py False\n[]\nbytes\nat exit\n"


def test_pools_that_spawn_work(package, tmp_path_factory):
    made = Package(tmp_path_factory.mktemp("made"))
    made.write(
        {
            "main.py": "from p.par import squares\n\nif __name__ == '__main__':\n    print(squares([1, 2, 3]))\n",
            "p/par.py": """
    from multiprocessing import get_context


    def square(n):
        return n * n


    def squares(ns):
        with get_context("spawn").Pool(2) as pool:
            return pool.map(square, ns)
    """,
        }
    )
    assert must_agree(made, tmp_path_factory.mktemp("run")).printed == "[1, 4, 9]\n"


def test_what_is_printed_comes_at_once_and_in_order(package, tmp_path):
    """Also what ends without a newline, as a progress bar does, and both streams in the order of their writes."""
    text = """
    import sys, time

    print("begun")
    sys.stderr.write("50%\\r")
    time.sleep(1.5)
    print("ended")
    sys.stderr.write("ä"[:1])
    """
    made = package({"main.py": text})
    cells = [cell.source for cell in stitch_files(made.root / "main.py", made.root).cells if cell.kind == "code"]
    seen: list[tuple[float, str]] = []
    (tmp_path / "run").mkdir()
    with kernel_in(tmp_path / "run") as kernel:
        for cell in cells:
            ran = kernel.execute(cell, during=lambda printed, _: seen.append((time.monotonic(), printed)))
    assert ran.printed == "begun\n50%\rended\nä"
    first = next(moment for moment, printed in seen if printed == "begun\n50%\r")
    last = next(moment for moment, printed in seen if printed == ran.printed)
    assert last - first > 1


@pytest.mark.parametrize("stubborn", [False, pytest.param(True, marks=pytest.mark.full)])
def test_an_interrupt_ends_the_process(package, tmp_path, stubborn):
    tried = "    print(os.getpid(), flush=True)\n    time.sleep(99)\n"
    text = f"import os, time\ntry:\n{tried}except KeyboardInterrupt:\n    print('saved')\n"
    text += "time.sleep(99)\n" if stubborn else ""
    made = package({"main.py": text})
    *before, last = (
        cell.source for cell in stitch_files(made.root / "main.py", made.root).cells if cell.kind == "code"
    )
    asked: list[int] = []

    def interrupt(printed: str, kernel: Kernel) -> None:
        if printed.endswith("\n") and not asked:
            asked.append(int(printed))
            kernel.manager.interrupt_kernel()

    (tmp_path / "run").mkdir()
    with kernel_in(tmp_path / "run", fresh=True) as kernel:
        for cell in before:
            assert not kernel.execute(cell).code
        ran = kernel.execute(last, during=interrupt)
    assert "saved\n" in ran.printed and "KeyboardInterrupt" in ran.errors and ran.code
    with pytest.raises(ProcessLookupError):
        os.kill(asked[0], 0)


@pytest.mark.full
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(files=packages(), arguments=st.lists(st.text("a'b \"\\$*ä{}\n#", max_size=6), max_size=3))
def test_random_packages_do_the_same_whatever_their_names_and_arguments(tmp_path_factory, files, arguments):
    """Also those that no inline notebook can hold: names that meet, builtins that are taken, errors."""
    show = "import sys\n\nprint(sys.argv[1:], sys.modules[__name__].__doc__)\n"
    made = Package(tmp_path_factory.mktemp("random"), **{**files, "main.py": f"{files['main.py']}\n{show}"})
    words = shlex.join(arguments)
    stitched = stitch_files(made.root / "main.py", made.root, arguments=words)
    script = run_script(made.root / "main.py", made.root, words)
    ran = run_notebook(stitched, tmp_path_factory.mktemp("run"))
    place = re.compile(r'File "[^"]*/(?=pkg/|main\.py)')  # of a traceback
    assert (ran.code, place.sub("", ran.printed)) == (script.code, place.sub("", script.printed + script.errors))


# -- the folder ----------------------------------------------------------------------------------------------------


def cells_of(made: Package, **more) -> list[str]:
    stitched = stitch_files(made.root / "main.py", made.root, **more)
    return [cell.source for cell in stitched.cells if cell.kind == "code"]


def run_cells(kernel: Kernel, cells: list[str]) -> Ran:
    """Run cells until one fails; return the last."""
    for cell in cells:
        ran = kernel.execute(cell)
        if ran.code:
            break
    return ran


def test_nothing_that_lies_there_is_overwritten_but_what_the_notebook_wrote_itself(package, tmp_path):
    made = package({"main.py": "import m\nprint(m.X)\n", "m.py": "X = 1\n"})
    (tmp_path / "run").mkdir()
    (tmp_path / "run/m.py").write_text("mine")
    ran = run_notebook(stitch_files(made.root / "main.py", made.root), tmp_path / "run")
    assert "FileExistsError: already here, and not written by this notebook: m.py → run it in an empty" in ran.errors
    assert ran.files == {"m.py": b"mine"}
    (tmp_path / "run/m.py").unlink()
    for x in (1, 2):  # again, and stitched from newer sources
        made.write({"m.py": f"X = {x}\n"})
        ran = run_notebook(stitch_files(made.root / "main.py", made.root), tmp_path / "run")
        assert (ran.code, ran.printed) == (0, f"{x}\n"), ran.errors


def test_nothing_is_written_through_a_link_that_leads_elsewhere(package, tmp_path):
    made = package({"main.py": "import p.m\n", "p/m.py": "X = 1\n"})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/p").symlink_to(tmp_path / "elsewhere")
    ran = run_notebook(stitch_files(made.root / "main.py", made.root), tmp_path / "run")
    assert "not written by this notebook: p/m.py" in ran.errors and not list((tmp_path / "elsewhere").iterdir())


def test_an_edited_cell_is_noted_and_a_file_that_is_damaged_or_gone_is_an_error(package, tmp_path):
    made = package({"main.py": "import m, n\nprint(m.X, n.Y)\n", "m.py": "X = 1\n", "n.py": "Y = 1"})
    arguments, set_up, m, n, main, run = cells_of(made)
    edited = [m.replace("X = 1", "X = 5"), n.replace("Y = 1", "Y = 6")]
    (tmp_path / "run").mkdir()
    with kernel_in(tmp_path / "run") as kernel:
        ran = run_cells(kernel, [arguments, set_up, *edited, main, run])
        assert ran.printed == "note: m.py was edited in this notebook\nnote: n.py was edited in this notebook\n5 6\n"
        (tmp_path / "run/m.py").write_text("X =")
        assert (
            "ValueError: m.py is not what its cell holds: run the cell that writes it"
            in run_cells(kernel, [run]).errors
        )
        (tmp_path / "run/m.py").unlink()
        assert "FileNotFoundError: m.py is not there" in run_cells(kernel, [run]).errors
        assert run_cells(kernel, [m, run]).printed == "note: n.py was edited in this notebook\n1 6\n"


def test_a_data_file_that_the_script_changes_is_no_damage_when_it_runs_again(package, tmp_path):
    made = package(
        {"main.py": "n = int(open('n.txt').read())\nprint(n)\nopen('n.txt', 'w').write(str(n + 1))\n", "n.txt": "1"}
    )
    *before, run = cells_of(made)
    (tmp_path / "run").mkdir()
    with kernel_in(tmp_path / "run") as kernel:
        assert run_cells(kernel, [*before, run]).printed == "1\n"
        assert run_cells(kernel, [run]).printed == "note: n.txt is as the last run has left it\n2\n"
        assert run_cells(kernel, [*before, run]).printed == "1\n"
