"""The colour statistics mean what the published table means, and the painted photographs lie within it."""

import csv
from pathlib import Path

import numpy as np
import pytest

from build.demo.colour import colour_baseline, colour_statistics, file_statistics, out_of_fold
from kernel_src.competitions.biomass.metric import weighted_r2

REAL_TABLE = Path(__file__).resolve().parents[4] / "shared/data/train_image_colour_stats.csv"
# 2.5, 50 and 97.5 % quantiles over the 357 real training photographs.
REAL_QUANTILES: dict[str, tuple[float, float, float]] = {
    "mean_R": (0.3161, 0.4420, 0.5651),
    "mean_G": (0.3648, 0.5050, 0.6011),
    "mean_B": (0.1974, 0.2971, 0.4789),
    "std_R": (0.1654, 0.2389, 0.2970),
    "std_G": (0.1668, 0.2392, 0.2950),
    "std_B": (0.1514, 0.2240, 0.2845),
    "green_ratio": (0.3382, 0.4004, 0.4791),
    "ExG": (0.0221, 0.2500, 0.5400),
    "VARI": (-0.1264, 0.1270, 0.3244),
    "GR_ratio": (9.109, 9794.0, 159200.0),
    "brightness": (0.3042, 0.4151, 0.5113),
    "contrast": (0.1741, 0.2569, 0.3007),
}


def test_statistics_of_a_picture_of_two_colours_are_as_computed_by_hand() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = (51, 102, 51)  # (.2, .4, .2), VARI (.4 − .2) / (.4 + .2 − .2) = .5
    image[1] = (102, 102, 51)  # (.4, .4, .2), VARI 0
    found = colour_statistics(image)
    assert found["mean_R"] == pytest.approx(0.3) and found["std_R"] == pytest.approx(0.1)
    assert found["mean_G"] == pytest.approx(0.4) and found["std_G"] == pytest.approx(0.0)
    assert found["ExG"] == pytest.approx(0.8 - 0.3 - 0.2)
    assert found["green_ratio"] == pytest.approx(0.4 / 0.9)
    assert found["brightness"] == pytest.approx(0.3)
    assert found["VARI"] == pytest.approx(0.25, abs=1e-4)
    assert found["GR_ratio"] == pytest.approx(1.5, abs=1e-4)
    assert found["contrast"] == pytest.approx(float((image / 255).std()))


def test_one_pixel_without_red_lifts_the_ratio_by_orders_of_magnitude() -> None:
    image = np.full((10, 10, 3), 100, np.uint8)
    image[0, 0, 0] = 0
    assert colour_statistics(image)["GR_ratio"] == pytest.approx(100 / 255 / 1e-8 / 100, rel=0.01)


def test_the_committed_quantiles_are_those_of_the_published_table() -> None:
    if not REAL_TABLE.is_file():
        pytest.skip("the competition's colour statistics are third-party data and not part of this repository")
    with REAL_TABLE.open(newline="") as handle:
        real = list(csv.DictReader(handle))
    for name, committed in REAL_QUANTILES.items():
        values = [float(row[name]) for row in real]
        assert np.quantile(values, (0.025, 0.5, 0.975)) == pytest.approx(committed, rel=2e-3, abs=2e-4)


def test_the_baseline_predicts_a_held_out_fold_from_the_others_only() -> None:
    rng = np.random.default_rng(0)
    statistics = [dict(zip(REAL_QUANTILES, rng.random(12), strict=True)) for _ in range(60)]
    grams = np.array([[40 * one["ExG"] + 5] * 5 for one in statistics])
    folds = np.arange(60) % 5
    predicted = out_of_fold(statistics, grams, folds)
    assert weighted_r2(grams, predicted) > 0.9
    spoilt = grams.copy()
    spoilt[folds == 2] = 1e6  # must not reach the predictions of fold 2
    again = out_of_fold(statistics, spoilt, folds)
    np.testing.assert_allclose(again[folds == 2], predicted[folds == 2])


@pytest.mark.full
def test_painted_photographs_have_real_colours_but_colours_alone_do_not_give_the_weights(tmp_path: Path) -> None:
    # The whole demo competition: about a minute. Real photographs: Ridge on colours scores .38 under these folds.
    from sklearn.model_selection import GroupKFold

    from build.demo.competition import paint_competition
    from build.demo.labels import draw_quadrats
    from kernel_src.competitions.biomass.constants import TARGETS

    paint_competition(tmp_path, train_images=120)
    photographs = sorted((tmp_path / "competition/train").glob("*.jpg"))
    hidden = sorted((tmp_path / "hidden/test").glob("*.jpg"))
    painted = [file_statistics(path) for path in (*photographs, *hidden)]
    for name, (low, _, high) in REAL_QUANTILES.items():
        assert np.mean([low <= one[name] <= high for one in painted]) >= 0.8, name
    quadrats = [quadrat for quadrat in draw_quadrats(120, 40, 0) if quadrat.part == "train"]
    grams = np.array([[quadrat.grams[target] for target in TARGETS] for quadrat in quadrats])
    folds = np.zeros(len(quadrats), int)
    for fold, (_, held) in enumerate(GroupKFold(5).split(folds, groups=[quadrat.group for quadrat in quadrats])):
        folds[held] = fold
    assert [path.stem for path in photographs] == [quadrat.image_id for quadrat in quadrats]
    score = weighted_r2(grams, colour_baseline(photographs, grams, folds))
    print(f"colour baseline R² {score:.3f}")
    assert 0.2 < score < 0.48
