"""An edit made in the browser is told from all that Kaggle itself does to a notebook."""

import json
from pathlib import Path

import pytest

from build.kaggle import drift
from build.kaggle.journal import Journal
from build.notebooks.seal import seal
from build.stitch import stitch


def notebook(*cells: tuple[str, str], **metadata: object) -> str:
    made = []
    for number, (kind, text) in enumerate(cells):
        extra = {"outputs": [], "execution_count": None} if kind == "code" else {}
        made.append({"id": f"c{number}", "cell_type": kind, "metadata": {}, "source": text, **extra})
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


OURS = notebook(("markdown", "# Title"), ("code", "x = 1\nprint(x)"), kernelspec={"name": "python3"})
EDITED = notebook(("markdown", "# Title"), ("code", "x = 2\nprint(x)"))


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.chdir(tmp_path)
    return Journal(tmp_path / "journal.db")


def pushed(journal: Journal, source: str, state: str = "done") -> None:
    inputs = {"kernel": "kim/k", "cells_sha256": drift.cells_sha256(source)}
    drift.remember_pushed("k", source)
    if state == "done":
        journal.record("kernel", inputs, version=1)
    else:
        journal._begin("kernel", inputs, {"version_before": 1})


def as_kaggle_shows_it(source: str) -> str:
    """The same notebook after a run there: outputs, numbers, ids gone, lists of lines, metadata of its own."""
    content = json.loads(source)
    for number, cell in enumerate(content["cells"]):
        cell.pop("id")
        cell["metadata"] = {"execution": {"iopub.status.busy": "2026-11-24T10:00:00Z"}, "trusted": True}
        cell["source"] = (cell["source"].replace("\n", "\r\n") + "\n").splitlines(keepends=True)
        if cell["cell_type"] == "code":
            cell |= {"execution_count": number, "outputs": [{"output_type": "stream", "name": "stdout", "text": "1"}]}
    content["cells"].append({"cell_type": "code", "metadata": {}, "source": "", "outputs": [], "execution_count": None})
    content["metadata"] = {"kaggle": {"accelerator": "nvidiaTeslaT4", "dataSources": [{"sourceId": 1}]}}
    return json.dumps(content, indent=1)


def find(journal: Journal, remote: str, ours: str = OURS) -> drift.Drift | None:
    return drift.find_drift(remote, ours, "k", drift.pushes_of(journal, "kim/k"))


def test_what_kaggle_does_to_a_notebook_is_no_edit(journal: Journal) -> None:
    pushed(journal, OURS)
    newer = notebook(("markdown", "# Title"), ("code", "x = 3"))
    assert find(journal, as_kaggle_shows_it(OURS), ours=newer) is None


def test_an_edit_is_shown_as_a_diff_against_what_was_pushed_last(journal: Journal) -> None:
    pushed(journal, OURS)
    newer = notebook(("markdown", "# Title"), ("code", "x = 3"))
    found = find(journal, as_kaggle_shows_it(EDITED), ours=newer)
    assert found and found.known
    assert found.diff.splitlines()[:2] == ["--- pushed last", "+++ on the site"]
    assert "-x = 1" in found.diff.splitlines() and "+x = 2" in found.diff.splitlines()
    assert "x = 3" not in found.diff


def test_a_version_from_before_the_last_push_is_an_edit(journal: Journal) -> None:
    pushed(journal, EDITED)
    pushed(journal, OURS)
    assert find(journal, EDITED, ours=notebook(("code", "x = 3")))


def test_a_push_whose_end_is_not_known_is_no_edit(journal: Journal) -> None:
    pushed(journal, OURS)
    pushed(journal, EDITED, state="begun")
    assert find(journal, EDITED) is None
    assert find(journal, OURS, ours=notebook(("code", "x = 3"))) is None


def test_another_kernels_pushes_say_nothing(journal: Journal) -> None:
    journal.record("kernel", {"kernel": "kim/other", "cells_sha256": drift.cells_sha256(EDITED)}, version=1)
    assert find(journal, EDITED)


def test_without_a_journal_a_build_of_ours_is_known_by_its_seal_and_an_edit_is_not(
    journal: Journal, tmp_path: Path
) -> None:
    (tmp_path / "older.py").write_text("x = 0\n")
    older = json.loads(seal(stitch(tmp_path / "older.py", tmp_path), {}))
    cell = older["cells"][-1]
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "of the run there"}]
    assert find(journal, json.dumps(older)) is None
    cell["source"] = "x = 1  # tried in the browser"
    found = find(journal, json.dumps(older))
    assert found and not found.known and "+x = 1  # tried in the browser" in found.diff


def test_without_journal_and_seal_nothing_is_taken_for_granted(journal: Journal) -> None:
    assert find(journal, EDITED)
    assert find(journal, as_kaggle_shows_it(OURS)) is None  # what would be pushed destroys nothing


def test_a_kernel_that_has_become_a_script_is_an_edit(journal: Journal) -> None:
    pushed(journal, OURS)
    found = find(journal, "print('hello')\n", ours=EDITED)
    assert found and "+print('hello')" in found.diff


def test_the_saved_copy_is_the_sites_text_and_a_second_one_does_not_replace_it(journal: Journal) -> None:
    first = drift.save_remote("k", 4, EDITED, {"title": "k"})
    second = drift.save_remote("k", 4, OURS, {"title": "k"})
    assert first != second and first.read_text() == EDITED and second.read_text() == OURS
    assert json.loads(first.with_suffix(".metadata.json").read_text()) == {"title": "k"}


def test_the_diff_is_coloured_on_a_terminal_only() -> None:
    diff = drift.diff_cells(OURS, EDITED, "a", "b")
    assert drift.coloured(diff, terminal=False) == diff
    assert "\x1b[31m-x = 1\x1b[0m" in drift.coloured(diff, terminal=True)
