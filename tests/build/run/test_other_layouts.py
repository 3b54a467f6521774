"""A rerun of any competition has a hidden test made of its training photographs, in its own layout."""

from pathlib import Path

import pytest

from build.demo.leaf import write_leaf
from build.demo.paws import write_paws
from build.run.mock import lay_out
from build.run.rehearse.findings import check_submission, read_expected
from kernel_src.competition.choice import choose_competition
from kernel_src.competition.facts import read_named_rows
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.leaf.rules import LeafRules
from kernel_src.runtime.faults import FaultLog
from kernel_src.runtime.files import sha256_of

WRITERS = {"leaf": write_leaf, "paws": write_paws}


def laid_out(name: str, folder: Path, *, hidden: bool) -> Path:
    """Lay out a rerun of a small competition, with the hidden test that it has or with one that is made up."""
    choose_competition(name)
    WRITERS[name](folder / "demo", train_images=12, hidden_images=5)
    own = folder / "demo/hidden" if hidden else None
    slug = facts().slug
    mock = lay_out(
        folder / "mock",
        competition_slug=slug,
        data=folder / "demo/competition",
        datasets={},
        layout="new",
        rerun=True,
        hidden=own,
    )
    return mock.input / "competitions" / slug


@pytest.mark.parametrize("name", WRITERS)
def test_train_photographs_stand_in_under_new_ids_with_their_columns(name: str, tmp_path: Path) -> None:
    mount = laid_out(name, tmp_path, hidden=False)
    test = facts().read_test(mount, FaultLog(strict=True))
    assert len(test.row_ids) == 12 and all(path.is_file() for path in test.photographs.values())
    _, rows = read_named_rows(mount / "train.csv")
    own = facts()
    known = {sha256_of(own.photograph(mount, own.train_folder, row[own.id_column], row)): row for row in rows}
    for image_id, path in test.photographs.items():
        row = known[sha256_of(path)]
        assert row[facts().id_column] != image_id
        assert test.inputs.get(image_id, ()) == tuple(float(row[column]) for column in facts().inputs)


@pytest.mark.parametrize("name", WRITERS)
def test_the_submission_is_held_against_the_hidden_test_that_was_mounted(name: str, tmp_path: Path) -> None:
    mount = laid_out(name, tmp_path, hidden=True)
    expected = read_expected(mount)
    assert (expected.test_images, expected.train_images, len(expected.sample_rows)) == (5, 12, 5)
    working = tmp_path / "working"
    working.mkdir()
    (working / "submission.csv").write_bytes((mount / "sample_submission.csv").read_bytes())
    assert check_submission(working, expected).valid
    lines = (working / "submission.csv").read_text().splitlines()
    (working / "submission.csv").write_text("\n".join([*lines[:-1], f"{lines[-1].partition(',')[0]},many"]) + "\n")
    checked = check_submission(working, expected)
    assert checked.rows == 5 and not checked.valid and "/kaggle/working/submission.csv:6" in checked.problems[0]


def test_the_training_table_may_call_its_ids_otherwise_than_the_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_competition("leaf")
    write_leaf(tmp_path / "demo", train_images=12, hidden_images=5)
    table = tmp_path / "demo/competition/train.csv"
    table.write_text(table.read_text().replace("image_id,", "picture,"))
    monkeypatch.setattr(LeafRules, "train_id_column", "picture")
    mock = lay_out(
        tmp_path / "mock",
        competition_slug=facts().slug,
        data=tmp_path / "demo/competition",
        datasets={},
        layout="new",
        rerun=True,
    )
    test = facts().read_test(mock.input / "competitions" / facts().slug, FaultLog(strict=True))
    assert len(test.row_ids) == 12 and all(path.is_file() for path in test.photographs.values())
