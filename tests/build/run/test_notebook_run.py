"""A built notebook in a session on this machine: it finds the mock by itself, and nothing of the repository changes."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from build.core.errors import CheckFailed, UsageError
from build.notebooks.builder import ROOT, build
from build.run.mock import tree_sha256
from build.run.notebook_run import first_words, run_notebook
from kernel_src.competitions.kernel_cards import kernel_card
from kernel_src.runtime.mounts import MOCK
from tests.build.kaggle.desk import copy_kit, write_bundle

SLUG = "i2b-demo-infer"


@pytest.fixture(autouse=True)
def no_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIT_KAGGLE_ROOT", raising=False)


def write_notebook(root: Path, *cells: str) -> Path:
    """A notebook in the place of the demo's."""
    path = root / "notebooks" / SLUG / f"{SLUG}.ipynb"
    path.parent.mkdir(parents=True)
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)
    return path


def test_a_notebook_runs_in_the_mocks_working_folder_and_sees_what_it_mounts(
    tmp_path: Path, tiny_competition: Path
) -> None:
    look = "import os\nprint(os.getcwd())\nprint(sorted(os.listdir('../input/datasets/owner/i2b-demo-weights')))"
    notebook = write_notebook(tmp_path, look, "open('left.txt', 'w').write('x')")
    before = notebook.read_bytes()
    bundle = write_bundle(tmp_path / "bundle")
    done = run_notebook("demo", "infer", data=tiny_competition, weights=[bundle], root=tmp_path)
    assert done.reads == str(tmp_path / MOCK / "kaggle" / "working") and done.files == ["left.txt"]
    assert "manifest.json" in Path(done.notebook).read_text() and Path(done.page).is_file()
    assert (tmp_path / MOCK / "kaggle/input/competitions/csiro-biomass/train.csv").is_file()
    assert notebook.read_bytes() == before


def test_a_cell_that_fails_is_named_and_what_ran_is_kept(tmp_path: Path, tiny_competition: Path) -> None:
    write_notebook(tmp_path, "print('first')", "1 / 0", "print('never')")
    with pytest.raises(CheckFailed, match="cell 2 failed: ZeroDivisionError") as failed:
        run_notebook("demo", "infer", data=tiny_competition, weights=[write_bundle(tmp_path / "bundle")], root=tmp_path)
    assert first_words(Path(failed.value.problems[0].where)) == "first"
    assert "In[2], line 1" in failed.value.problems[0].cure


@pytest.mark.parametrize(
    "words, why",
    [
        (("nothing", "infer"), "no experiment 'nothing'"),
        (("v6", "train"), "v6 has no notebook 'train'"),
        (("v1", "infer"), "does not exist: run `make build`"),
        (
            ("demo", "infer"),
            "no folder for the dataset i2b-demo-weights, the bundle that `make train EXPERIMENT=demo` makes, or",
        ),
    ],
)
def test_what_cannot_run_is_said_before_anything_is_laid_out(
    tmp_path: Path, tiny_competition: Path, words: tuple[str, str], why: str
) -> None:
    write_notebook(tmp_path, "1")
    with pytest.raises(UsageError, match=why):
        run_notebook(*words, data=tiny_competition, root=tmp_path)
    assert not (tmp_path / MOCK).exists()


def test_a_mock_that_lies_there_stops_no_build(tmp_path: Path) -> None:
    # The name of its folder was once taken for data beside the sources, and every later build was refused.
    shutil.copytree(ROOT / "kernel_src", tmp_path / "kernel_src")
    (tmp_path / MOCK / "kaggle" / "input").mkdir(parents=True)
    (outcome,) = build([kernel_card("demo", "infer")], tmp_path)
    assert outcome.state == "written"


@pytest.mark.full
def test_the_built_notebook_runs_and_finds_the_same_mock_where_jupyter_opens_it(
    tmp_path: Path, tiny_competition: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = copy_kit(tmp_path / "kit")
    before = tree_sha256(kit)
    done = run_notebook("demo", "infer", data=tiny_competition, random=True, root=kit)
    assert done.reads == f"reads {kit / MOCK / 'kaggle' / 'input'}, writes {kit / MOCK / 'kaggle' / 'working'}"
    assert {"submission.csv", "inference_report.json"} <= set(done.files)
    assert "random numbers, so what it predicts means nothing" in capsys.readouterr().out
    # In JupyterLab and in VS Code a notebook runs in its own folder.
    notebook = kit / "notebooks" / SLUG / f"{SLUG}.ipynb"
    opened = nbformat.read(notebook, as_version=4)
    last = next(number for number, cell in enumerate(opened.cells) if 'print(f"reads ' in cell.source)
    opened.cells = opened.cells[: last + 1]
    NotebookClient(opened, resources={"metadata": {"path": str(notebook.parent)}}).execute()
    ran = tmp_path / "ran.ipynb"
    ran.write_text(json.dumps(opened))
    assert first_words(ran) == done.reads
    after = {name: digest for name, digest in tree_sha256(kit).items() if name.split("/")[0] not in {"out", "."}}
    assert after == {name: digest for name, digest in before.items() if name.split("/")[0] not in {"out", "."}}
