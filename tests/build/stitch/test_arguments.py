"""Somebody else's script reads its command line: `--args` is text in a cell, and `sys.argv` is made from it."""

import pytest

ARGPARSE = """
    import argparse

    def main(argv=None):
        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int, default=1)
        parser.add_argument("names", nargs="*")
        print(parser.parse_args({call}))

    main()
"""


@pytest.mark.parametrize("call", ["", "None", "argv", "args=argv"])
def test_argparse_reads_the_arguments_whatever_it_is_called_with(agree, call):
    said = agree({"main.py": ARGPARSE.replace("{call}", call)}, "--epochs 3 'a b' c")
    assert said == "Namespace(epochs=3, names=['a b', 'c'])\n"


def test_the_cells_show_the_arguments_and_what_becomes_of_them(package):
    made = package({"main.py": "import sys\nprint(sys.argv)\n"})
    arguments, process, *_ = cells = made.cells(arguments="--epochs 3")[1:]
    assert arguments["source"] == '# set-up: arguments\nARGS = "--epochs 3"  # as behind `python main.py`'
    assert arguments["metadata"]["tags"] == ["parameters"]
    assert process["source"].endswith('sys.argv = ["main.py", *shlex.split(ARGS)]')
    assert [cell["source"] for cell in cells[2:]] == [
        "# imports: standard library\nimport sys",
        "# main.py\nprint(sys.argv)",
    ]


def test_a_script_with_parameters_of_its_own_keeps_the_one_cell_that_is_tagged(package):
    made = package({"main.py": '# %% tags=["parameters"]\nN = 1\n\n# %%\nimport sys\nprint(N, sys.argv)\n'})
    cells = made.cells(arguments="-v", parameters={"N": 2})
    tagged = [cell["source"] for cell in cells if cell["metadata"].get("tags") == ["parameters"]]
    assert tagged == ["# main.py\nN = 2"]
    assert any('ARGS = "-v"' in cell["source"] for cell in cells)


def test_a_script_that_reads_no_arguments_gets_no_cell_for_them_unless_there_are_some(package):
    made = package({"main.py": "print(1)\n"})
    assert made.code(arguments="") == ["# main.py\nprint(1)"]
    assert len(made.code(arguments="x")) == 3


def test_sys_argv_is_set_before_a_module_reads_it(agree):
    files = {
        "p/m.py": "from sys import argv\nimport sys\nVERBOSE = '-v' in sys.argv\nFIRST = argv[0]\n",
        "scripts/main.py": "import sys\nsys.path[:0] = ['.']\nfrom p.m import FIRST, VERBOSE\nprint(FIRST, VERBOSE)\n",
    }
    assert agree(files, "-v", "scripts/main.py") == "scripts/main.py True\n"


def test_parse_known_args_leaves_the_rest(agree):
    main = """
        import argparse, sys

        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float)
        known, rest = parser.parse_known_args()
        sys.argv = sys.argv[:1] + rest
        print(known.lr, rest, sys.argv)
    """
    assert agree({"main.py": main}, "--lr 0.1 --x=y") == "0.1 ['--x=y'] ['main.py', '--x=y']\n"


def test_click_and_typer_read_them_and_end_well(agree):
    click = """
        import click

        @click.command()
        @click.option("--n", default=1)
        def run(n):
            click.echo(f"n is {n}")

        if __name__ == "__main__":
            run()
            print("never")
    """
    assert agree({"main.py": click}, "--n 4") == "n is 4\n"
    typer = """
        import typer

        def run(n: int = 1):
            print("n is", n)

        if __name__ == "__main__":
            typer.run(run)
    """
    assert agree({"main.py": typer}, "--n 4") == "n is 4\n"


def test_quotes_and_backslashes_in_the_arguments_stay(agree):
    main = {"main.py": "import sys\nprint(sys.argv[1:])\n"}
    assert agree(main, r"""'a "b"' "it's" c\ d '' ü""") == """['a "b"', "it's", 'c d', '', 'ü']\n"""


def test_other_arguments_are_another_build(package):
    made = package({"main.py": "import sys\nprint(sys.argv)\n"})
    one, two, none = (made.stitch(arguments=text).source_sha256 for text in ("a", "b", ""))
    assert len({one, two, none}) == 3


def test_our_own_kernels_still_have_no_command_line(package):
    (reason,) = package({"main.py": "import sys\nprint(sys.argv)\n"}).refusals()
    assert reason.startswith("main.py:2: sys.argv does not work the same way")


def test_a_name_that_only_the_set_up_defines_stays_undefined(package):
    made = package({"main.py": "try:\n    ARGS, shlex\nexcept NameError:\n    print('none')\n"})
    assert [reason.split(" is a name")[0] for reason in made.refusals(arguments="-v")] == [
        "main.py:2: ARGS",
        "main.py:2: shlex",
    ]
    assert made.stitch(arguments="")
