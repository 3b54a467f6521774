"""Other people's out-of-fold files: which column is what is found, said, or refused; never guessed in silence."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from build.core.errors import CheckFailed
from build.scores.comparison import Comparison, compare_files
from build.scores.oof_columns import image_id
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.metric import weighted_r2
from tests.build.scores.painted import predicted, truth, write_train

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
    **{
        f"headings like {mark('GDM_g')!r}": lambda mark=mark: PLAIN.rename(columns={t: mark(t) for t in TARGETS})
        for mark in (
            lambda t: f"Pred-{t}",
            lambda t: f"oof_pred_{t}",
            lambda t: f"{t} (g)",
            lambda t: f"ensemble_{t}",
            lambda t: t.removesuffix("_g").removeprefix("Dry_"),
            lambda t: "pred_" + t.removesuffix("_g").removeprefix("Dry_").lower(),
        )
    },
    **{
        f"truth under {mark}": lambda mark=mark: MARKED.merge(TRUTH.rename(columns={t: f"{mark}_{t}" for t in TARGETS}))
        for mark in ("true", "y_true", "actual", "target", "gt")
    },
    **{
        f"ids like {change('ID7')!r}": lambda change=change: PLAIN.assign(image_id=PLAIN["image_id"].map(change))
        for change in (str.lower, lambda i: i[2:], lambda i: f"\u200b{i}", lambda i: f"'{i}'", lambda i: f"a/{i}.jpg?x")
    },
    "melted": lambda: PLAIN.melt("image_id"),
    "melted, target as the name": lambda: PLAIN.melt("image_id", var_name="target", value_name="oof"),
    "long, an index": lambda: LONG[["sample_id", "target"]].reset_index(names="Unnamed: 0"),
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
    "the truth, in whole grams": (lambda: TRUTH.round(0), "is the truth, rounded"),
    "the truth of a tenth of the photographs": (
        lambda: pd.concat([TRUTH[PLAIN.columns].head(36), PLAIN.iloc[36:]]),
        "is the truth in 3",
    ),
    "the truth in one fold": (
        lambda: pd.concat([TRUTH[PLAIN.columns].head(15), PLAIN.iloc[15:]]).assign(fold=[0] * 20 + [1] * 340),
        "photographs of fold 0",
    ),
    "two models": (
        lambda: PLAIN.rename(columns={t: f"m1_{t}" for t in TARGETS}).merge(
            PLAIN.rename(columns={t: f"m2_{t}" for t in TARGETS}).round(1)
        ),
        "both 'm1_Dry_Green_g' and 'm2_Dry_Green_g' could be meant",
    ),
    "a row for each view": (
        lambda: pd.concat([PLAIN.assign(view="left"), PLAIN.assign(view="right")]),
        "image ID1000 appears twice, once for each 'view'",
    ),
    "a unit": (lambda: PLAIN.assign(GDM_g="12.3 g"), "not a number: '12.3 g' for GDM_g"),
    "true and false": (lambda: PLAIN.assign(GDM_g=True), "not a number: True for GDM_g"),
    "two columns of folds": (
        lambda: PLAIN.assign(fold=range(len(PLAIN)), kfold=0),
        "the folds may stand under 'fold' or under 'kfold'",
    ),
    "no rows": (lambda: PLAIN.head(0), "it has a heading and no rows"),
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


@pytest.mark.parametrize("heading", ["fold", "Fold", "kfold", "fold_id", "cv_fold"])
def test_visits_that_lie_in_several_folds_are_said_whatever_the_folds_are_called(heading: str, tmp_path: Path) -> None:
    found = compared(tmp_path, PLAIN.assign(**{heading: [i % 5 for i in range(len(PLAIN))]}))
    assert any("folds split a group: 30 of 30" in text for text in found.warnings)


def test_folds_that_are_empty_in_some_rows_are_not_read_and_that_is_said(tmp_path: Path) -> None:
    found = compared(tmp_path, PLAIN.assign(fold=[None] * 9 + [1.0] * (len(PLAIN) - 9)))
    assert any("'fold' is empty in 9 of 360 rows" in text for text in found.warnings)


@pytest.mark.parametrize("scale", [0.5, 1000.0])
def test_the_truth_scaled_is_said_and_is_no_traceback(scale: float, tmp_path: Path) -> None:
    found = compared(tmp_path, PLAIN.assign(**{t: TRUTH[t] * scale for t in TARGETS}))
    assert any("follows the truth as no prediction does" in text for text in found.warnings)


def test_no_control_character_of_a_file_reaches_the_terminal(tmp_path: Path) -> None:
    table = PLAIN.rename(columns={t: f"\x1b[31mm_{t}" for t in TARGETS}).assign(fold="\x1b[31m1")
    found = compared(tmp_path, table)
    assert "".join([*found.warnings, *map(str, found.validation.folds[0])]).isprintable()
