"""The verb, and the speed it promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.build_times import MODULES, stitched
from build.core.errors import CheckFailed, UsageError
from build.notebooks.command import stitch_verb as run
from build.stitch.modes import stitch_script

REPOSITORY = Path(__file__).resolve().parents[3]
FILES = {"p/m.py": "def f():\n    return 1\n", "main.py": "import numpy\nfrom p.m import f\nprint(f())\n"}


@pytest.fixture(autouse=True)
def kit(monkeypatch, tmp_path_factory):
    """What the verb notes of a notebook's files goes elsewhere than into this checkout."""
    folder = tmp_path_factory.mktemp("kit")
    monkeypatch.setattr("build.notebooks.command.ROOT", folder)
    return folder


def test_verb_writes_the_notebook_and_says_where(package, capsys):
    made = package(FILES)
    run(made.root / "main.py", made.root, made.root / "new" / "out.ipynb")
    assert (made.root / "new" / "out.ipynb").read_bytes() == made.stitch(arguments="").notebook
    said, last = capsys.readouterr().out.splitlines()
    assert said.startswith(f"{made.root / 'new' / 'out.ipynb'}: 2 sources, ") and last.startswith("inline: ")


def test_verb_takes_files_where_inline_would_be_wrong_and_says_why_in_its_last_line(package, capsys):
    made = package({**FILES, "p/m.py": "import atexit\n\n\ndef f():\n    eval('1')\n    atexit.register(print)\n"})
    run(made.root / "main.py", made.root, made.root / "out.ipynb")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(
        "as files, because p/m.py:5: eval reaches names that the stitcher cannot follow (and 1 more: "
    )
    run(made.root / "main.py", made.root, made.root / "out.ipynb", args="-v", as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["mode"] == "files" and said["reason"].startswith("p/m.py:5: eval ")
    assert said["sources"] == ["p/m.py", "main.py"] and said["third_party"] == ["numpy"]
    assert b'ARGS = \\"-v\\"' in (made.root / "out.ipynb").read_bytes()


def test_inline_by_wish_says_of_every_reason_that_files_would_do(package):
    made = package({"main.py": "import p.m\neval('1')\n", "p/m.py": "x = globals()\n"})
    with pytest.raises(CheckFailed) as caught:
        run(made.root / "main.py", made.root, made.root / "out.ipynb", mode="inline")
    assert [problem.where for problem in caught.value.problems] == ["main.py:2", "p/m.py:1"]
    cures = [problem.cure for problem in caught.value.problems]
    assert all(cure.endswith("; in files mode it would work: --mode files") for cure in cures)


def test_what_neither_way_can_do_says_so_once(package):
    made = package({"main.py": "import p.m\neval('1')\n", "p/m.py": "def f(:\n"})
    for mode in ("auto", "inline", "files"):
        with pytest.raises(CheckFailed) as caught:
            run(made.root / "main.py", made.root, made.root / "out.ipynb", mode=mode)
        assert "p/m.py:1: syntax error" in str(caught.value) and "--mode files" not in str(caught.value)


def test_files_that_the_arguments_name_are_carried(package):
    text = "import sys\nexec(open(sys.argv[1]).read())\n"
    made = package({"main.py": text, "conf/a.py": "x = 1\n", "b.yaml": "y: 1\n"})
    stitched = stitch_script(made.root / "main.py", made.root, arguments="conf/a.py --more=b.yaml /etc/passwd ../x")
    assert sorted(stitched.sources) == ["b.yaml", "conf/a.py", "main.py"] and stitched.mode == "files"


def test_data_and_without_reach_both_modes(package):
    made = package({"main.py": "open('old.log')\n", "old.log": "x", "conf/a.yaml": "x: 1\n"})
    for mode in ("inline", "files"):
        out = made.root / f"{mode}.ipynb"
        run(made.root / "main.py", made.root, out, mode=mode, data=["conf/*"], without=["old.log"])
        code = [
            cell["source"] for cell in json.loads(out.read_bytes())["cells"] if "main.py" not in cell["source"][:30]
        ]
        assert "conf/a.yaml" in "".join(code) and "old.log" not in "".join(code).replace("open('old.log')", "")


def test_verb_speaks_json(package, capsys):
    made = package(FILES)
    run(made.root / "main.py", made.root, made.root / "out.ipynb", as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and said["sources"] == ["p/m.py", "main.py"] and said["third_party"] == ["numpy"]


def test_verb_refuses_another_suffix(package):
    made = package(FILES)
    with pytest.raises(UsageError, match="end it with .ipynb"):
        run(made.root / "main.py", made.root, made.root / "out.py")


def test_a_refused_script_leaves_the_old_notebook_alone(package):
    made = package(FILES)
    out = made.root / "out.ipynb"
    run(made.root / "main.py", made.root, out)
    before = out.read_bytes()
    made.write({"main.py": "from p.m import (\n"})
    command = [
        sys.executable,
        "-m",
        "build",
        "stitch",
        str(made.root / "main.py"),
        "--root",
        str(made.root),
        "--out",
        str(out),
    ]
    failed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert failed.returncode == 1 and "main.py:1: syntax error" in failed.stderr
    assert out.read_bytes() == before


def test_importing_the_stitcher_imports_neither_nbformat_nor_ipython_nor_jupytext():
    code = "import sys, build.stitch; print({'nbformat', 'jupytext', 'IPython'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


@pytest.mark.full
def test_60_chained_modules_stay_within_the_process_limit():
    """The bench itself, judged in seconds of the processor: on a busy machine the clock tells of the others."""
    assert MODULES == 60 and min(stitched(2)["process_cpu_s"]) < 2.0


def test_a_notebook_that_was_edited_is_kept_before_it_is_written_over(package, capsys, tmp_path, kit):
    made, out = package(FILES), tmp_path / "nb.ipynb"
    run(made.root / "main.py", made.root, out)
    (made.root / "main.py").write_text(FILES["main.py"] + "\nprint(2)\n")
    run(made.root / "main.py", made.root, out)
    assert "note:" not in capsys.readouterr().out, "the one that was there was as stitched"
    out.write_text(out.read_text().replace("print(2)", "print(3)"))
    edited = out.read_bytes()
    run(made.root / "main.py", made.root, out)
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith(f"note: {out} was edited, or is not of this command; what it was: out/overwritten/nb/")
    assert edited != out.read_bytes()
    assert edited == (kit / said.rpartition(" ")[2]).read_bytes()
