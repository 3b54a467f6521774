"""The store of builds may have come with a copy of the whole folder: whatever it says, nothing outside is touched."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.notebooks.base import BUILDS, LIMIT_S, find, prune, stitch_texts
from tests.build.sync.conftest import MAIN, SOURCES, Toy
from tests.build.sync.hostile import nothing_outside


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def spoil(toy: Toy, **changed: object) -> str:
    """Change the noted build of the toy's notebook; return its hash."""
    sha256 = toy.notebook["metadata"]["stitch"]["source_sha256"]
    entry = toy.root / BUILDS / f"{sha256}.json"
    entry.write_text(json.dumps(json.loads(entry.read_text()) | changed))
    return sha256


@pytest.mark.parametrize("where", ["../../out.py", "/{outer}/victim.py", "kernel_src/../../x.py", "notebooks/x.py"])
def test_a_noted_build_whose_sources_lie_elsewhere_is_not_a_build(where: str, tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    victim = tmp_path / "victim.py"
    victim.write_text("mine\n")
    text = b"owned\n"
    blob = hashlib.sha256(text).hexdigest()
    (toy.root / BUILDS / "sources" / blob).write_bytes(text)
    sha256 = toy.notebook["metadata"]["stitch"]["source_sha256"]
    noted = json.loads((toy.root / BUILDS / f"{sha256}.json").read_text())["sources"]
    spoil(toy, sources=noted | {where.format(outer=tmp_path): blob})
    with nothing_outside(tmp_path), pytest.raises(CheckFailed, match="is neither in out/builds/"):
        find(toy.root, sha256)


@pytest.mark.parametrize(
    "changed",
    [
        {"main": "../../main.py"},
        {"main": 3},
        {"parameters": "__import__('os')"},
        {"parameters": "[" * 90},
        {"parameters": "-" * 100_000 + "1"},
        {"parameters": "{[]: 1}"},
        {"parameters": "{1: 2}"},
        {"parameters": "{'a': {1, 2}}"},
        {"parameters": {}},
        {"sources": 3},
        {"sources": {MAIN: "../../../x"}},
        {"sources": {MAIN: 7}},
        {"sources": []},
    ],
    ids=str,
)
def test_a_damaged_build_is_no_build_and_no_traceback(changed: Mapping[str, object], toy: Toy) -> None:
    sha256 = spoil(toy, **changed)
    with pytest.raises(CheckFailed, match="is neither in out/builds/"):
        find(toy.root, sha256)


def test_a_text_that_is_not_what_its_name_says_is_not_believed_and_the_next_build_puts_it_right(toy: Toy) -> None:
    sha256 = toy.notebook["metadata"]["stitch"]["source_sha256"]
    blob = hashlib.sha256(toy.text("tool").encode()).hexdigest()
    (toy.root / BUILDS / "sources" / blob).write_text("import os\n")
    with pytest.raises(CheckFailed, match="is neither in out/builds/"):
        find(toy.root, sha256)
    toy.write("other", toy.text("other") + "\n# changed\n")
    toy.build()
    assert find(toy.root, sha256).sha256 == sha256


def test_forgetting_builds_deletes_nothing_but_their_texts(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    spoil(toy, sources={MAIN: "../../../../victim"})
    for entry in (toy.root / BUILDS).glob("*.json"):
        os.utime(entry, (1, 1))
    assert LIMIT_S > 0 and prune(toy.root)
    assert victim.read_text() == "mine"


def test_sources_are_laid_out_in_their_folder_or_not_at_all(tmp_path: Path) -> None:
    victim = tmp_path / "victim.py"
    for where in (str(victim), "../x.py", "kernel_src/../../y.py", f"{MAIN}/z.py"):
        with nothing_outside(tmp_path), pytest.raises(CheckFailed, match="is not the path of a source"):
            stitch_texts({**SOURCES, where: "owned"}, MAIN, {})
    with pytest.raises(CheckFailed, match="is not the path of a source"):
        stitch_texts(SOURCES, "../main.py", {})
