"""Writing the sources: nothing is written elsewhere, whatever a pending write or a link says."""

import json
import shutil
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.notebooks.writing import recover
from tests.build.sync.conftest import MAIN, Toy
from tests.build.sync.hostile import tree


def test_a_pending_write_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    victim = tmp_path / "victim"
    victim.write_text("")
    pending = toy.root / "out/sync/pending"
    for name in ("old", "new"):
        (pending / name).mkdir(parents=True)
    (pending / "new/0.py").write_text("owned")
    for names in ({"../victim": "0.py"}, {"kernel_src/../../victim.py": "0.py"}, {MAIN: "../../x"}, [1], {MAIN: 2}):
        (pending / "files.json").write_text(json.dumps(names))
        with pytest.raises(CheckFailed):
            recover(toy.root)
    assert victim.read_text() == ""


@pytest.mark.parametrize("linked", ["kernel_src/data/tool.py", "kernel_src/data"])
def test_an_edit_is_not_written_through_a_link_that_leads_out_of_the_sources(linked: str, tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(toy.root / linked, elsewhere)
    (toy.root / linked).symlink_to(elsewhere)
    before = tree(tmp_path, but="kit")
    toy.replace("return round(number, LIMIT)", "return round(number, 9)")
    with pytest.raises(CheckFailed, match="leads out of .* by a link|was deleted or moved"):
        toy.sync()
    assert tree(tmp_path, but="kit") == before and (toy.root / linked).is_symlink()
