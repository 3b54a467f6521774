"""The limits are watched from outside, and watching costs the run little."""

import subprocess
import sys
import time

import nbformat.v4
import pytest

from build.run.rehearse import watch
from build.run.rehearse.runner import saving_what_is_new

HOLDS_300_MB = "import time; block = bytearray(300_000_000); print('held', flush=True); time.sleep(60)"


@pytest.fixture
def holder():
    """A process that holds 0.3 GB."""
    with subprocess.Popen([sys.executable, "-c", HOLDS_300_MB], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield process
        process.kill()


def test_the_costly_sizes_are_read_seldom_while_the_cheap_ones_are_under_the_limit(holder, monkeypatch) -> None:
    read = []
    costly = lambda members: read.append(members) or time.sleep(0.1) or 0.3  # noqa: E731
    monkeypatch.setattr(watch, "tree_memory_gb", costly)
    memory = watch.MemoryReader(holder.pid)
    assert [memory.read(8.0) for _ in range(10)] == [0.3] * 10
    assert len(read) == 1, "0.1 s of 5 % is one reading in 2 s"


def test_near_the_limit_each_look_is_exact(holder) -> None:
    memory = watch.MemoryReader(holder.pid)
    memory.next = time.monotonic() + 3600  # as if the last reading had cost a lot
    assert memory.read(0.2) == pytest.approx(0.29, abs=0.04), "the resident size says 0.3 GB, the limit is 0.2"


def test_the_notebook_is_saved_with_each_new_output_and_not_for_silent_cells() -> None:
    notebook, saved = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell() for _ in range(50)]), []
    save = saving_what_is_new(notebook, lambda: saved.append([len(cell.outputs) for cell in notebook.cells]))
    for number, cell in enumerate(notebook.cells):
        save()
        if number in (20, 30):
            cell.outputs.append(nbformat.v4.new_output("stream", text="said"))
        if number == 31:
            notebook.cells[30].outputs[0].text += " and more"  # a stream is one output that grows
        save()
    assert len(saved) == 4, "the first save, and one for each output and its growth"
    assert saved[-1] == [len(cell.outputs) for cell in notebook.cells]
