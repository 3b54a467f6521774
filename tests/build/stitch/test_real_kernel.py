"""The comparison of script and kernel sees what it should: prints, errors, exit codes, files; and keeps runs apart."""

import json
from pathlib import Path

from tests.build.stitch.real_kernel import Kernel, kernel_in, run_notebook, run_script


def notebook(*cells: str) -> bytes:
    return json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]}).encode()


def test_script_and_notebook_are_seen_alike(package, tmp_path_factory):
    text = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nopen('new.txt', 'w').write('x')\n"
    made = package({"main.py": text})
    script = run_script(made.root / "main.py", made.root, "a 'b c'")
    ran = run_notebook(notebook(text.rstrip() + ";"), tmp_path_factory.mktemp("there"))
    assert (script.code, script.printed, script.errors, script.written(made.root)) == (
        0,
        "out\n",
        "err\n",
        {"new.txt": b"x"},
    )
    assert (ran.code, ran.printed, ran.errors, ran.files) == (0, "out\n", "err\n", {"new.txt": b"x"})


def test_the_first_error_ends_a_notebook_with_its_code(tmp_path: Path):
    ran = run_notebook(notebook("print(1)", "raise SystemExit(3)", "print(2)"), tmp_path)
    assert (ran.code, ran.printed) == (3, "1\n") and "SystemExit: 3" in ran.errors
    assert run_notebook(notebook("1 / 0"), tmp_path).code == 1


def test_one_notebook_leaves_nothing_to_the_next(tmp_path: Path):
    first = "import os, sys\nx = 1\nos.environ['LEFT'] = '1'\nsys.argv = ['a']\nsys.path.insert(0, 'b')\nimport m"
    (tmp_path / "one").mkdir()
    (tmp_path / "one/m.py").write_text("Y = 1\n")
    assert run_notebook(notebook("import sys; sys.path.insert(0, '')", first), tmp_path / "one").code == 0
    second = "import os, sys\nprint('x' in dir(), 'LEFT' in os.environ, sys.argv == ['a'])\nprint('m' in sys.modules)"
    ran = run_notebook(notebook(second, "print(os.getcwd())"), tmp_path / "two")
    assert ran.printed == f"False False False\nFalse\n{tmp_path / 'two'}\n"


def test_a_kernel_that_dies_is_seen_and_replaced(tmp_path: Path):
    ran = run_notebook(notebook("import os\nos._exit(1)"), tmp_path)
    assert ran.code == 1 and "the kernel died" in ran.errors
    assert run_notebook(notebook("print(1)"), tmp_path).printed == "1\n"


def test_what_is_printed_is_told_while_the_cell_runs(tmp_path: Path):
    told: list[str] = []

    def interrupt(printed: str, kernel: Kernel) -> None:
        if printed and not told:
            told.append(printed)
            kernel.manager.interrupt_kernel()

    with kernel_in(tmp_path, fresh=True) as kernel:
        ran = kernel.execute("import time\nprint('begun', flush=True)\ntime.sleep(50)", during=interrupt)
    assert told == ["begun\n"] and ran.code == 1 and "KeyboardInterrupt" in ran.errors
