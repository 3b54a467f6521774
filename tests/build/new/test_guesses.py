"""Layouts of past competitions, tiny: each is guessed right, or refused in a line that says what to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from build.core.errors import CheckFailed
from build.new.competition import Competition
from build.new.looking import Said, look
from tests.build.new import layouts


@contextmanager
def no_bar() -> Iterator[Callable[[int, int], None]]:
    yield lambda done, total: None


def looked_at(folder: Path, write: Callable[[Path], None], may_ask: bool = False, **said: Any) -> Competition:
    folder.mkdir(exist_ok=True)
    write(folder)
    return look(folder, "the-cup", "the_cup", Said(**said), may_ask=may_ask, progress=no_bar)


# What is written → what is guessed: kind, metric, id, folders, suffix, test table, targets, inputs, groups.
RIGHT = {
    layouts.cassava: {
        "kind": "classes",
        "metric": "accuracy",
        "id": "image_id",
        "folders": ("train_images", "test_images"),
        "suffix": "",
        "test": "",
        "targets": ("class_0", "class_1", "class_2", "class_3", "class_4"),
    },
    layouts.pawpularity: {
        "kind": "number",
        "metric": "rmse",
        "id": "Id",
        "folders": ("train", "test"),
        "suffix": ".jpg",
        "test": "test.csv",
        "targets": ("Pawpularity",),
        "inputs": ("Face", "Blur"),
        "range": (1.0, 88.0),
    },
    layouts.aptos: {
        "kind": "ordinal",
        "metric": "quadratic_kappa",
        "id": "id_code",
        "folders": ("train_images", "test_images"),
        "suffix": ".png",
        "test": "test.csv",
        "targets": ("diagnosis",),
        "groups": ("patient_id",),
        "range": (0.0, 4.0),
    },
    layouts.plant_columns: {
        "kind": "probabilities",
        "metric": "log_loss",
        "id": "image_id",
        "folders": ("images", "images"),
        "suffix": ".jpg",
        "test": "test.csv",
        "targets": ("healthy", "rust", "scab"),
    },
    layouts.several_numbers: {
        "kind": "number",
        "metric": "rmse",
        "id": "id",
        "folders": ("train", "test"),
        "suffix": ".webp",
        "test": "test.csv",
        "targets": ("dx", "dy"),
        "range": (float("-inf"), float("inf")),
    },
    layouts.melanoma: {
        "kind": "yes-no",
        "metric": "auc",
        "id": "image_name",
        "folders": ("jpeg/train", "jpeg/test"),
        "suffix": ".jpg",
        "test": "test.csv",
        "targets": ("target",),
        "inputs": ("age_approx",),
        "groups": ("patient_id",),
    },
    layouts.several_yes_no: {
        "kind": "yes-no",
        "metric": "auc",
        "id": "file",
        "folders": ("train", "test"),
        "suffix": "",
        "test": "",
        "targets": ("cloud", "road", "water"),
    },
    layouts.by_patient: {
        "kind": "ordinal",
        "metric": "quadratic_kappa",
        "id": "image_id",
        "folders": ("train_images", "test_images"),
        "suffix": ".png",
        "test": "test.csv",
        "targets": ("severity",),
        "groups": ("patient",),
        "range": (0.0, 3.0),
    },
    layouts.other_headings: {
        "kind": "classes",
        "metric": "accuracy",
        "id": "id",
        "folders": ("dogs/train", "dogs/test"),
        "suffix": "",
        "test": "",
        "targets": ("class_corgi", "class_pug"),
    },
    layouts.by_path: {
        "kind": "number",
        "metric": "rmse",
        "id": "id",
        "folders": ("train", "test"),
        "suffix": "",
        "test": "test.csv",
        "targets": ("weight",),
        "range": (0.0, float("inf")),
    },
}


@pytest.mark.parametrize("write", RIGHT, ids=lambda write: write.__name__)
def test_a_layout_is_guessed_right(tmp_path: Path, write: Callable[[Path], None]) -> None:
    expected = RIGHT[write]
    found = looked_at(tmp_path, write)
    assert {
        "kind": found.kind.kind,
        "metric": found.metric,
        "id": found.layout.id_column,
        "folders": (found.layout.train.folder, found.layout.test_folder),
        "suffix": found.layout.train.suffix,
        "test": found.layout.test_csv,
        "targets": found.kind.targets,
    } == {key: expected[key] for key in ("kind", "metric", "id", "folders", "suffix", "test", "targets")}
    assert found.inputs == expected.get("inputs", ())
    assert found.group_columns == expected.get("groups", ())
    assert (found.kind.lowest, found.kind.highest) == expected.get("range", (0.0, 1.0))


REFUSED = {
    layouts.happywhale: ("predictions has 5 labels in one field", "derive Facts.texts"),
    layouts.individuals: ("40 of them once: individuals", "--kind classes"),
    layouts.plant_words: ("several labels in one field, such as 'scab rust'", "--kind classes takes each"),
    layouts.drivers: ("in folders named by classname, which the test's table does not have", "Facts.photograph"),
    layouts.class_folders: ("the classes are 2 folders, such as train/cat/", "derive Rules.read_train"),
    layouts.long_rows: ("a row for each photograph and target, such as ID90__", "derive Facts.read_test"),
    layouts.long_submission: ("a row for each photograph and target, such as i90_dx", "derive Facts.read_test"),
    layouts.several_rows: ("10 photographs have several rows: image i0.jpg has 2", "derive Facts.read_test"),
    layouts.dicom: ("no photographs lie there, but train/i0.dcm", "convert them to PNG"),
}


@pytest.mark.parametrize("write", REFUSED, ids=lambda write: write.__name__)
def test_a_layout_that_no_package_can_have_is_refused_with_what_to_do(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    what, cure = REFUSED[write]
    with pytest.raises(CheckFailed) as refused:
        looked_at(tmp_path, write)
    (problem,) = refused.value.problems
    assert what in problem.what and cure in problem.cure, str(problem)


def test_a_metric_by_option_says_what_whole_numbers_are(tmp_path: Path) -> None:
    kinds = {
        metric: looked_at(tmp_path / metric, layouts.cassava, metric=metric).kind
        for metric in ("accuracy", "quadratic_kappa", "rmse")
    }
    assert {metric: kind.kind for metric, kind in kinds.items()} == {
        "accuracy": "classes",
        "quadratic_kappa": "ordinal",
        "rmse": "number",
    }
    assert [kind.answer for kind in kinds.values()] == ["label", "rounded", "number"]


def test_log_loss_of_yes_and_no_is_that_of_columns_and_of_combinations_one_of_classes(tmp_path: Path) -> None:
    assert looked_at(tmp_path / "a", layouts.melanoma, metric="log_loss").metric == "column_log_loss"
    found = looked_at(tmp_path / "b", layouts.plant_words, kind="classes")
    assert found.kind.labels == ("healthy", "rust", "scab", "scab rust")


def test_the_metric_is_asked_for_once_on_a_terminal_unless_an_option_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or " macro_f1 ")
    assert looked_at(tmp_path / "a", layouts.cassava, may_ask=True).metric == "macro_f1"
    assert looked_at(tmp_path / "b", layouts.cassava, may_ask=True, metric="accuracy").metric == "accuracy"
    assert len(asked) == 1 and "accuracy, balanced_accuracy, macro_f1" in asked[0]
    monkeypatch.setattr("builtins.input", lambda question: "f1")
    found = looked_at(tmp_path / "c", layouts.cassava, may_ask=True)
    assert found.metric == "accuracy" and found.metric_guess.is_doubtful


def test_what_nothing_in_the_files_decides_is_marked_to_be_looked_at(tmp_path: Path) -> None:
    found = looked_at(tmp_path / "a", layouts.cassava)
    assert {guess.name for guess in found.guesses() if guess.is_doubtful} == {"labels", "metric"}
    told = looked_at(tmp_path / "b", layouts.cassava, metric="accuracy")
    assert not [guess.name for guess in told.guesses() if guess.is_doubtful]
    assert all(guess.why and guess.otherwise for guess in found.guesses())
