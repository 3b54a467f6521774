"""Leaf and Paws lie on disk as Kaggle has their models, the same every time, and are not made twice."""

from pathlib import Path

import numpy as np
import pytest

from build.core.errors import UsageError
from build.demo.leaf import write_leaf
from build.demo.paws import EFFECTS, draw_pets, write_paws
from kernel_src.competition.choice import choose_competition
from kernel_src.competition.facts import Facts, read_named_rows
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_rules import rules
from kernel_src.runtime.faults import FaultLog
from kernel_src.runtime.files import sha256_of

WRITERS = {"leaf": write_leaf, "paws": write_paws}


@pytest.fixture(params=WRITERS)
def chosen(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Facts]:
    """One of both, with few photographs."""
    choose_competition(request.param)
    WRITERS[request.param](tmp_path / "demo", train_images=30, hidden_images=6)
    return tmp_path / "demo", facts()


def test_the_shared_code_reads_training_table_public_test_and_hidden_test(chosen: tuple[Path, Facts]) -> None:
    demo, own = chosen
    train = rules().read_train(demo / "competition" / own.train_csv)
    assert len(train) == 30 and all((demo / "competition" / path).is_file() for path in train["image_path"])
    public = own.read_test(demo / "competition", FaultLog(strict=True))
    hidden = own.read_test(demo / "hidden", FaultLog(strict=True))
    assert (len(public.row_ids), len(hidden.row_ids)) == (8 if own.inputs else 1, 6)
    assert all(path.is_file() for path in (*public.photographs.values(), *hidden.photographs.values()))
    labels = rules().read_train(demo / "hidden/labels.csv")
    assert tuple(labels["image_id"]) == hidden.row_ids and not set(labels["image_id"]) & set(train["image_id"])


def test_the_layout_is_that_of_the_model_on_kaggle(chosen: tuple[Path, Facts]) -> None:
    demo, own = chosen
    files = {
        "leaf": {"train.csv", "sample_submission.csv", "train_images", "test_images"},
        "paws": {"train.csv", "test.csv", "sample_submission.csv", "train", "test"},
    }
    assert {path.name for path in (demo / "competition").iterdir()} == files[own.competition]
    headings = {
        "leaf": ["image_id", "label"],
        "paws": ["Id", *EFFECTS, "Pawpularity"],
    }
    assert read_named_rows(demo / "competition/train.csv")[0] == headings[own.competition]
    assert read_named_rows(demo / "hidden/labels.csv")[0] == headings[own.competition]


def test_it_is_the_same_every_time_and_is_not_made_twice(chosen: tuple[Path, Facts], tmp_path: Path) -> None:
    demo, own = chosen
    write = WRITERS[own.competition]
    files = sorted(path.relative_to(demo) for path in demo.rglob("*") if path.is_file())
    before = {file: (demo / file).stat().st_mtime_ns for file in files}
    write(demo, train_images=30, hidden_images=6)
    assert {file: (demo / file).stat().st_mtime_ns for file in files} == before
    write(tmp_path / "again", train_images=30, hidden_images=6)
    assert [sha256_of(demo / file) for file in files] == [sha256_of(tmp_path / "again" / file) for file in files]


def test_somebodys_own_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "competition").mkdir()
    for write in WRITERS.values():
        with pytest.raises(UsageError, match="not painted here"):
            write(tmp_path, train_images=30, hidden_images=6)


def test_the_columns_of_paws_tell_what_no_picture_shows() -> None:
    pets = draw_pets(400, seed=1)
    truth = np.array([pet.popularity for pet in pets], float)

    def error(columns: list[tuple[float, ...]]) -> float:
        """The root of the mean squared error that a linear model of these columns leaves."""
        known = np.column_stack([np.array(columns), np.ones(len(pets))])
        return float(np.sqrt(((truth - known @ np.linalg.lstsq(known, truth, rcond=None)[0]) ** 2).mean()))

    seen = [(pet.warmth, pet.size) for pet in pets]
    described = [pet.described for pet in pets]
    both = [(*a, *b) for a, b in zip(seen, described, strict=True)]
    assert error(both) < 4 < 7 < error(seen) < 12 and 8 < error(described) < truth.std() < 16
