"""Leaf (classes, no test.csv) and paws (numbers of the table, at test time too), from train.csv to submission.csv.

By the built notebooks, executed on tiny nets, with what goes wrong on Kaggle.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from build.weights.bundle import make_bundle
from kernel_src.competition import choice
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug, kernel_card
from kernel_src.recipes.changes import changed
from kernel_src.runtime.faults import RERUN_VARIABLE
from tests.kernel_src.kernels.running import lay_out_kaggle
from tests.kernel_src.kernels.twins import InProcess
from tests.kernel_src.small_competitions import LEAF_LABELS, read_rows, write_rows, write_small_leaf, write_small_paws

TINY = {
    "encoder.timm": "test_efficientnet",
    "encoder.weights": "",
    "pictures.height_px": 32,
    "pictures.width_px": 32,
    "schedule.epochs": 2,
    "schedule.warmup": 0,
    "batch.size": 4,
    "data.split.folds": 2,
}
WRITERS = {"leaf": write_small_leaf, "paws": write_small_paws}


class Trained:
    """An experiment that its notebook has trained."""

    def __init__(self, name: str, home: Path, patch: pytest.MonkeyPatch, **changes: object) -> None:
        self.name, self.facts, self.home, self.run = name, facts(name), home, InProcess(patch)
        self.competition = WRITERS[name](home / "competition")
        kaggle = lay_out_kaggle(home / "train", self.competition, {}, self.facts.slug)
        parameters = kernel_card(name, "train").parameters | {"CHANGES": TINY | changes}
        self.printed = self.run("train", parameters, kaggle, home / "scratch")
        self.run_folder = kaggle / "kaggle/working/run"
        self.bundle = home / bundle_slug(name)
        make_bundle(self.run_folder, self.bundle, slug=bundle_slug(name))
        self.config = json.loads((self.bundle / "config.json").read_text())

    def inferred(self, home: Path, competition: Path, patch: pytest.MonkeyPatch) -> tuple[list[str], dict, str]:
        """Infer by its notebook; return the submission's answers, which are valid, the report and what was printed."""
        kaggle = lay_out_kaggle(home / "infer", competition, {bundle_slug(self.name): self.bundle}, self.facts.slug)
        printed = InProcess(patch)("infer", kernel_card(self.name, "infer").parameters, kaggle, home / "scratch")
        working = kaggle / "kaggle/working"
        ids = [row[self.facts.id_column] for row in read_rows(competition / "sample_submission.csv")]
        self.facts.check_submission(working / "submission.csv", ids)
        column = self.facts.submission_columns[1]
        answers = [row[column] for row in read_rows(working / "submission.csv")]
        return answers, json.loads((working / "inference_report.json").read_text()), printed


def _trained(name: str, factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "_chosen", [name])
        yield Trained(name, factory.mktemp(name), patch)


@pytest.fixture(scope="module")
def leaf(tmp_path_factory: pytest.TempPathFactory):
    yield from _trained("leaf", tmp_path_factory)


@pytest.fixture(scope="module")
def paws(tmp_path_factory: pytest.TempPathFactory):
    yield from _trained("paws", tmp_path_factory)


def a_copy(trained: Trained, folder: Path) -> Path:
    return Path(shutil.copytree(trained.competition, folder / "altered"))


# Classes


def test_out_of_fold_predictions_of_classes_are_probabilities_and_the_fallback_is_how_often_each_occurs(
    leaf: Trained,
) -> None:
    assert "out-of-fold accuracy" in leaf.printed and "floor: the mean of all accuracy" in leaf.printed
    oof = read_rows(leaf.run_folder / "oof.csv")
    assert {row["image_id"] for row in oof} == {f"leaf.{1000 + number}.jpg" for number in range(24)}
    predicted = np.array([[float(row[target]) for target in leaf.facts.targets] for row in oof])
    assert predicted.sum(1) == pytest.approx(np.ones(24), abs=1e-5) and predicted.min() >= 0
    means = leaf.config["target_mean"]
    assert means == pytest.approx({f"class_{n}": LEAF_LABELS.count(str(n)) / 24 for n in range(10)})
    assert leaf.config["competition"] == "leaf" and leaf.config["oof"]["metric"] == "accuracy"


def test_a_leaf_submission_names_a_class_for_each_photograph(
    leaf: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, report, printed = leaf.inferred(tmp_path, leaf.competition, monkeypatch)
    assert set(answers) <= set(leaf.facts.labels) and len(answers) == 5
    assert report["faults"] == [] and report["plan"]["photographs_without_prediction"] == 0
    assert "out-of-fold accuracy" in printed


def test_a_photograph_that_cannot_be_read_gets_the_commonest_class(
    leaf: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered = a_copy(leaf, tmp_path)
    (altered / "test_images/leaf.9002.jpg").write_bytes(b"no picture")
    monkeypatch.setenv(RERUN_VARIABLE, "1")
    answers, report, _ = leaf.inferred(tmp_path, altered, monkeypatch)
    assert answers[2] == "3" == max(set(LEAF_LABELS), key=LEAF_LABELS.count)
    (fault,) = report["faults"]
    assert fault["ids"] == ["leaf.9002.jpg"] and fault["fallback"] == "the training mean"


# Numbers of the table


def test_paws_learns_the_columns_and_its_submission_follows_them(
    paws: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "out-of-fold RMSE" in paws.printed and paws.config["oof"]["metric"] == "RMSE"
    answers, report, printed = paws.inferred(tmp_path, paws.competition, monkeypatch)
    assert report["faults"] == [] and "inputs of the table" in printed and len(set(answers)) == 4
    altered = a_copy(paws, tmp_path)
    rows = read_rows(altered / "test.csv")
    rows[1]["Face"] = str(1 - int(rows[1]["Face"]))
    rows[2]["Blur"] = "1"  # constant in training
    write_rows(altered / "test.csv", [tuple(rows[0]), *(tuple(row.values()) for row in rows)])
    others, _, _ = paws.inferred(tmp_path / "other", altered, monkeypatch)
    assert others[1] != answers[1], "what the table says changes the prediction"
    assert [others[0], *others[2:]] == [answers[0], *answers[2:]], "of the others it does not, nor does a constant"


def test_numbers_that_are_missing_or_none_are_predicted_in_the_rerun_and_refused_before(
    paws: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered = a_copy(paws, tmp_path)
    rows = read_rows(altered / "test.csv")
    rows[0]["Face"], rows[1]["Eyes"] = "", "maybe"
    write_rows(altered / "test.csv", [tuple(rows[0]), *(tuple(row.values()) for row in rows)])
    with pytest.raises(Exception, match="rows without a number in one of Subject Focus"):
        paws.inferred(tmp_path / "before", altered, monkeypatch)
    monkeypatch.setenv(RERUN_VARIABLE, "1")
    answers, report, _ = paws.inferred(tmp_path / "rerun", altered, monkeypatch)
    (fault,) = report["faults"]
    assert fault["ids"] == [rows[0]["Id"], rows[1]["Id"]] and fault["fallback"] == "the training mean there"
    assert report["plan"]["photographs_without_prediction"] == 0 and len(set(answers)) == 4


# Test-time training of classes


@pytest.mark.full
def test_a_fold_of_classes_learns_the_test_by_the_bundles_own_probabilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"predict.adapt": {"epochs": 2, "average": 1}}  # said by the card, and to the training notebook
    monkeypatch.setitem(EXPERIMENTS, "leaf", changed(EXPERIMENTS["leaf"], changes))
    monkeypatch.setattr(choice, "_chosen", ["leaf"])
    adapted = Trained("leaf", tmp_path / "trained", monkeypatch, **changes)
    answers, report, printed = adapted.inferred(tmp_path, adapted.competition, monkeypatch)
    assert report["faults"] == [] and set(answers) <= set(adapted.facts.labels)
    assert "0.2 of the predictions before + 0.8 of those after training" in printed
    assert "the best out of fold on its own photographs (accuracy: fold 0" in printed
