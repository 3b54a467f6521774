"""`sys.exit()` ends the script, in a kernel too: with 0 well and quietly, with anything else as an error."""

import pytest

from tests.build.stitch.real_kernel import run_notebook, run_script, without_colours


@pytest.fixture
def both(package, tmp_path_factory):
    """Run a script and its notebook; return both."""

    def run(main: str, arguments: str = "", **more: str):
        made = package({"main.py": main, **more})
        script = run_script(made.root / "main.py", made.root, arguments)
        return script, run_notebook(made.stitch(arguments=arguments), tmp_path_factory.mktemp("there"))

    return run


@pytest.mark.parametrize(
    "statement, code",
    [
        ("sys.exit()", 0),
        ("sys.exit(0)", 0),
        ("sys.exit(None)", 0),
        ("raise SystemExit", 0),
        ("sys.exit(False)", 0),
        ("sys.exit(256)", 0),
        ("sys.exit(3)", 3),
        ("sys.exit(-1)", 255),
        ("raise SystemExit(1)", 1),
        ("sys.exit('no data')", 1),
        ("argparse.ArgumentParser().parse_args(['--help'])", 0),
        ("argparse.ArgumentParser().parse_args(['--nope'])", 2),
    ],
)
def test_a_code_other_than_0_fails_the_notebook_and_0_ends_it_well(both, statement, code):
    main = f"import argparse, sys\n# %%\nprint('before')\n{statement}\nprint('never')\n# %%\nprint('never')\n"
    script, notebook = both(main)
    assert script.code == code and script.printed.startswith("before\n") and "never" not in script.printed
    assert notebook.printed == script.printed
    assert bool(notebook.code) == bool(code)
    if code:
        assert "SystemExit" in notebook.errors


def test_cells_below_the_end_do_nothing_and_say_so(both):
    script, notebook = both(
        "import sys\nfrom pathlib import Path\n"
        "# %%\nif not Path('data').exists():\n    print('nothing to do')\n    sys.exit(0)\n"
        "# %%\nPath('written.txt').write_text('x')\n"
    )
    assert (notebook.code, notebook.printed, notebook.files) == (0, "nothing to do\n", {}) and script.files.keys() == {
        "main.py"
    }


def test_a_text_is_printed_as_python_prints_it(both):
    script, notebook = both("import sys\nsys.exit('no data')\n")
    assert script.errors == "no data\n" and notebook.errors.startswith("no data\n")


def test_finally_and_with_blocks_run_on_the_way_out(both):
    main = "import sys\ntry:\n    sys.exit(0)\nfinally:\n    print('closed')\n"
    script, notebook = both(main)
    assert script.printed == notebook.printed == "closed\n" and notebook.code == 0


def test_a_script_may_catch_its_own_exit(both):
    script, notebook = both(
        "import sys\ntry:\n    sys.exit(2)\nexcept SystemExit as e:\n    print(e.code)\nprint('on')\n"
    )
    assert script.printed == notebook.printed == "2\non\n" and notebook.code == 0


def test_the_traceback_of_another_error_is_the_cells_own(package, tmp_path_factory):
    main = "import sys\n\ndef f():\n    return 1 / 0\n\nprint('a')\nf()\nsys.exit()\n"
    made = package({"main.py": main})
    there = tmp_path_factory.mktemp("there")
    from tests.build.stitch.real_kernel import kernel_in

    texts = made.code(arguments="")
    with kernel_in(there, fresh=True) as kernel:
        for text in texts[:-1]:
            assert kernel.execute(text).code == 0
        guarded = kernel.execute(texts[-1])
    assert guarded.printed == "a\n" and without_colours(guarded.errors) == "ZeroDivisionError: division by zero"


def test_a_module_that_exits_while_it_is_imported_ends_the_script(both):
    script, notebook = both(
        "from p.m import x\nprint(x)\n", **{"p/m.py": "import sys\nx = 1\nprint('m')\nif x:\n    sys.exit(0)\n"}
    )
    assert script.printed == notebook.printed == "m\n" and (script.code, notebook.code) == (0, 0)


def test_a_notebook_whose_sources_never_exit_has_no_cell_for_it(package):
    made = package({"main.py": "print(1)\n"})
    assert not any("ScriptEnd" in text for text in made.code(arguments=""))
    made.write({"main.py": "import sys\nsys.exit()\n"})
    assert any("ScriptEnd" in text for text in made.code(arguments=""))
    assert not any("ScriptEnd" in text for text in made.code()), "our own kernels have none"


def test_the_names_of_the_cell_are_no_words_of_the_sources(package):
    made = package({"main.py": "import sys\nscript_end = 1\nclass ScriptEnd: pass\nsys.exit()\n"})
    (cell,) = [text for text in made.code(arguments="") if "ast_transformers" in text]
    assert "class ScriptEnd_2(" in cell and "script_end_2 = ScriptEnd_2()" in cell
