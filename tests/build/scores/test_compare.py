"""`python -m build compare`: through the command line, on files that were written for it."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from build.core.errors import CheckFailed, UsageError
from build.scores.comparison import compare_files, decision
from build.scores.cross_validation import is_competitions_own
from build.scores.page import page
from kernel_src.competitions.biomass.constants import TARGETS, TRAINING_MEANS_G
from kernel_src.competitions.biomass.identities import component_matrix
from kernel_src.competitions.biomass.metric import weighted_r2
from tests.browser import INSTALL, Browser, find_chromium
from tests.build.scores.painted import group_folds, predicted, truth, visits, write_oof, write_train
from tests.build.typing_in import type_in

ROOT = Path(__file__).resolve().parents[3]
REAL = ROOT.parent / "shared" / "data"
needs_real = pytest.mark.skipif(not (REAL / "oof").is_dir(), reason="no real predictions at ../shared: never committed")
TABLE = truth()
GRAMS = TABLE[list(TARGETS)].to_numpy(float)


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return write_train(tmp_path / "train.csv", TABLE)


def oof(folder: Path, name: str, grams: np.ndarray, folds: np.ndarray | None = None) -> str:
    return str(write_oof(folder / f"{name}.csv", TABLE, grams, folds))


def warnings(files: list[str], train: Path) -> str:
    return "\n".join(compare_files(files, train).warnings)


def test_the_json_is_what_a_script_was_promised(tmp_path: Path, train: Path) -> None:
    bad, good = predicted(TABLE, 1), predicted(TABLE, 2, 5, 4)
    files = [oof(tmp_path, "bad", bad, group_folds(TABLE)), oof(tmp_path, "good", good, group_folds(TABLE))]
    done = type_in("compare", *files, "--train-csv", train, "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert list(value) == ["models", "pairs", "warnings"] and value["warnings"] == []
    assert [list(model) for model in value["models"]] == [["name", "r2", "low", "high"]] * 2
    assert [list(pair) for pair in value["pairs"]] == [["a", "b", "difference", "low", "high", "probability"]]
    first, second = value["models"]
    assert first["name"] == "bad" and first["r2"] == pytest.approx(weighted_r2(GRAMS, bad))
    pair = value["pairs"][0]
    assert pair["difference"] == pytest.approx(second["r2"] - first["r2"]) and pair["low"] > 0
    assert pair["probability"] > 0.99


def test_one_line_says_which_is_better_or_that_it_cannot_be_told(tmp_path: Path, train: Path) -> None:
    a, b = oof(tmp_path, "a", predicted(TABLE, 1)), oof(tmp_path, "b", predicted(TABLE, 2, 5, 4))
    line = type_in("compare", b, a, "--train-csv", train).stdout.strip().splitlines()[-1]
    assert re.fullmatch(r"b is better than a: \+0\.\d{3} \[0\.\d{3}, 0\.\d{3}\], (9\d(\.\d)?|> 99\.9) %", line), line
    twin = oof(tmp_path, "twin", predicted(TABLE, 4))
    line = decision(compare_files([a, twin], train))
    assert re.fullmatch(r"cannot tell: .*\[-0\.\d{3}, 0\.\d{3}\].*; (about \d+|not even 1,000) more groups would", line)


def test_a_file_with_truth_state_and_date_needs_no_train_csv(tmp_path: Path, train: Path) -> None:
    table = TABLE.rename(columns={target: f"true_{target}" for target in TARGETS})
    for i, target in enumerate(TARGETS):
        table[f"pred_{target}"] = predicted(TABLE, 1)[:, i]
    table.to_csv(tmp_path / "whole.csv", index=False)
    plain = oof(tmp_path, "plain", predicted(TABLE, 1))
    found = compare_files([str(tmp_path / "whole.csv"), plain], None)
    assert found.models == compare_files([plain, f"x={plain}"], train).models
    with pytest.raises(UsageError, match="--train-csv"):
        compare_files([plain], None)


def test_the_order_of_rows_and_columns_does_not_matter(tmp_path: Path, train: Path) -> None:
    grams = predicted(TABLE, 1)
    first = oof(tmp_path, "first", grams)
    mixed = np.random.default_rng(0).permutation(len(TABLE))
    table = TABLE.iloc[mixed][["image_id"]].assign(
        **{t: grams[mixed, i] for i, t in reversed(list(enumerate(TARGETS)))}
    )
    table.to_csv(tmp_path / "second.csv", index=False)
    models = compare_files([first, str(tmp_path / "second.csv")], train).models
    assert models[0].estimate == pytest.approx(models[1].estimate)


def test_what_cannot_be_read_is_named(tmp_path: Path, train: Path) -> None:
    grams = predicted(TABLE, 1)
    with pytest.raises(UsageError, match="no file"):
        compare_files([str(tmp_path / "absent.csv")], train)
    (tmp_path / "half.csv").write_text("image_id,GDM_g\nID1,2\n")
    doubled = TABLE.iloc[[0, 0, 1]].reset_index(drop=True)
    twice = write_oof(tmp_path / "twice.csv", doubled, grams[:3])
    grams[5, 2] = np.nan
    with pytest.raises(CheckFailed) as failed:
        compare_files([str(tmp_path / "half.csv"), oof(tmp_path, "nan", grams), str(twice)], train)
    text = str(failed.value)
    assert (
        "Dry_Green_g" in text
        and "ID1005 has a prediction that is not a number" in text
        and "ID1000 appears twice" in text
    )
    other = TABLE.assign(image_id=[f"other{i}" for i in range(len(TABLE))])
    with pytest.raises(CheckFailed, match="without .jpg"):
        compare_files([str(write_oof(tmp_path / "other.csv", other, predicted(TABLE, 1)))], train)


# %%
def test_an_honest_file_gets_no_warning(tmp_path: Path, train: Path) -> None:
    for seed in range(5):
        file = oof(tmp_path, f"honest{seed}", predicted(TABLE, seed), group_folds(TABLE))
        assert warnings([file], train) == ""


def test_a_group_split_across_folds_is_named(tmp_path: Path, train: Path) -> None:
    folds = group_folds(TABLE)
    folds[3] = (folds[3] + 1) % 5
    found = warnings([oof(tmp_path, "split", predicted(TABLE, 1), folds)], train)
    assert "split: folds split a group: 1 of 30" in found and "e.g. Tas 2015/1/1" in found


def test_target_statistics_of_the_validation_fold_are_named(tmp_path: Path, train: Path) -> None:
    grams, folds = predicted(TABLE, 1), group_folds(TABLE)
    for fold in range(5):  # predictions standardised, then given the fold's own true mean and deviation
        own = folds == fold
        grams[own] = (grams[own] - grams[own].mean(0)) / grams[own].std(0) * GRAMS[own].std(0) + GRAMS[own].mean(0)
    found = warnings([oof(tmp_path, "leak", grams, folds)], train)
    assert "leak: the mean of every fold is met too exactly" in found and "target statistics of the validation" in found


def test_a_duplicated_photo_on_both_sides_of_a_cut_is_named(tmp_path: Path) -> None:
    table = TABLE.copy()
    table.loc[40, list(TARGETS)] = table.loc[0, list(TARGETS)].to_numpy()  # the same photograph under another id
    train = write_train(tmp_path / "train.csv", table)
    assert group_folds(table)[0] != group_folds(table)[40]
    file = write_oof(tmp_path / "twice.csv", table, predicted(table, 1), group_folds(table))
    found = warnings([str(file)], train)
    assert "ID1000 and ID1040 weigh exactly the same but lie in folds 0 and 3: a duplicated photo" in found


def test_a_model_that_knows_the_visits_is_named_although_it_hides_its_folds(tmp_path: Path, train: Path) -> None:
    knows = predicted(TABLE, 1, by_visit=1.5, by_image=8)
    assert "errs as if it had trained on photographs of the same visits" in warnings([oof(tmp_path, "k", knows)], train)
    other = oof(tmp_path, "l", predicted(TABLE, 2, by_visit=1.5, by_image=8))
    several = warnings([oof(tmp_path, "k", knows), other], train)
    assert re.search(r"k \(\d\.\d\), l \(\d\.\d\): err as if they had", several) and several.count("same visits") == 1
    shown = warnings([oof(tmp_path, "f", knows, group_folds(TABLE))], train)
    assert "errs as if" not in shown, "its folds are whole, and these are not the real photographs"
    own = visits(TABLE)
    residual = knows - GRAMS
    means = np.stack([np.bincount(own, column) / np.bincount(own) for column in residual.T], 1)
    found = warnings([oof(tmp_path, "m", knows - means[own])], train)
    assert "the mean of every State+Sampling_Date group is met too exactly" in found


def competition_like() -> pd.DataFrame:
    """A table whose means are the competition's, by which it is known."""
    table, matrix = truth(), component_matrix()
    parts = [t for t, row in zip(TARGETS, matrix, strict=True) if row.sum() == 1]
    grams = table[parts] * [TRAINING_MEANS_G[part] / table[part].mean() for part in parts]
    table[list(TARGETS)] = grams.to_numpy() @ matrix.T
    assert is_competitions_own(table[list(TARGETS)].mean().to_dict())
    return table


def test_a_few_folds_of_the_real_table_are_known_to_be_of_it_and_suspected_as_the_whole_is(tmp_path: Path) -> None:
    table = competition_like()
    train = write_train(tmp_path / "train.csv", table)
    few = table["image_id"].to_numpy()[group_folds(table) < 4]

    def told(name: str, grams: np.ndarray, kept: np.ndarray) -> bool:
        own = table["image_id"].isin(kept).to_numpy()
        assert not is_competitions_own(table[own][list(TARGETS)].mean().to_dict())
        file = write_oof(tmp_path / f"{name}.csv", table[own], grams[own], group_folds(table)[own])
        return "errs as if it had trained on photographs of the same visits" in warnings([str(file)], train)

    assert told("knows", predicted(table, 1, by_visit=1.5, by_image=8), few)
    for seed in range(5):
        assert not told("honest", predicted(table, seed), few)


def test_an_honest_file_of_which_a_part_is_left_is_not_accused_of_knowing_the_visits(
    tmp_path: Path, train: Path
) -> None:
    """A quarter of the error is the visit's, as in the real ones: few photographs or visits are near chance then."""
    numbers = np.arange(len(TABLE))
    for name, kept in (("thin", numbers % 12 < 3), ("short", visits(TABLE) < 6)):
        for seed in range(5):
            file = write_oof(tmp_path / f"{name}{seed}.csv", TABLE[kept], predicted(TABLE, seed, 3.5, 6)[kept])
            assert "errs as if" not in warnings([str(file)], train), (name, seed)


def test_scores_on_training_images_missing_rows_and_other_folds_are_named(tmp_path: Path, train: Path) -> None:
    folds = group_folds(TABLE)
    near = oof(tmp_path, "near", predicted(TABLE, 1, 0.5, 0.3), folds)
    assert "near: scored on its own training images?" in warnings([near], train)
    short = write_oof(tmp_path / "short.csv", TABLE.iloc[:-7], predicted(TABLE, 2)[:-7], (visits(TABLE) % 4)[:-7])
    found = warnings([near, str(short)], train)
    assert "short: rows are missing for 7 of 360 images" in found and "folds differ between near and short" in found
    renamed = oof(tmp_path, "renamed", predicted(TABLE, 3), 4 - folds)
    assert "folds differ" not in warnings([near, renamed], train), "the same cut under other numbers"
    assert "a and near hold the same predictions" in warnings([f"a={near}", near], train)


# %%
def test_the_page_holds_itself_and_the_floors(tmp_path: Path, train: Path) -> None:
    files = [oof(tmp_path, "a<b", predicted(TABLE, 1)), oof(tmp_path, "good", predicted(TABLE, 2, 5, 4))]
    done = type_in("compare", *files, "--train-csv", train, "--html", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text()
    assert not re.search(r"https?://|<script|src=|@import|url\(", text) and "a&lt;b" in text and "a<b" not in text
    comparison = compare_files(files, train)
    assert text == page(comparison) and escape(decision(comparison)) in text
    for name, value in comparison.floors.items():
        assert f'<span class="floor-name">{value:.3f} {escape(name)}</span>' in text


@pytest.mark.full
@pytest.mark.skipif(not find_chromium(), reason=INSTALL)
@pytest.mark.parametrize("width_px", [390, 1280])
def test_every_name_and_score_of_the_drawing_is_in_the_window(tmp_path: Path, train: Path, width_px: int) -> None:
    name = "oof_21_vit_huge_plus_patch16_dinov3_384"
    files = [oof(tmp_path, f"{name}{i}", predicted(TABLE, i)) for i in range(3)]
    path = tmp_path / "page.html"
    path.write_text(page(compare_files(files, train)))
    with Browser() as browser:
        browser.size(width_px)
        browser.go(path.as_uri())
        texts = browser.evaluate(
            "[...document.querySelectorAll('.forest span')].filter(e => !e.children.length && e.textContent).map(e => "
            "{ const r = e.getBoundingClientRect(); return [e.textContent, r.left, r.right, r.height] })"
        )
        assert not browser.errors
    scores = [text for text, *_ in texts if re.fullmatch(r"0\.\d{3}", text)]
    assert len(texts) == 3 + 3 + 3 and len(scores) == 3, "floors, names and scores, once"
    for text, left, right, height in texts:
        assert 0 <= left and right <= width_px and height >= 11, text


@needs_real
def test_the_real_files_are_compared_with_the_reference_points_as_floors_in_under_3_seconds(tmp_path: Path) -> None:
    files = sorted((REAL / "oof").glob("*.csv"))
    began = time.perf_counter()
    done = type_in("compare", files[0], files[7], "--train-csv", REAL / "train.csv", "--html", tmp_path / "page.html")
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text()
    assert all(f">{value} " in text for value in ("0.240", "0.213", "0.611"))
    assert "err as if they had trained" in done.stdout, "their folds are by image"
    assert seconds < 6, "3 s on an idle machine; the tests share it"
