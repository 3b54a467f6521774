"""`adopt`: a card beside the notebook, from which every build makes it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from build.adopt import adoption
from build.adopt.adoption import Wishes, adopt
from build.core.errors import CheckFailed, UsageError
from build.notebooks.adopted import adopted_cards, card_path, stored
from build.notebooks.builder import BuildResult, build, find_orphans
from build.notebooks.check.command import check
from build.notebooks.notebook_file import read_notebook
from build.notebooks.writing import SYNC
from build.sync.adopted_sync import adopted_card, lines_of_sync
from build.sync.notebook_sync import run_sync
from build.sync.watch import sync_saved, watch
from kernel_src.competitions.biomass.constants import SLUG
from tests.build.adopt.conftest import write_foreign


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository without sources of its own, beside the foreign script."""
    (tmp_path / "kit").mkdir()
    return tmp_path / "kit"


@pytest.fixture
def wishes(tmp_path: Path) -> Wishes:
    folder = write_foreign(tmp_path / "foreign")
    return Wishes(main=Path("train.py"), root=folder, slug="my-baseline", competition=SLUG)


def rebuilt(root: Path) -> list[str]:
    return [outcome.state for outcome in build(adopted_cards(root), root)]


def test_the_card_is_small_and_the_notebook_private_and_offline(root: Path, wishes: Wishes) -> None:
    adopt(wishes, root)
    folder = root / "notebooks" / "my-baseline"
    assert json.loads((folder / "adopted.json").read_text()) == {
        "format": 1,
        "main": "train.py",
        "root": "../foreign",
        "competition": "csiro-biomass",
    }
    metadata = json.loads((folder / "kernel-metadata.json").read_text())
    assert metadata["id"] == "OWNER/my-baseline" and metadata["is_private"] and metadata["enable_internet"] is False
    assert metadata["machine_shape"] == "" and metadata["competition_sources"] == ["csiro-biomass"]
    assert "def means_of(table):" in (folder / "my-baseline.ipynb").read_text()


def test_what_was_typed_is_in_card_and_metadata(root: Path, wishes: Wishes) -> None:
    model = "google/gemma/pyTorch/2b/1"
    adopt(replace(wishes, datasets=["kim/my-data", "own-data"], models=[model], gpu=True, arguments="--n 3"), root)
    (card,) = adopted_cards(root)
    assert card.datasets == ("kim/my-data", "own-data") and card.arguments == "--n 3" and card.enable_gpu
    metadata = json.loads(card_path("my-baseline", root).with_name("kernel-metadata.json").read_text())
    assert metadata["dataset_sources"] == ["kim/my-data", "OWNER/own-data"] and metadata["model_sources"] == [model]
    assert metadata["machine_shape"] == "NvidiaTeslaT4" and metadata["enable_gpu"]
    assert (root / "datasets_meta/own-data/dataset-metadata.json").is_file(), "it is one's own to push"


def test_the_build_follows_the_sources_and_the_card(root: Path, wishes: Wishes) -> None:
    adopt(wishes, root)
    assert rebuilt(root) == ["up to date"]
    module = wishes.root / "mylib" / "means.py"
    module.write_text(module.read_text() + "\nEXTRA = 1\n")
    assert [problem.what for problem in check(adopted_cards(root), root).problems] == ["is not what the sources make"]
    assert rebuilt(root) == ["written"] and not check(adopted_cards(root), root).problems
    path = card_path("my-baseline", root)
    path.write_text(path.read_text().replace('"csiro-biomass"', '"csiro-biomass", "gpu": true'))
    assert rebuilt(root) == ["written"]
    assert not find_orphans(adopted_cards(root), root)
    path.unlink()
    assert [orphan.name for orphan in find_orphans(adopted_cards(root), root)] == ["my-baseline"]


def test_an_edit_of_the_notebook_comes_home_and_is_never_built_over(root: Path, wishes: Wishes) -> None:
    adopt(wishes, root)
    notebook = root / "notebooks/my-baseline/my-baseline.ipynb"
    notebook.write_text(notebook.read_text().replace("sum(values) / len", "2.0 * sum(values) / len"))
    with pytest.raises(CheckFailed, match="edited by hand .* carry the edit over to the sources of notebooks/my-base"):
        build(adopted_cards(root), root)
    run_sync(notebook, False, root=root)
    assert "2.0 * sum(values) / len" in (wishes.root / "mylib/means.py").read_text()
    assert rebuilt(root) == ["written"] and rebuilt(root) == ["up to date"]


def test_the_edit_of_a_copy_comes_home_although_the_sources_went_on(root: Path, wishes: Wishes, tmp_path: Path) -> None:
    adopt(wishes, root)
    copy = tmp_path / "from-a-colleague.ipynb"
    text = (root / "notebooks/my-baseline/my-baseline.ipynb").read_text()
    copy.write_text(text.replace("sum(values) / len", "2.0 * sum(values) / len"))
    module = wishes.root / "mylib/means.py"
    module.write_text(module.read_text().replace("grams = {}", "grams = dict()"))
    assert rebuilt(root) == ["written"]
    run_sync(copy, False, root=root)
    assert "grams = dict()" in module.read_text() and "2.0 * sum(values)" in module.read_text(), "both edits"


def test_a_sync_that_was_killed_is_finished_in_the_folder_of_the_card(root: Path, wishes: Wishes) -> None:
    adopt(wishes, root)
    module = wishes.root / "mylib/means.py"
    pending = root / SYNC / "pending"
    for part, text in (("old", module.read_text()), ("new", "NEW = 1\n")):
        (pending / part).mkdir(parents=True)
        (pending / part / "0.py").write_text(text)
    (pending / "files.json").write_text('{"mylib/means.py": "0.py"}')
    (pending / "adopted.txt").write_text("my-baseline")
    build([], root)
    assert module.read_text() == "NEW = 1\n"
    for odd in ("../kit/x.py", "/etc/x.py", ".bashrc"):
        (pending / "new").mkdir(parents=True)
        (pending / "new" / "0.py").write_text("x")
        (pending / "files.json").write_text(json.dumps({odd: "0.py"}))
        (pending / "adopted.txt").write_text("my-baseline")
        with pytest.raises(CheckFailed, match="is not the path of a source"):
            build([], root)
        (pending / "new" / "0.py").unlink()
        for path in (pending / "new", pending / "files.json", pending / "adopted.txt", pending):
            path.rmdir() if path.is_dir() else path.unlink()


def test_again_with_other_words_shows_the_difference_and_writes_nothing(root: Path, wishes: Wishes) -> None:
    adopt(wishes, root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r'(?s)\+  "gpu": true.*give --overwrite to replace it; nothing was written'):
        adopt(replace(wishes, gpu=True), root)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert adopt(wishes, root).state == "up to date", "the same again is no change"
    assert adopt(replace(wishes, gpu=True), root, overwrite=True).state == "written"


@pytest.mark.parametrize(
    ("slug", "reason"),
    [
        ("i2b-demo-infer", "is a notebook of this kit"),
        ("i2b-preflight", "is a notebook of this kit"),
        ("demo", "5 to 50 letters"),
        ("MyBaseline", "5 to 50 letters"),
        ("-baseline", "5 to 50 letters"),
        ("a" * 51, "5 to 50 letters"),
        ("../outside", "5 to 50 letters"),
    ],
)
def test_a_slug_is_kaggles_and_none_of_ours(root: Path, wishes: Wishes, slug: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        adopt(replace(wishes, slug=slug), root)
    assert not any(root.iterdir())


def test_what_cannot_be_is_said_before_anything_is_written(root: Path, wishes: Wishes) -> None:
    for wrong, reason in (
        ({"main": Path("nowhere.py")}, "there is no script nowhere.py"),
        ({"root": Path("/nowhere")}, "there is no such folder"),
        ({"competition": "titanic"}, "competition: is 'titanic'; rehearsals and submissions are checked for csiro"),
        ({"datasets": ["Kim/My Data"]}, "datasets: has 'Kim/My Data' → an entry is owner/slug"),
        ({"models": ["kim/model"]}, "models: has 'kim/model'"),
        ({"arguments": "--name 'open"}, "arguments: cannot be split as a shell would"),
    ):
        with pytest.raises((UsageError, CheckFailed), match=reason):
            adopt(replace(wishes, **wrong), root)
    (wishes.root / "train.py").write_text("def f(:\n")
    with pytest.raises(CheckFailed, match="train.py:1: syntax error"):
        adopt(wishes, root)
    assert not any(root.iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "is JSON, but not an object"),
        ('{"main": "train.py"}', "root: is missing → add it: text"),
        (
            '{"main": "train.py", "root": "../foreign", "datasts": []}',
            "'datasts': is not a key of a card → did you mean",
        ),
        ('{"main": "train.py", "root": "../foreign", "gpu": "yes"}', "gpu: is 'yes', not true or false"),
        ('{"main": "train.py", "root": "../foreign", "data": [1]}', "data: is .1., not a list of texts"),
        (
            '{"main": "../train.py", "root": "../foreign"}',
            "main: is '../train.py', not the path of a script below root",
        ),
        ('{"main": "train.py", "root": "../foreign", "mode": "both"}', "mode: is 'both' → one of auto, inline, files"),
        ('{"main": "train.py", "root": "../foreign", "format": 2}', "format: is 2, and this kit reads 1"),
        ('{"main": "train.py", "root": "../nowhere"}', "root: there is no folder"),
        ('{"main": "nowhere.py", "root": "../foreign"}', "main: there is no script nowhere.py in"),
        (
            '{"main": "train.py", "root": "../foreign", "wheels": {"3.12": {"x.whl\\"); import os; (\\"": "00"}}}',
            "wheels: .* is not the name of a wheel",
        ),
    ],
)
def test_a_card_edited_by_hand_is_checked_with_file_key_and_cure(
    root: Path, wishes: Wishes, text: str, said: str
) -> None:
    path = card_path("my-baseline", root)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(CheckFailed, match=rf"notebooks/my-baseline/adopted\.json: .*{said}"):
        build(adopted_cards(root), root)


def test_a_kill_between_card_and_notebook_leaves_what_the_next_build_finishes(
    root: Path, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> list[BuildResult]:
        raise KeyboardInterrupt

    monkeypatch.setattr(adoption, "build", killed)
    with pytest.raises(KeyboardInterrupt):
        adopt(wishes, root)
    assert [path.name for path in (root / "notebooks/my-baseline").iterdir()] == ["adopted.json"], "whole, no draft"
    assert rebuilt(root) == ["written"]


def test_a_folder_far_away_is_stored_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a/kit/inside").mkdir(parents=True)
    assert stored(tmp_path / "a/kit/inside", tmp_path / "a/kit") == "inside"
    assert stored(tmp_path / "a/other/repo", tmp_path / "a/kit") == "../other/repo"
    assert stored(Path("/srv/repo"), tmp_path / "a/kit") == "/srv/repo"


def test_what_a_script_may_do_there_is_a_remark_and_no_fault(root: Path, wishes: Wishes) -> None:
    (wishes.root / "mylib/means.py").write_text(
        "import csv\nimport requests\n\n\ndef means_of(table):\n    return {}\n"
    )
    for mode in ("inline", "files"):
        adopt(replace(wishes, mode=mode), root, overwrite=True)
        verdict = check(adopted_cards(root), root)
        assert not verdict.problems
        (line,) = [note for note in verdict.notes if "requests" in note and "image" in note]
        assert "may fail there" in line and ("mylib/means.py:2" in line or mode == "inline"), "there it is gathered"


def test_files_mode_holds_the_file_itself(root: Path, wishes: Wishes) -> None:
    (wishes.root / "train.py").write_text("exec('answer = 42')\nprint(answer)\n")
    said = adopt(wishes, root).notes
    assert any("one cell for each file, run as a process" in note for note in said), said
    notebook = read_notebook((root / "notebooks/my-baseline/my-baseline.ipynb").read_bytes())
    assert any("exec('answer = 42')" in cell["source"] for cell in notebook["cells"])


def test_watch_builds_when_an_adopted_source_is_saved(root: Path, wishes: Wishes) -> None:
    adopt(wishes, root)
    (root / "kernel_src").mkdir()
    lines: list[str] = []

    def say(line: object) -> None:
        if not lines:
            module = wishes.root / "mylib/means.py"
            module.write_text(module.read_text() + "\nEXTRA = 1\n")
        lines.append(str(line))

    rounds = iter(range(100))
    watch(root, adopted_cards(root), say, stop=lambda: len(lines) > 1 or next(rounds, None) is None)
    assert lines[1:] == ["written     notebooks/my-baseline/my-baseline.ipynb"]


def test_help_has_an_example_and_loads_nothing_heavy() -> None:
    script = (
        "import sys; from build.cli import app; app(['adopt', '--help'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Example: python -m build adopt train.py --root ../my-repo --slug my-baseline" in done.stdout
    assert "packaging" not in done.stdout.split() and "nbformat" not in done.stdout.split()


def test_an_edited_file_comes_home_and_the_next_build_may_write_over_it(root: Path, wishes: Wishes) -> None:
    adopt(replace(wishes, mode="files"), root)
    notebook = root / "notebooks/my-baseline/my-baseline.ipynb"
    notebook.write_text(notebook.read_text().replace("sum(values) / len", "2.0 * sum(values) / len"))
    card = adopted_card(notebook, root)
    assert card is not None and card.folder == wishes.root
    assert lines_of_sync(notebook, card, root) == ["changed     mylib/means.py"]
    assert "2.0 * sum(values) / len" in (wishes.root / "mylib/means.py").read_text()
    assert rebuilt(root) == ["written"] and rebuilt(root) == ["up to date"]
    assert sync_saved(notebook, root) == [], "nothing left to do"


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ('ARGS = \\"', 'ARGS = \\"--fast ', 'ARGS = "--fast'),
        ("stdin=subprocess.DEVNULL", "stdin=None", "import shlex"),
        ("## The run", "## Tonight's run", "## Tonight's run"),
    ],
)
def test_an_edit_that_no_file_can_take_is_said_and_no_build_writes_over_it(
    root: Path, wishes: Wishes, old: str, new: str, shown: str
) -> None:
    adopt(replace(wishes, mode="files"), root)
    notebook = root / "notebooks/my-baseline/my-baseline.ipynb"
    edited = notebook.read_text().replace(old, new)
    notebook.write_text(edited.replace("sum(values) / len", "2.0 * sum(values) / len"))
    card = adopted_card(notebook, root)
    assert card is not None
    changed, stays = lines_of_sync(notebook, card, root)
    assert changed == "changed     mylib/means.py"
    assert stays.startswith("stays       cell ") and shown in stays and stays.endswith(", writes no file")
    with pytest.raises(CheckFailed, match="edited by hand since it was built"):
        rebuilt(root)


def test_a_colleague_without_the_sources_builds_and_checks_the_rest(root: Path, wishes: Wishes, tmp_path: Path) -> None:
    adopt(wishes, root)
    adopt(replace(wishes, slug="another", root=write_foreign(tmp_path / "elsewhere")), root)
    wishes.root.rename(tmp_path / "gone")
    states = {outcome.path.split("/")[1]: outcome.state for outcome in build(adopted_cards(root), root)}
    assert states == {"another": "up to date", "my-baseline": "left out"}
    verdict = check(adopted_cards(root), root)
    assert not verdict.problems and any("my-baseline: not compared" in note for note in verdict.notes)
    with pytest.raises(CheckFailed, match="root: there is no folder"):
        build(adopted_cards(root)[1:], root)
