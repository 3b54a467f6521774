"""`python -m build report OOF`: what is planted in predictions is found, with the right number, and nothing else is."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from build.core.errors import CheckFailed, UsageError
from build.core.long_tables import wide_to_long
from build.notebooks.builder import ROOT
from build.report.diagnostics import Diagnostics, diagnose
from build.report.diagnostics.page import page, sections
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.identities import component_matrix
from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.competitions.biomass.submission import write_submission
from tests.build.scores.painted import group_folds, predicted, truth, visits, write_oof, write_train
from tests.build.typing_in import type_in
from tests.conftest import write_competition

REAL = ROOT.parent / "shared" / "data"
needs_real = pytest.mark.skipif(not (REAL / "oof").is_dir(), reason="no real predictions at ../shared: never committed")
GREEN, DEAD, CLOVER, GDM, TOTAL = range(5)


def pasture(seed: int = 0) -> pd.DataFrame:
    """Visits with species and numbers, of which a third of the images has no clover."""
    table = truth(seed)
    random = np.random.default_rng(seed)
    components = table[["Dry_Green_g", "Dry_Dead_g", "Dry_Clover_g"]].to_numpy(float)
    components[random.random(len(table)) < 1 / 3, 2] = 0
    table[list(TARGETS)] = (components @ component_matrix().T).round(4)
    table["Species"] = np.array(["Ryegrass", "Clover<&", "Lucerne"])[visits(table) % 3]
    table["Pre_GSHH_NDVI"] = random.uniform(0.3, 0.9, len(table)).round(2)
    table["Height_Ave_cm"] = random.gamma(2, 4, len(table)).round(1)
    return table


TABLE = pasture()
GRAMS = TABLE[list(TARGETS)].to_numpy(float)
NEAR = 1.01 * GRAMS  # a model with small errors; the truth itself is refused as a prediction


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_train(tmp_path_factory.mktemp("tables") / "train.csv", TABLE)


def diagnosed(
    folder: Path, train: Path, grams: np.ndarray, folds: np.ndarray | None = None, **more: Path
) -> Diagnostics:
    return diagnose(f"m={write_oof(folder / 'oof.csv', TABLE, grams, folds)}", train, **more)


# %%
def test_through_the_command_line_the_json_and_the_page_say_the_same(tmp_path: Path, train: Path) -> None:
    file = write_oof(tmp_path / "a<b.csv", TABLE, predicted(TABLE, 1), group_folds(TABLE))
    done = type_in("report", file, "--data", train.parent, "--out", tmp_path / "p.html", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["r2"] == pytest.approx(weighted_r2(GRAMS, predicted(TABLE, 1))) and value["low"] < value["r2"]
    assert value["warnings"] == [] and value["shift"] is None and value["twins"] is None
    assert [one["target"] for one in value["targets"]] == list(TARGETS)
    for parts in ("states", "species", "folds"):
        assert sum(one["images"] for one in value[parts]) == len(TABLE)
        assert sum(one["share"] for one in value[parts]) == pytest.approx(1)
    assert sum(one["share"] for one in value["targets"]) == pytest.approx(1)
    text = (tmp_path / "p.html").read_text()
    assert (
        f"Official R² {value['r2']:.3f}" in text
        and "Clover&lt;&amp;" in text
        and "<h1>Diagnostics of a&lt;b</h1>" in text
    )
    assert not re.search(r'(src|href)="(?!data:)|url\(|<script|a<b|https?:', text) and len(text) < 500_000


def test_without_json_the_short_of_it_is_printed(tmp_path: Path, train: Path) -> None:
    file = write_oof(tmp_path / "m.csv", TABLE, predicted(TABLE, 1), group_folds(TABLE))
    done = type_in("report", f"m={file}", "--data", train.parent, COLUMNS="140")
    assert done.returncode == 0, done.stderr
    for words in ("m: official R²", "10 images hold", "Dry_Clover_g is 0 on", "fold 4", "--out FILE"):
        assert words in done.stdout


def test_what_cannot_be_meant_is_refused(tmp_path: Path, train: Path) -> None:
    file = str(write_oof(tmp_path / "m.csv", TABLE, predicted(TABLE, 1)))
    with pytest.raises(UsageError, match="no folder"):
        diagnose(file, train, images=tmp_path / "absent")
    with pytest.raises(UsageError, match="no photograph of these images: they are named e.g. ID1000.jpg"):
        diagnose(file, train, images=tmp_path)
    with pytest.raises(UsageError, match="no file .* with test predictions"):
        diagnose(file, train, test_predictions=tmp_path / "absent.csv")
    (tmp_path / "half.csv").write_text("sample_id,target\nID1__GDM_g,2\n")
    with pytest.raises(CheckFailed, match="image ID1 has a prediction that is not a number: nothing for Dry_Green_g"):
        diagnose(file, train, test_predictions=tmp_path / "half.csv")


def test_without_species_folds_and_photographs_each_section_says_so(tmp_path: Path) -> None:
    plain = TABLE.drop(columns=["Species", "Pre_GSHH_NDVI", "Height_Ave_cm"])
    own = write_train(tmp_path / "train.csv", plain)
    found = diagnosed(tmp_path, own, predicted(TABLE, 1))
    assert found.species is None and found.folds is None and found.fold_separations is None
    text = page(found)
    for words in ("No species", "no fold column", "shown with --images", "No test predictions were given"):
        assert words in text


def test_a_competition_of_twenty_photographs_gets_every_section(tmp_path: Path) -> None:
    from kernel_src.competitions.biomass.tables import read_train, target_array

    competition = write_competition(tmp_path / "data")
    table = read_train(competition / "train.csv")
    file = write_oof(tmp_path / "oof.csv", table, target_array(table) + 1.0, np.arange(len(table)) % 2)
    found = diagnose(str(file), competition / "train.csv", images=competition)
    assert found.photographs is not None and len(found.photographs) == len(table)
    made = dict(re.findall(r'<h2 id="[^"]+">(.+?)</h2>(.+?)(?=<h2|$)', sections(found), re.DOTALL))
    assert len(made) == 10 and all(body.strip() for body in made.values())
    assert made["The images that cost most"].count('<img src="data:image/jpeg;base64,') == 10
    json.dumps(found.as_json(), allow_nan=False)


# %%
def test_the_worst_image_and_how_few_hold_half(tmp_path: Path, train: Path) -> None:
    grams = GRAMS + 0.01
    grams[17, DEAD] += 50
    grams[33, TOTAL] += 10  # 0.5 x 100 against 0.1 x 2500
    worst = diagnosed(tmp_path, train, grams).worst
    assert [image.image_id for image in worst.images[:2]] == ["ID1017", "ID1033"] and worst.hold_half == 1
    assert worst.images[0].costliest == "Dry_Dead_g" and worst.images[1].costliest == "Dry_Total_g"
    assert worst.images[0].share / worst.images[1].share == pytest.approx(250 / 50, rel=0.02)


def test_a_bias_of_one_species_is_seen_in_that_row_alone(tmp_path: Path, train: Path) -> None:
    grams = GRAMS + np.random.default_rng(0).normal(0, 1, GRAMS.shape)
    grams[TABLE["Species"] == "Lucerne", GDM] -= 7
    found = {part.name: part.bias_g for part in diagnosed(tmp_path, train, grams).species or ()}
    assert found["Lucerne"][GDM] == pytest.approx(-7, abs=0.4)
    assert all(abs(found[name][GDM]) < 0.4 for name in ("Ryegrass", "Clover<&"))


def test_predictions_spread_twice_too_wide_have_a_slope_of_one_half(tmp_path: Path, train: Path) -> None:
    random = np.random.default_rng(0)
    seen = GRAMS.mean(0) + 2 * (GRAMS - GRAMS.mean(0))
    honest = NEAR.copy()
    honest[:, GREEN] = 20 + random.normal(0, 1e-7, len(GRAMS))
    wide = {one.target: one for one in diagnosed(tmp_path, train, seen).calibration}
    assert wide["Dry_Total_g"].slope is not None and wide["Dry_Total_g"].slope.estimate == pytest.approx(0.5)
    heaviest = wide["Dry_Total_g"].bins[-1]
    assert heaviest.predicted_g - heaviest.truth_g == pytest.approx(heaviest.truth_g - GRAMS[:, TOTAL].mean())
    constant = {one.target: one for one in diagnosed(tmp_path, train, honest).calibration}
    assert constant["Dry_Green_g"].slope is None, "a slope on predictions that do not vary is not a number"
    assert sum(one.images for one in constant["Dry_Green_g"].bins) == len(GRAMS)


def test_the_cost_of_predicting_clover_where_there_is_none(tmp_path: Path, train: Path) -> None:
    nothing = GRAMS[:, CLOVER] == 0
    grams = NEAR.copy()
    grams[nothing, CLOVER] = 3.0
    found = {one.target: one for one in diagnosed(tmp_path, train, grams).zeros}
    assert list(found) == ["Dry_Clover_g"], "the others are never 0 here"
    clover = found["Dry_Clover_g"]
    assert clover.images == clover.noticed == nothing.sum() and clover.predicted_g == pytest.approx(3)
    assert clover.cost_r2 == pytest.approx(weighted_r2(GRAMS, NEAR) - weighted_r2(GRAMS, grams))
    assert clover.cutting.low > 0 and clover.told_apart is not None and clover.told_apart < 1


def test_cutting_where_the_model_cannot_tell_gains_nothing(tmp_path: Path, train: Path) -> None:
    random = np.random.default_rng(0)
    grams = NEAR.copy()
    grams[:, CLOVER] = random.permutation(GRAMS[:, CLOVER])
    gain = {one.target: one.cutting for one in diagnosed(tmp_path, train, grams).zeros}["Dry_Clover_g"]
    assert gain.low <= 0


def test_identities_are_broken_before_and_kept_after(tmp_path: Path, train: Path) -> None:
    grams = NEAR.copy()
    grams[:4, GDM] += 5
    grams[7, DEAD] = -2
    found = {check.of: check for check in diagnosed(tmp_path, train, grams).identities}
    assert [v.broken for v in found["truth"].violations] == [0, 0]
    assert [v.broken for v in found["as it is"].violations] == [4, 5] and found["as it is"].negative == 1
    assert found["as it is"].violations[0].worst_g == pytest.approx(5, abs=1e-3)
    for constraint in ("projection", "biological", "average"):
        assert [v.broken for v in found[constraint].violations] == [0, 0] and found[constraint].negative == 0
    assert [v.broken for v in found["none"].violations] == [4, 5] and found["none"].negative == 0


# %%
def submission(path: Path, grams: np.ndarray) -> Path:
    grams_of = wide_to_long([f"T{i}" for i in range(len(grams))], grams)
    write_submission(path, list(grams_of), grams_of)
    return path


def test_a_test_set_of_other_weights_is_unlike_and_one_of_the_same_visits_is_not(tmp_path: Path, train: Path) -> None:
    own = np.clip(predicted(TABLE, 1), 0, None)
    other = pasture(seed=9)
    alike = submission(tmp_path / "alike.csv", np.clip(predicted(other, 2), 0, None))
    heavy = submission(tmp_path / "heavy.csv", 1.8 * own)
    near = diagnosed(tmp_path, train, own, test_predictions=alike).shift
    far = diagnosed(tmp_path, train, own, test_predictions=heavy).shift
    assert near is not None and far is not None and near.images == len(other)
    assert not any(one.unusual for one in near.targets)
    assert {one.target for one in far.targets if one.unusual} >= {"Dry_Total_g", "GDM_g"}


def test_the_public_test_set_of_one_image_tells_nothing(tmp_path: Path, train: Path) -> None:
    one = submission(tmp_path / "one.csv", GRAMS[:1])
    found = diagnosed(tmp_path, train, predicted(TABLE, 1), test_predictions=one)
    assert found.shift is not None and found.shift.images == 1 and found.shift.targets == ()
    assert "1 image(s); fewer than 20 tell nothing" in page(found)


@pytest.mark.full
def test_folds_of_one_state_each_are_told_apart_and_random_ones_are_not(tmp_path: Path, train: Path) -> None:
    by_state = TABLE["State"].map({"Tas": 0, "Vic": 1, "NSW": 2, "WA": 3}).to_numpy()
    found = diagnosed(tmp_path, train, predicted(TABLE, 1), by_state).fold_separations or ()
    assert all(one.unlike and one.area == pytest.approx(1) for one in found if one.by == "metadata")
    random, unlike = np.random.default_rng(0), 0
    for _ in range(4):
        dealt = (random.permutation(30) % 5)[visits(TABLE)]
        found = diagnosed(tmp_path, train, predicted(TABLE, 1), dealt).fold_separations or ()
        unlike += sum(one.unlike for one in found if one.by != "predictions")
    assert unlike <= 8, "one in twenty of 40, give or take"


def test_the_heaviest_visits_in_one_fold_are_told_apart_by_truth(tmp_path: Path, train: Path) -> None:
    means = pd.Series(GRAMS[:, TOTAL]).groupby(visits(TABLE)).mean()
    fold_of = (means.rank(ascending=False) <= 6).astype(int).to_numpy()
    found = diagnosed(tmp_path, train, predicted(TABLE, 1), fold_of[visits(TABLE)]).fold_separations or ()
    assert {one.part for one in found if one.by == "truth" and one.unlike} == {"0", "1"}


# %%
def photographs(folder: Path, names: list[str]) -> Path:
    """Pictures with as much detail as grass, all different."""
    import cv2

    folder.mkdir()
    random = np.random.default_rng(0)
    for name in names:
        rough = random.normal(0, 40, (20, 40, 3))
        picture = cv2.resize(rough, (400, 200), interpolation=cv2.INTER_CUBIC) + random.normal(110, 15, (200, 400, 3))
        cv2.imwrite(str(folder / f"{name}.jpg"), np.clip(picture, 0, 255).astype(np.uint8))
    return folder


def test_a_duplicated_photo_is_named_by_its_bytes_or_by_its_look(tmp_path: Path, train: Path) -> None:
    import cv2

    folder = photographs(tmp_path / "train", ["ID1000", "ID1001", "ID1013", "ID1025"])
    (folder / "ID1040.jpg").write_bytes((folder / "ID1000.jpg").read_bytes())
    smaller = cv2.resize(cv2.imread(str(folder / "ID1013.jpg")), (300, 150), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "ID1014.jpg"), smaller, [cv2.IMWRITE_JPEG_QUALITY, 40])
    found = diagnosed(tmp_path, train, predicted(TABLE, 1), group_folds(TABLE), images=tmp_path)
    assert [(one.a, one.b) for one in found.twins or ()] == [("ID1013", "ID1014"), ("ID1000", "ID1040")]
    first, second = (warning for warning in found.warnings if "photograph" not in warning)
    assert "ID1000 and ID1040 are the same file; they lie in folds 0 and 3: a duplicated photo" in first
    assert "one label is wrong" in first, "they weigh differently: by weights alone it was not found"
    assert "ID1013 and ID1014 look the same (" in second and "both lie in fold 1" in second
    without = diagnosed(tmp_path, train, predicted(TABLE, 1), images=tmp_path)
    assert "no fold column says whether a cut parts them; one is of Tas 2015/1/1" in "\n".join(without.warnings)


def test_of_many_copies_of_a_photograph_twenty_pairs_are_told_and_the_others_counted(
    tmp_path: Path, train: Path
) -> None:
    folder = photographs(tmp_path / "train", ["ID1000"])
    for number in range(1001, 1008):
        (folder / f"ID{number}.jpg").write_bytes((folder / "ID1000.jpg").read_bytes())
    found = diagnosed(tmp_path, train, predicted(TABLE, 1), group_folds(TABLE), images=folder)
    told = [warning for warning in found.warnings if "are the same file" in warning]
    assert len(found.twins or ()) == 28 and len(told) == 20
    assert any("and 8 more pairs of images with one photograph" in warning for warning in found.warnings)


def test_a_broken_photograph_is_named(tmp_path: Path, train: Path) -> None:
    folder = photographs(tmp_path / "train", ["ID1000"])
    (folder / "ID1001.jpg").write_bytes((folder / "ID1000.jpg").read_bytes()[:5000])
    with pytest.raises(CheckFailed, match=r"ID1001.jpg .* cannot be decoded"):
        diagnosed(tmp_path, train, predicted(TABLE, 1), images=folder)


# %%
@needs_real
def test_on_a_real_file_ten_images_hold_half_of_the_squared_error(tmp_path: Path) -> None:
    file = REAL / "oof" / "oof_21_vit_huge_plus_patch16_dinov3.csv"
    found = diagnose(str(file), REAL / "train.csv", images=REAL / "photos")
    assert found.comparison.models[0].estimate == pytest.approx(0.858, abs=5e-4)
    assert 8 <= found.worst.hold_half <= 16 and found.worst.share > 0.4
    assert {part.name: part.images for part in found.states} == {"NSW": 75, "Tas": 138, "Vic": 112, "WA": 32}
    clover = next(one for one in found.zeros if one.target == "Dry_Clover_g")
    assert clover.images == 135 and found.identities[0].violations[1].broken == 1
    assert found.twins == () and len(found.photographs or ()) == 22
    assert len(page(found)) < 5_000_000
