"""Other people's out-of-fold files: which column is what is found, said, or refused; never guessed in silence."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from build.problems import CheckFailed
from build.validation.comparison import Comparison, compare_files
from build.validation.oof_columns import image_id
from kernel_src.common.competition import TARGETS
from kernel_src.common.metric import weighted_r2
from tests.build.validation.painted import predicted, truth, write_train

TRUTH = truth()
GRAMS = TRUTH[list(TARGETS)].to_numpy(float)
MODEL = predicted(TRUTH, 1)
SCORE = weighted_r2(GRAMS, MODEL)
PLAIN = pd.DataFrame(MODEL, columns=list(TARGETS)).assign(image_id=TRUTH["image_id"])
MARKED = PLAIN.rename(columns={target: f"pred_{target}" for target in TARGETS})
LONG = PLAIN.melt("image_id", var_name="target_name", value_name="target")
LONG = LONG.assign(sample_id=LONG["image_id"] + "__" + LONG["target_name"])


def compared(folder: Path, table: pd.DataFrame) -> Comparison:
    table.to_csv(folder / "file.csv", index=False)
    return compare_files([str(folder / "file.csv")], write_train(folder / "train.csv", TRUTH))


def public() -> pd.DataFrame:
    """As a public notebook writes it: ID, metadata, truth, predictions, errors."""
    table = TRUTH.rename(columns={"image_id": "ID"})
    for i, target in enumerate(TARGETS):
        table[f"pred_{target}"] = MODEL[:, i]
        table[f"err_{target}"] = MODEL[:, i] - GRAMS[:, i]
        table[f"abs_err_{target}"] = table[f"err_{target}"].abs()
    return table


READ: dict[str, Callable[[], pd.DataFrame]] = {
    "plain": lambda: PLAIN,
    "marked before": lambda: MARKED,
    "marked behind": lambda: PLAIN.rename(columns={target: f"{target}_pred" for target in TARGETS}),
    "oof_": lambda: PLAIN.rename(columns={target: f"oof_{target}" for target in TARGETS}),
    "in small letters": lambda: PLAIN.rename(columns=str.lower),
    "truth under plain names": lambda: MARKED.merge(TRUTH),
    "a public one": public,
    **{
        f"ids under {name!r}": lambda name=name: PLAIN.rename(columns={"image_id": name})
        for name in ("ID", "Id", "image", "sample_id", "filename", "photo", "")
    },
    "paths": lambda: PLAIN.assign(image_path="train/" + PLAIN["image_id"] + ".jpg").drop(columns="image_id"),
    "Windows paths": lambda: PLAIN.assign(image="data\\train\\" + PLAIN["image_id"] + ".JPG").drop(columns="image_id"),
    "row numbers under id": lambda: PLAIN.assign(id=range(len(PLAIN))),
    "an index": lambda: PLAIN.reset_index(names="Unnamed: 0"),
    "a submission": lambda: LONG[["sample_id", "target"]],
    "long, three columns": lambda: LONG[["image_id", "target_name", "target"]],
    "long, with truth": lambda: LONG.rename(columns={"target": "prediction"}).assign(
        target=TRUTH.melt("image_id", value_vars=list(TARGETS))["value"]
    ),
}


@pytest.mark.parametrize("name", READ)
def test_the_predictions_are_found(tmp_path: Path, name: str) -> None:
    found = compared(tmp_path, READ[name]())
    assert found.models[0].estimate == pytest.approx(SCORE, abs=1e-6) and len(found.validation.image_ids) == len(TRUTH)


def test_what_was_decided_is_said(tmp_path: Path) -> None:
    (note,) = [text for text in compared(tmp_path, public()).warnings if "read from" in text]
    assert "predictions are read from pred_" in note and "are taken for the truth" in note


def named_badly(table: pd.DataFrame, other: pd.Series) -> pd.DataFrame:
    return table.assign(image=other.to_numpy())


REFUSED: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "the truth": (lambda: TRUTH, "Dry_Green_g is the truth in 360 of 360 photographs, not a prediction"),
    "the truth, rounded": (lambda: TRUTH.round(2), "is the truth in 3"),
    "one target of the truth": (lambda: PLAIN.assign(GDM_g=TRUTH["GDM_g"]), "GDM_g is the truth"),
    "the truth under pred_": (
        lambda: TRUTH.rename(columns={target: f"pred_{target}" for target in TARGETS}),
        "is the truth in 360",
    ),
    "two predictions": (
        lambda: MARKED.merge(PLAIN.rename(columns={target: f"oof_{target}" for target in TARGETS}).round(1)),
        "both 'pred_Dry_Green_g' and 'oof_Dry_Green_g' could be meant",
    ),
    "plain columns that are not the truth": (
        lambda: MARKED.merge(PLAIN.assign(**{target: PLAIN[target] + 4 for target in TARGETS})),
        "taken for the truth differ from train.csv",
    ),
    "two columns of ids": (
        lambda: named_badly(PLAIN, TRUTH["image_id"].iloc[::-1]),
        "the ids may stand under 'image_id' or under 'image'",
    ),
    "no ids": (lambda: PLAIN.drop(columns="image_id"), "columns image_id are missing"),
    "a target missing": (lambda: MARKED.drop(columns="pred_GDM_g"), "columns pred_GDM_g are missing, it has"),
    "long, a target unknown": (
        lambda: LONG.replace("GDM_g", "Moss_g")[["image_id", "target_name", "target"]],
        "Moss_g",
    ),
    "long, doubled": (lambda: pd.concat([LONG, LONG.head(1)]), "has Dry_Green_g twice"),
    "long, a row missing": (lambda: LONG.iloc[1:], "image ID1000 has a prediction that is not a number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_meant_in_two_ways_or_is_no_prediction_is_refused(tmp_path: Path, name: str) -> None:
    table, message = REFUSED[name]
    with pytest.raises(CheckFailed) as refused:
        compared(tmp_path, table())
    assert message in str(refused.value) and str(tmp_path / "file.csv") in str(refused.value)


def test_a_few_photographs_too_few_for_a_score_of_each_target_are_no_traceback(tmp_path: Path) -> None:
    assert len(compared(tmp_path, PLAIN.iloc[[0, 20, 40]]).validation.image_ids) == 3


@pytest.mark.parametrize(
    "value", ["ID7", " ID7 ", "train/ID7.jpg", "C:\\data\\ID7.JPG", "ID7__GDM_g", "train/ID7.png", "ID7.tiff"]
)
def test_an_id_is_found_in_whatever_names_the_photograph(value: str) -> None:
    assert image_id(value) == "ID7"
