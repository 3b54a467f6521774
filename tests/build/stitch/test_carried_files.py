"""Text files beside the sources are written by cells at the top, byte for byte, and never over another file."""

import pytest

from tests.build.stitch.real_kernel import run_notebook, run_script

TEXTS = {
    "plain": "a: 1\nb: two\n",
    "quotes": "x = '''a'''\ny = \"\"\"b\"\"\"\n",
    "backslashes": "path: C:\\new\\table\n",
    "no newline at the end": "a\nb",
    "one line": "a,b",
    "empty": "",
    "windows": "a\r\nb\r\n",
    "byte-order mark": "\ufeffa: 1\nb\n",
    "YAML's own marks": "%YAML 1.2\n---\na: !tag x\n...\n? b\n",
    "spaces on an empty line": "a:\n   \n  b\n",
    "ends in a quote": "a\nsay 'x'",
    "ends in a backslash": "a\nb\\",
    "odd characters": "ü\u2028\x0c\x85😀\n\x1b[0m\n",
    "a magic in the middle": "x = !ls\ny = %pwd\nz?\n",
}
READ = """
    from pathlib import Path
    print(Path("config/a.txt").read_bytes())
"""


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_file_is_written_byte_for_byte(agree, text):
    assert agree({"config/a.txt": "\n".join(["", text])[1:], "main.py": READ}).startswith("b")


def test_the_cell_shows_the_text_as_it_is(package):
    made = package(
        {"config/a.yaml": "lr: 0.1\nnames:\n  - a\n", "b.json": '{"x":\n 1}\n', "main.py": "open('b.json')\n"}
    )
    made.write({"main.py": "open('b.json'), open('config/a.yaml')\n"})
    first, second = made.code(arguments="")[:2]
    assert first.startswith("# set-up: b.json\nimport os\n\n\ndef write_carried(path, text):\n")
    assert first.endswith("\n\n\nwrite_carried(\"b.json\", '''\\\n{\"x\":\n 1}\n''')")
    assert second == "# set-up: config/a.yaml\nwrite_carried(\"config/a.yaml\", '''\\\nlr: 0.1\nnames:\n  - a\n''')"


def test_the_folder_beside_a_module_is_where_its_files_are(agree):
    module = """
        import json
        from pathlib import Path

        HERE = Path(__file__).resolve().parent
        SIZES = json.loads((HERE / "sizes.json").read_text())
    """
    files = {"p/m.py": module, "p/sizes.json": '{"a": [1, 2]}', "main.py": "from p.m import SIZES\nprint(SIZES)\n"}
    assert agree(files) == "{'a': [1, 2]}\n"


def test_a_file_that_the_code_does_not_name_comes_by_a_glob(package, tmp_path):
    main = "import sys\nfrom pathlib import Path\nprint(Path(f'config/{sys.argv[1]}.yaml').read_text())\n"
    made = package({"config/a.yaml": "a: 1\n", "config/b.yaml": "b: 2\n", "main.py": main})
    stitched = made.stitch(arguments="b", data=["config/*.yaml"], without=["config/a.*"])
    ran = run_notebook(stitched, tmp_path / "there")
    assert (ran.code, ran.printed, set(ran.files)) == (0, "b: 2\n\n", {"config/b.yaml"})


def test_a_file_that_is_there_and_says_something_else_is_never_overwritten(package, tmp_path):
    made = package({"a.txt": "from the package", "main.py": "print(open('a.txt').read())\n"})
    stitched, there = made.stitch(arguments=""), tmp_path / "there"
    assert run_notebook(stitched, there).code == 0
    assert run_notebook(stitched, there).code == 0, "its own file is no reason to stop"
    (there / "a.txt").write_text("somebody's")
    ran = run_notebook(stitched, there)
    assert ran.code == 1 and "a.txt is there already" in ran.errors and ran.files["a.txt"] == b"somebody's"
    (there / "a.txt").unlink()
    (there / "a.txt").symlink_to(tmp_path / "elsewhere")
    assert run_notebook(stitched, there).code == 1 and not (tmp_path / "elsewhere").exists()


def test_files_are_written_before_a_module_reads_them(package, tmp_path):
    module = "from pathlib import Path\nTEXT = Path('words.txt').read_text()\nprint('read', TEXT)\n"
    made = package({"words.txt": "a b", "p/m.py": module, "main.py": "import p.m\n"})
    script = run_script(made.root / "main.py", made.root)
    ran = run_notebook(made.stitch(arguments=""), tmp_path / "there")
    assert ran.printed == script.printed == "read a b\n"


def test_what_cannot_be_carried_is_refused_with_the_ways_out(package):
    made = package({"main.py": "open('big.csv')\n", "big.csv": "1\n" * 200_000})
    (reason,) = made.refusals(arguments="")
    assert "main.py:1" in reason and "big.csv" in reason and "--without" in reason and "dataset" in reason


def test_another_text_is_another_build(package):
    made = package({"a.txt": "1", "main.py": "open('a.txt')\n"})
    before = made.stitch(arguments="").source_sha256
    assert made.write({"a.txt": "2"}).stitch(arguments="").source_sha256 != before
