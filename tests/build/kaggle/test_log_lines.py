"""What is made of a log's lines: the cell that runs, notices, progress, tracebacks in terms of the sources."""

import json
from pathlib import Path

import pytest

from build.kaggle.log_events import Piece
from build.kaggle.log_lines import LogReader, Said
from build.kaggle.running_cell import fits
from build.notebooks.builder import build_notebook
from build.run.rehearse.executed_cells import Cells, cells_in, read_cells
from kernel_src.competitions.kernel_cards import kernel_card
from tests.build.kaggle.test_runs import TRACEBACK


def notebook(folder: Path, *cells: str) -> Cells:
    """Each cell under a heading with its number, from lines 11 on of a file of its own."""
    content = []
    for number, text in enumerate(cells, 1):
        lines = [10 + line for line in range(1, text.count("\n") + 2)]
        stitch = {"source": f"kernel_src/part{number}.py", "lines": lines}
        content.append({"cell_type": "markdown", "metadata": {}, "source": f"## Part {number}"})
        content.append({"cell_type": "code", "source": text, "metadata": {"stitch": stitch}, "outputs": []})
    path = folder / "n.ipynb"
    path.write_text(json.dumps({"cells": content, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return read_cells(path)


def said(cells: Cells, *texts: str) -> list[tuple[str, str]]:
    reader = LogReader(cells)
    read = [one for text in texts for one in reader.read(Piece("stdout", None, text))]
    return [(one.kind, one.text) for one in read + reader.close()]


PARTS = (
    "def train(fold):\n    print(f'fold {fold}: begun')",
    "print(f'{3} photographs are there')",
    "class Net:\n    def go(self): train(1)\nNet().go()",
    "print('photographs are predicted')",
)


def test_the_cell_that_runs_is_the_only_one_left_that_prints_such_a_line(tmp_path: Path) -> None:
    cells = notebook(tmp_path, *PARTS)
    assert said(cells, "3 photographs are there\nsomething else\nfold 7: begun\n") == [
        ("cell", "cell In[2] “Part 2”, kernel_src/part2.py, as its lines suggest"),
        ("line", "3 photographs are there"),
        ("line", "something else"),
        ("cell", "cell In[3] “Part 3”, kernel_src/part3.py, as its lines suggest"),
        ("line", "fold 7: begun"),
    ]


def test_what_a_function_returns_for_a_print_counts_as_printed(tmp_path: Path) -> None:
    cells = notebook(tmp_path, "def line(n):\n    return f'epoch {n} of many'", "1", "print(line(3))")
    (first, _) = said(cells, "epoch 3 of many\n")
    assert first == ("cell", "cell In[3] “Part 3”, kernel_src/part3.py, as its lines suggest")


def test_a_line_that_two_cells_can_print_moves_nothing(tmp_path: Path) -> None:
    cells = notebook(tmp_path, *PARTS, "train(2)")
    assert said(cells, "fold 7: begun\n") == [("line", "fold 7: begun")]


def test_where_papermill_names_the_cell_that_is_certain(tmp_path: Path) -> None:
    cells = notebook(tmp_path, *PARTS)
    lines = f"Executing Cell 4{'-' * 39}\nphotographs are predicted\n"  # of all cells: the second with code
    assert said(cells, lines)[0] == ("cell", "cell In[2] “Part 2”, kernel_src/part2.py")
    assert [kind for kind, _ in said(cells, lines)].count("cell") == 1


def test_of_our_own_training_the_cells_are_found_by_what_they_print() -> None:
    cells = cells_in(build_notebook(kernel_card("demo", "train")).notebook)
    lines = [
        "reads /kaggle/input, writes /kaggle/working",
        "357 photographs in 28 State+Sampling_Date groups",
        "fold 0: epoch 2 of 6, loss 0.333, 2.8 min left",
        "trained in 34 s",
        "out-of-fold R² 0.6 on 3 photographs",
    ]
    found = [text for kind, text in said(cells, *(f"{line}\n" for line in lines)) if kind == "cell"]
    headings = [text.partition("“")[2].partition("”")[0] for text in found]
    assert headings == ["Settings", "Photographs and labels", "Train", "Result"]


@pytest.mark.parametrize(
    ("template", "line", "can"),
    [
        (("fold ", ": ", ""), "fold 3: resumed", True),
        (("fold ", ": ", ""), "fold 3", False),
        (("", " of ", " s"), "2 of 3 of 4 s", True),
        (("ab", "ba"), "aba", False),
        (("whole line",), "whole line", True),
        (("whole line",), "whole line and more", False),
    ],
)
def test_a_template_fits(template: tuple[str, ...], line: str, can: bool) -> None:
    assert fits(line, template) is can


@pytest.mark.parametrize(
    "line",
    [
        "NOTE memory: too little: half the photographs at once",
        "WARNING: 12 photographs only",
        "NOT WHOLE: fold 2 is given up",
        "NOT USED: the GPU",
        "FAULT disk: full",
        "fold 3 is given up: the loss is NaN",
    ],
)
def test_what_is_not_as_it_should_be_is_a_notice(tmp_path: Path, line: str) -> None:
    assert said(notebook(tmp_path, "1"), f"{line}\n") == [("notice", line)]


def test_other_lines_are_none(tmp_path: Path) -> None:
    lines = ["NOTEBOOK 3", "no faults", "it does NOT matter"]
    assert said(notebook(tmp_path, "1"), "\n".join(lines)) == [("line", line) for line in lines]


def test_a_bar_becomes_how_much_is_done_and_the_time_left(tmp_path: Path) -> None:
    reader = LogReader(notebook(tmp_path, "1"))
    bars = [
        "\rfold 0:   0%|          | 0/360 [00:00<?, ?batch/s]",
        "\rfold 0:  33%|███▎      | 120/360 [00:34<01:02,  3.85batch/s, epoch=2, loss=0.512]",
    ]
    assert [reader.read(Piece("stderr", None, bar)) for bar in bars] == [
        [Said("progress", "fold 0: 0 of 360 batch", "fold 0", True)],
        [Said("progress", "fold 0: 120 of 360 batch, epoch=2, loss=0.512, 01:02 left", "fold 0", True)],
    ]
    (end,) = reader.read(Piece("stderr", None, "\rfold 0: 100%|████| 360/360 [01:34<00:00, 1.2s/batch]\n"))
    assert end == Said("progress", "fold 0: 360 of 360 batch, 00:00 left", "fold 0", False)


def test_our_own_epochs_are_progress_of_their_fold(tmp_path: Path) -> None:
    from kernel_src.training.training import epoch_line  # torch takes seconds

    row = {"fold": 1, "epoch": 3, "train_loss": 0.5, "inner_loss": None, "seconds": 42.0}
    (one,) = LogReader(notebook(tmp_path, "1")).read(Piece("stdout", None, f"{epoch_line(row, 12)}\n"))
    assert one == Said("progress", "fold 1: epoch 3 of 12, loss 0.500, 6.3 min left", "fold 1")


def test_epochs_of_other_notebooks_are_progress_too(tmp_path: Path) -> None:
    assert said(notebook(tmp_path, "1"), "Epoch 3/10, R² 0.61\n") == [("progress", "Epoch 3/10, R² 0.61")]


def test_a_traceback_is_a_notice_line_by_line_with_the_sources_in_it(tmp_path: Path) -> None:
    cells = notebook(tmp_path, "def f(x):\n    1\n    raise ValueError('no weights at here')", "print('hello')\nf(1)")
    found = said(cells, "hello\n", *(f"{line}\n" for line in TRACEBACK.split("\n")), "[NbConvertApp] on\n")
    notices = [text for kind, text in found if kind == "notice"]
    assert "kernel_src/part2.py:12 (cell In[2], line 2)" in notices[-7]
    assert "kernel_src/part1.py:13 (cell In[1], line 3), in f(x)" in notices[-4]
    assert notices[-1] == "ValueError: no weights at here"
    assert found[-1] == ("line", "[NbConvertApp] on")


def test_pieces_of_two_streams_are_put_together_each_for_itself(tmp_path: Path) -> None:
    reader = LogReader(notebook(tmp_path, "1"))
    for stream, text in (("stdout", "one "), ("stderr", "three "), ("stdout", "two\n"), ("stderr", "four")):
        last = reader.read(Piece(stream, None, text))
        assert [one.text for one in last] == (["one two"] if text == "two\n" else [])
    assert [one.text for one in reader.close()] == ["three four"]


def test_what_a_log_holds_for_a_terminal_or_of_a_secret_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "kim")
    monkeypatch.setenv("KAGGLE_KEY", "0123456789abcdef0123456789abcdef")
    lines = "\x1b]0;title\x07a\x1b[2J\nkey 0123456789abcdef0123456789abcdef\n[bold]x[/bold]\n" + "long " * 1000
    (first, second, third, last) = (text for _, text in said(notebook(tmp_path, "1"), lines))
    assert "\x1b" not in first and "\x07" not in first
    assert second == "key ***"
    assert third == "[bold]x[/bold]"
    assert len(last) < 1100 and last.endswith("… (5,000 characters)")
