"""Kaggle's log of a failed run becomes the failing cell and its line in kernel_src/."""

import json
from pathlib import Path

import pytest

from build.kaggle.runs import explain_log, log_text
from build.run.rehearse.executed_cells import Cells, read_cells

# What papermill 2.7 and IPython print, as run on this machine (the command line's frames shortened).
TRACEBACK = """\
Traceback (most recent call last):
  File "/usr/local/bin/papermill", line 8, in <module>
    sys.exit(papermill())
  File "/usr/local/lib/python3.12/site-packages/papermill/execute.py", line 251, in raise_for_execution_errors
    raise error
papermill.exceptions.PapermillExecutionError:\x20
---------------------------------------------------------------------------
Exception encountered at "In [2]":
---------------------------------------------------------------------------
\x1b[0;31mValueError\x1b[0m                                Traceback (most recent call last)
Cell \x1b[0;32mIn[2], line 2\x1b[0m
      1 print('hello')
----> 2 f(1)

Cell \x1b[0;32mIn[1], line 3\x1b[0m, in f(x)
      2 def f(x):
----> 3     raise ValueError('no weights at here')

\x1b[0;31mValueError\x1b[0m: no weights at here

"""
AFTERWARDS = "[NbConvertApp] Converting notebook __notebook__.ipynb to html\n"


def as_kaggle_logs_it(*parts: tuple[str, str]) -> str:
    return json.dumps([{"stream_name": name, "time": 7.1, "data": data} for name, data in parts])


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    """Two code cells, as stitched from two files."""

    def code(source: str, file: str, lines: list[int]) -> dict:
        metadata = {"stitch": {"source": file, "lines": lines}}
        return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": [], "execution_count": None}

    raising = "# kernel_src/data/f.py\ndef f(x):\n    raise ValueError('no weights at here')"
    heading = {"cell_type": "markdown", "metadata": {}, "source": "## Predict"}
    made = [
        code(raising, "kernel_src/data/f.py", [0, 7, 8]),
        heading,
        code("print('hello')\nf(1)", "kernel_src/kernels/infer.py", [41, 42]),
    ]
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return read_cells(path)


def test_the_innermost_line_of_ours_is_named(cells: Cells) -> None:
    log = as_kaggle_logs_it(("stdout", "hello\n"), ("stderr", TRACEBACK), ("stderr", AFTERWARDS))
    failure = explain_log(log, cells, "Your notebook threw an exception")
    assert failure.source == "kernel_src/data/f.py:8"
    assert failure.error == "ValueError: no weights at here"
    assert (failure.cell, failure.title) == (2, "Predict")
    assert any("kernel_src/kernels/infer.py:42 (cell In[2], line 2)" in line for line in failure.traceback)
    assert failure.last_lines == ("hello",)
    assert "papermill" not in failure.as_text() and "NbConvert" not in failure.as_text()
    assert "\x1b" not in failure.as_text()


def test_a_log_cut_into_pieces_is_put_together(cells: Cells) -> None:
    pieces = [("stderr", piece + "\n") for piece in TRACEBACK.split("\n")]
    assert explain_log(as_kaggle_logs_it(*pieces), cells, "").source == "kernel_src/data/f.py:8"


def test_a_log_that_is_plain_text_is_read_as_well(cells: Cells) -> None:
    assert explain_log(TRACEBACK, cells, "").source == "kernel_src/data/f.py:8"


def test_without_a_traceback_kaggles_word_and_the_last_lines_are_all_there_is(cells: Cells) -> None:
    log = as_kaggle_logs_it(("stdout", "fold 0\nfold 1\n"))
    failure = explain_log(log, cells, "Your notebook tried to allocate more memory than is available")
    assert failure.error == "Your notebook tried to allocate more memory than is available"
    assert failure.last_lines == ("fold 0", "fold 1")


@pytest.mark.parametrize("log", ["", "[]", "{}", "null", "[1, 2]"])
def test_an_empty_or_odd_log_is_no_accident(cells: Cells, log: str) -> None:
    assert explain_log(log, cells, "").error == "Kaggle says ERROR and nothing else"


def test_the_text_of_a_log_keeps_the_order() -> None:
    assert log_text(as_kaggle_logs_it(("stdout", "a\n"), ("stderr", "b\n"))) == "a\nb\n"
