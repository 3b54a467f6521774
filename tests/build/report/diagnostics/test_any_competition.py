"""The diagnosis of two other competitions: a confusion matrix of classes, residuals of a number, and no others."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from build.core.choosing import working_on
from build.report.diagnostics import diagnose
from build.report.diagnostics.page import page
from tests.build.scores.plain import classes, leaf_file, leaf_train, numbers, paws_file, paws_train, probabilities

TRUE, PAWS = classes(), numbers()
LIKELY = probabilities(TRUE, 1)
GUESSED = PAWS + np.random.default_rng(1).normal(0, 8, len(PAWS))
NOT_THEIRS = ("Where there is nothing", "identities", "Constraints", "Errors per state", "visit", "R²", "gram")


def sections(text: str) -> list[str]:
    return re.findall(r'<h2 id="[^"]+">(.+?)</h2>', text)


def test_classes_have_a_confusion_matrix_and_the_calibration_of_the_likeliest(tmp_path: Path) -> None:
    with working_on("leaf"):
        found = diagnose(leaf_file(tmp_path / "m.csv", LIKELY, np.arange(240) % 5), leaf_train(tmp_path, TRUE))
        text, value = page(found), found.as_json()
    judged = LIKELY.argmax(1)
    assert np.array([one.instead for one in found.classes]).tolist() == confusion_matrix(TRUE, judged).tolist()
    assert [one.found for one in found.classes] == pytest.approx(recall_score(TRUE, judged, average=None))
    assert [one.right for one in found.classes] == pytest.approx(precision_score(TRUE, judged, average=None))
    (sure,) = found.calibration
    assert sum(one.predicted * one.images for one in sure.bins) / 240 == pytest.approx(LIKELY.max(1).mean())
    assert sum(one.truth * one.images for one in sure.bins) / 240 == pytest.approx((TRUE == judged).mean())
    assert found.folds is not None and [one.error for one in found.folds] == pytest.approx(
        [(TRUE != judged)[np.arange(240) % 5 == fold].mean() for fold in range(5)]
    )
    dearest = max(range(240), key=lambda i: ((LIKELY[i] - np.eye(10)[TRUE[i]]) ** 2).sum())
    assert found.worst.images[0].image_id == f"{1000 + dearest}.jpg"
    assert value["metric"] == "accuracy" and value["score"] == (TRUE == judged).mean() and value["targets"] == []
    assert "Errors per class" in sections(text) and not [word for word in NOT_THEIRS if word in text]
    json.dumps(value, allow_nan=False)


def test_a_number_has_residuals_and_is_split_by_the_columns_of_the_table(tmp_path: Path) -> None:
    with working_on("paws"):
        found = diagnose(paws_file(tmp_path / "m.csv", GUESSED), paws_train(tmp_path, PAWS))
        text, value = page(found), found.as_json()
    (only,) = found.targets
    assert only.rmse == pytest.approx(value["score"]) == pytest.approx(np.sqrt(((GUESSED - PAWS) ** 2).mean()))
    assert only.bias == pytest.approx((GUESSED - PAWS).mean()) and value["metric"] == "RMSE"
    assert len(found.parts) == 12 and sum(part.images for part in found.parts["Blur"] or ()) == 240
    assert "Errors per target" in sections(text) and text.count("<svg") >= 2
    assert not [word for word in NOT_THEIRS if word in text]
