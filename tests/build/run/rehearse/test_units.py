"""The parts of a rehearsal that need no notebook to be run."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from ipykernel.compiler import get_file_name

from build.core.submission_file import submission_problems
from build.notebooks.seal import seal
from build.run.rehearse.cures import cure_of_error, cure_of_submission
from build.run.rehearse.executed_cells import read_cells
from build.run.rehearse.failure import last_lines, map_traceback
from build.run.rehearse.findings import inference_report, project, read_lines
from build.run.rehearse.guard.kit_network import _command_target, _network_target
from build.run.rehearse.rehearsal import edit_remark
from build.run.rehearse.verdict import result_of, script_of
from build.stitch.assembly import stitch
from tests.build.run.rehearse.toys import make_notebook


def test_a_traceback_of_either_shape_is_mapped_to_the_source(tmp_path: Path) -> None:
    cells = read_cells(make_notebook(tmp_path, ["def f():\n    g()", "f()"]))
    # a path carries a hash of the cell's text
    path = re.sub(r"ipykernel_\d+", "ipykernel_77", get_file_name("def f():\n    g()"))
    text = (
        "\x1b[31mCell \x1b[0mIn[3], line 1\n"
        f'  File "{path}", line 2, in f\n'
        f"File {path}:2, in f\n"
        '  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode\n'
        "Cell In[99], line 1"
    )
    mapped, places = map_traceback(text.replace("Cell \x1b[0mIn", "Cell In"), cells)
    assert mapped.splitlines()[0] == "kernel_src/data/toy.py:201 (cell In[3], line 1)"
    assert mapped.splitlines()[1] == "  kernel_src/data/toy.py:102 (cell In[2], line 2), in f"
    assert mapped.splitlines()[2] == "kernel_src/data/toy.py:102 (cell In[2], line 2), in f"
    assert mapped.splitlines()[3:] == text.splitlines()[3:], "frames elsewhere stay as they are"
    assert places == ["kernel_src/data/toy.py:201"] + ["kernel_src/data/toy.py:102"] * 2


def test_without_metadata_the_provenance_comment_still_names_the_file(tmp_path: Path) -> None:
    notebook = make_notebook(tmp_path, ["# kernel_src/competitions/biomass/metric.py\nx = 1", "y = 1"])
    content = json.loads(notebook.read_text())
    for cell in content["cells"]:
        cell["metadata"] = {}
    notebook.write_text(json.dumps(content))
    named, unnamed = read_cells(notebook).cells[1:]
    assert named.place(2) == "kernel_src/competitions/biomass/metric.py (cell In[2], line 2)"
    assert named.place() == "kernel_src/competitions/biomass/metric.py (cell In[2])"
    assert unnamed.place(1) == "notebook (cell In[3], line 1)"


def test_an_edited_notebook_is_named_before_it_is_rehearsed_and_a_built_one_is_not(tmp_path: Path) -> None:
    script = tmp_path / "toy.py"
    script.write_text("# %% [markdown]\n# # Toy\n\n# %%\nprint(1)\n")
    built, path = seal(stitch(script, tmp_path), {}), tmp_path / "toy.ipynb"
    assert edit_remark(path, built) == ""
    edited = built.replace(b"print(1)", b"print(2)")
    shown = f"`python -m build sync --dry-run {path}` shows the edits"
    remark = f"toy.ipynb differs from its build and is rehearsed as it lies; {shown}"
    assert edit_remark(path, edited) == remark
    unsealed = json.loads(built)
    del unsealed["metadata"]["kit"]
    assert edit_remark(path, json.dumps(unsealed).encode()) == remark


@pytest.mark.parametrize(
    "change", [{"stitch": 3}, {"stitch": {"source": ["x"], "lines": 7}}, {"tags": 3}, {"tags": [[]]}]
)
def test_metadata_of_wrong_types_cost_the_place_and_nothing_else(change: dict[str, Any], tmp_path: Path) -> None:
    notebook = make_notebook(tmp_path, ["x = 1"])
    content = json.loads(notebook.read_text())
    for cell in content["cells"]:
        cell["metadata"] = change
        cell["execution_count"] = "7"
    content["metadata"] = {"stitch": {"main": ["train.py"], "source_sha256": "../../x"}}
    notebook.write_text(json.dumps(content))
    assert read_cells(notebook).cells[0].number == 1 and script_of(notebook) == ""


def test_a_line_that_the_stitcher_wrote_has_no_source_line(tmp_path: Path) -> None:
    notebook = make_notebook(tmp_path, [])
    content = json.loads(notebook.read_text())
    content["cells"][1]["metadata"]["stitch"]["lines"][0] = 0
    notebook.write_text(json.dumps(content))
    cell = read_cells(notebook).cells[0]
    assert cell.place(1) == "kernel_src/data/toy.py (cell In[1], line 1)" and cell.place(2).endswith("toy.py:2")


def test_ipython_does_not_count_empty_lines_at_the_top_of_a_cell(tmp_path: Path) -> None:
    assert read_cells(make_notebook(tmp_path, ["\n\nboom()"])).cells[1].place(1) == "kernel_src/data/toy.py:103"


def test_a_progress_bar_shows_as_a_terminal_would_show_it() -> None:
    assert last_lines("a\n 10%\r 50%\r100%\n\nb\r\n") == ("a", "100%", "b")
    assert len(last_lines("x\n" * 100)) == 15


class FakeSocket:
    """What the guard asks of a socket."""

    def __init__(self, family: int) -> None:
        """Keep the family."""
        self.family = family


INET, INET6, UNIX = (FakeSocket(family) for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX))


@pytest.mark.parametrize(
    ("event", "args", "target"),
    [
        ("socket.connect", (INET, ("127.0.0.1", 80)), None),
        ("socket.connect", (INET, ("127.8.9.1", 80)), None),
        ("socket.connect", (INET6, ("::1", 80, 0, 0)), None),
        ("socket.connect", (UNIX, "/tmp/x"), None),
        ("socket.bind", (INET, ("8.8.8.8", 80)), None),
        ("socket.connect", (INET, ("8.8.8.8", 80)), "8.8.8.8:80"),
        ("socket.connect", (INET6, ("2001:db8::1", 80, 0, 0)), "2001:db8::1:80"),
        ("socket.sendto", (INET, ("8.8.8.8", 53)), "8.8.8.8:53"),
        ("socket.getaddrinfo", ("huggingface.co", 443, 0, 0, 0), "huggingface.co:443"),
        ("socket.getaddrinfo", (b"kaggle.com", None, 0, 0, 0), "kaggle.com"),
        ("socket.getaddrinfo", ("8.8.8.8", 80, 0, 0, 0), None),  # the connection is counted instead
        ("socket.getaddrinfo", ("localhost", 80, 0, 0, 0), None),
        ("socket.getaddrinfo", (None, 80, 0, 0, 0), None),
        ("socket.gethostbyname", (socket.gethostname(),), None),
        ("socket.gethostbyname", ("example.com",), "example.com"),
    ],
)
def test_the_guard_counts_what_leaves_the_machine_and_nothing_else(event: str, args: Any, target: str | None) -> None:
    assert _network_target(event, args) == target


@pytest.mark.parametrize(
    ("command", "caught"),
    [
        (["curl", "-s", "x"], True),
        ("/usr/bin/wget x", True),
        (["/bin/sh", "-c", "cd /tmp && git clone x"], True),
        (["python", "-m", "pip", "install", "timm"], True),
        (b"pip3 download x", True),
        (["python", "-m", "pip", "install", "--no-index", "--find-links", "/kaggle/input/wheels", "timm"], False),
        (["pip", "install", "--no-index", "https://example.org/x.whl"], True),
        (["git", "rev-parse", "HEAD"], False),
        (["pip", "list"], False),
        (["nvidia-smi"], False),
        ("echo 'unbalanced", False),
    ],
)
def test_the_guard_knows_the_programs_that_fetch(command: Any, caught: bool) -> None:
    assert (_command_target(command) is not None) is caught


def test_what_is_fixed_is_not_scaled_to_800_images() -> None:
    seconds, how = project(30.0, 40, {"images": 40, "predict_seconds": 20.0})
    assert seconds == 10 + 800 * 0.5 and "10.0 s fixed, 0.500 s per image" in how
    seconds, how = project(30.0, 40, {})
    assert seconds == 600 and "no inference_report.json" in how
    assert project(30.0, 40, {"images": 0, "predict_seconds": "x"})[0] == 600, "nonsense is left aside"
    assert project(30.0, None, {}) == (None, "")


def test_a_broken_inference_report_is_left_aside(tmp_path: Path) -> None:
    for text in ("{", "[1]", "\xff"):
        (tmp_path / "inference_report.json").write_text(text, encoding="latin-1")
        assert inference_report(tmp_path) == {}


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"a": 1}\n{"a": ')
    assert read_lines(tmp_path / "x") == [{"a": 1}]


def test_every_sentence_of_the_submission_validator_has_a_cure(tmp_path: Path) -> None:
    path, expected = tmp_path / "submission.csv", [f"ID1__{name}" for name in ("Dry_Green_g", "GDM_g")]
    said = submission_problems(path, expected)
    for text in (
        "a,b\n",
        "sample_id,target\nID1__GDM_g\n",
        "sample_id,target\nID1__GDM_g,1\nID1__GDM_g,1\nID2__GDM_g,x\n",
        "sample_id,target\nID1__GDM_g,-1\nID1__Dry_Green_g,inf\n",
        "sample_id,target\n"
        + "".join(f"ID1__{n},{n == 'GDM_g':d}\n" for n in ("Dry_Green_g", "Dry_Dead_g"))
        + "ID1__Dry_Clover_g,0\nID1__GDM_g,9\nID1__Dry_Total_g,9\n",
    ):
        path.write_text(text)
        said += submission_problems(path, expected)
    assert len(said) >= 9
    assert [text for text in said if not cure_of_submission(text)] == []


def test_only_a_rerun_blames_the_size_of_the_test() -> None:
    assert "never hard-code" in cure_of_error("ValueError: shapes", rerun=True)
    assert "never hard-code" not in cure_of_error("ValueError: shapes")
    assert "fewer views" in cure_of_error("RuntimeError: 9.9 h are needed on CPU, 8.0 h are left", rerun=True)
    assert "network" in cure_of_error("URLError: x", rerun=True), "a cause that is plain goes first"


def test_a_training_is_known_by_its_main_script_or_its_slug(tmp_path: Path) -> None:
    trained = result_of(make_notebook(tmp_path / "a", [], slug="i2b-v1-train"))
    assert trained
    notebook = make_notebook(tmp_path / "b", [], slug="i2b-v1-infer")
    assert result_of(notebook) == ""
    content = json.loads(notebook.read_text())
    del content["metadata"]["stitch"]
    notebook.write_text(json.dumps(content))
    assert result_of(notebook) == "" and result_of(notebook.rename(tmp_path / "i2b-v1-train.ipynb")) == trained
