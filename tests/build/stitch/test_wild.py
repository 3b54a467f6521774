"""Public code makes notebooks that do what it does, where snapshots of it are at hand (wild.py says how)."""

import pytest

from tests.build.stitch.wild import SCRIPTS, WILD, Row, examine, git_folder, in_its_surroundings, page


@pytest.mark.full
@pytest.mark.skipif(not WILD.is_dir(), reason="KIT_WILD names no folder of public repositories: their code is not ours")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: f"{one.repository} {one.root}/{one.path}")
def test_the_notebook_of_a_public_script_does_what_the_script_does(script, monkeypatch):
    if not git_folder(script.repository).is_dir():
        pytest.skip(f"there is no snapshot of {script.repository} in KIT_WILD")
    in_its_surroundings(monkeypatch.setenv)
    row = examine(script)
    assert row.mode and not row.differs, str(row)


def test_the_page_counts_what_was_built_and_names_what_differs():
    rows = [
        Row(SCRIPTS[0], "inline", "", "exit code 0"),
        Row(SCRIPTS[4], "files", "train.py:76: globals", "exit code 0", ["prints 'x'"]),
        Row(SCRIPTS[5], "", "sample.py:1: too large"),
    ]
    text = page(rows)
    assert "3 scripts of 2 public repositories: 2 became a notebook, 1 of them inline; 1 notebooks did" in text
    assert "| **prints 'x'** |" in text and "| **not built** |" in text
