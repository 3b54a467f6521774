"""`python -m build blend`: nested, refusing what the interval does not carry, writing an ensemble that stitches."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from build.core.errors import CheckFailed, UsageError
from build.notebooks.builder import ROOT
from build.scores.blends import CANDIDATES, MEAN, NESTED, SINGLE, applied, blend_files, nested, ridge
from build.scores.command import blend_verb
from build.scores.ensemble_file import blended_file, blended_source
from build.scores.oof_files import Validation
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.floors import group_out_floor
from kernel_src.competitions.biomass.metric import weighted_r2
from tests.build.scores.painted import predicted, truth, visits, write_oof, write_train

TABLE = truth()
GRAMS = TABLE[list(TARGETS)].to_numpy(float)
REAL = ROOT.parent / "shared" / "data"


def validation(predictions: list[np.ndarray], grams: np.ndarray = GRAMS) -> Validation:
    count = len(predictions)
    return Validation(
        names=tuple(f"m{i}" for i in range(count)),
        image_ids=TABLE["image_id"].to_numpy(),
        truth=grams,
        predictions=np.stack(predictions),
        groups=visits(TABLE),
        parts={"state": TABLE["State"].to_numpy(), "date": TABLE["Sampling_Date"].to_numpy()},
        folds=(None,) * count,
    )


def noise_scores(draws: range, models: int) -> tuple[list[float], list[float], list[float]]:
    """Scores of the nested blend, the naive one and the floor, of models that know nothing of the truth."""
    nested_ones, naive, floors = [], [], []
    for seed in draws:
        table = truth(seed)
        random = np.random.default_rng(1000 + seed)
        grams = table[list(TARGETS)].to_numpy(float)
        noise = validation([random.normal(20, 10, grams.shape) for _ in range(models)], grams)
        nested_ones.append(weighted_r2(grams, nested(noise, "none")[0]))
        fits = [applied(fit(noise.predictions, grams), noise.predictions, "none") for fit in CANDIDATES.values()]
        naive.append(max(weighted_r2(grams, one) for one in fits))
        floors.append(group_out_floor(grams, visits(table)))
    return nested_ones, naive, floors


def test_on_pure_noise_the_nested_blend_stays_below_the_floor_and_the_naive_one_does_not() -> None:
    nested_ones, naive, floors = noise_scores(range(3), models=30)
    assert np.mean(nested_ones) < np.mean(floors) < np.mean(naive) - 0.03


@pytest.mark.full
def test_on_forty_draws_of_noise_too() -> None:
    nested_ones, naive, floors = noise_scores(range(40), models=20)
    assert np.mean(nested_ones) < np.mean(floors) < np.mean(naive) - 0.03


def test_weights_that_made_the_truth_are_found() -> None:
    a, b = predicted(TABLE, 1), predicted(TABLE, 2)
    exact = 0.3 * a + 0.7 * b
    stack = CANDIDATES["shares"](np.stack([a, b]), exact)
    assert stack.weights == pytest.approx(np.tile([0.3, 0.7], (5, 1)), abs=1e-5)
    assert CANDIDATES["weights per target"](np.stack([a, b]), exact).weights == pytest.approx(stack.weights, abs=1e-6)
    tight = ridge(1e-9)(np.stack([a, b]), exact + 3.0)
    assert tight.weights == pytest.approx(stack.weights, abs=1e-4) and tight.intercept_g == pytest.approx(np.full(5, 3))
    assert ridge(1e9)(np.stack([a, b]), exact).weights == pytest.approx(np.full((5, 2), 0.5), abs=1e-6)


def test_models_that_err_apart_are_blended_and_the_gain_carries_it() -> None:
    result = blend_files(validation([predicted(TABLE, seed) for seed in range(4)]), "projection")
    assert result.recommended == MEAN, "as good as any fitted weights here, and simpler"
    gain = result.gain(SINGLE, MEAN)
    assert gain.low > 0 and gain.estimate > 0.02


def test_a_biased_model_makes_fitted_weights_worth_it() -> None:
    models = [predicted(TABLE, 1), predicted(TABLE, 2), 2.5 * predicted(TABLE, 3)]
    result = blend_files(validation(models), "none")
    assert result.recommended == NESTED and result.gain(MEAN, NESTED).low > 0
    assert result.naive_score >= result.comparison.models[2].estimate


# %%
@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "kernel_src", tree / "kernel_src", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("build.scores.ensemble_file.ROOT", tree)
    return tree


def files(folder: Path, models: list[np.ndarray]) -> tuple[list[str], Path]:
    named = [
        f"{name}={write_oof(folder / f'{name}.csv', TABLE, grams)}"
        for name, grams in zip(("v5", "v7", "v8"), models, strict=False)
    ]
    return named, write_train(folder / "train.csv", TABLE)


def test_what_is_carried_becomes_an_ensemble_whose_notebook_can_be_stitched(root: Path, tmp_path: Path) -> None:
    from build.stitch import compose

    given, train = files(tmp_path, [predicted(TABLE, 1), predicted(TABLE, 2), 2.5 * predicted(TABLE, 3)])
    blend_verb(given, train, write="v5_v7_v8", as_json=True)
    code = (
        "import json; from kernel_src.competitions.kernel_cards import kernel_card as k; "
        "print(json.dumps(k('v5_v7_v8', 'infer').parameters))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    parameters = json.loads(done.stdout)
    assert set(parameters["BUNDLES"]) == {"i2b-v5-weights", "i2b-v7-weights", "i2b-v8-weights"}
    assert sum(parameters["BUNDLES"].values()) == pytest.approx(1)
    weights = np.array(parameters["STACK"]["weights"])
    assert weights.shape == (5, 3) and (weights[:, 2] < 0.4).all()
    notebook = compose(root / "kernel_src/kernels/infer.py", root, parameters).notebook
    assert b"i2b-v7-weights" in notebook and str(weights[0, 0]).encode() in notebook


def test_what_is_not_carried_is_refused_and_nothing_is_written(root: Path, tmp_path: Path) -> None:
    good = predicted(TABLE, 1, 2, 2)
    given, train = files(tmp_path, [good, good + np.random.default_rng(0).normal(0, 30, good.shape)])
    before = (root / blended_file()).read_bytes()
    with pytest.raises(CheckFailed, match="no blend is better than v5 by more than its interval"):
        blend_verb(given, train, write="v5_v7", as_json=True)
    assert (root / blended_file()).read_bytes() == before


def test_names_that_cannot_be_are_refused_before_anything_is_computed(root: Path, tmp_path: Path) -> None:
    given, train = files(tmp_path, [predicted(TABLE, 1), predicted(TABLE, 2)])
    for name, words in (("V5", "lower-case"), ("v6", "written by hand"), ("v5", "written by hand")):
        with pytest.raises(UsageError, match=words):
            blend_verb(given, train, write=name, as_json=True)
    with pytest.raises(UsageError, match="mine is not an experiment"):
        blend_verb([given[0], given[1].replace("v7=", "mine=")], train, write="both", as_json=True)
    with pytest.raises(UsageError, match="at least two"):
        blend_verb(given[:1], train, as_json=True)


def test_the_file_is_written_as_the_formatter_would(tmp_path: Path) -> None:
    long = {"weights": [[0.123456] * 12] * 5, "intercept_g": [0.0] * 5}
    one = {"shares": {"v5": 0.5, "v7": 0.5}, "stack": long, "constraint": "projection", "found_by": "x"}
    path = tmp_path / "blended_ensembles.py"
    for blended in ({}, {"a": one}, {"a": one, "b": {**one, "stack": {}}}):
        path.write_text(blended_source(blended))
        command = [sys.executable, "-m", "ruff", "format", "--check", "--config", ROOT / "pyproject.toml", path]
        assert subprocess.run(command, capture_output=True).returncode == 0, path.read_text()
    assert blended_source({}) == (ROOT / blended_file()).read_text()


@pytest.mark.skipif(not (REAL / "oof").is_dir(), reason="no real predictions at ../shared: never committed")
def test_on_the_real_files_no_blend_is_carried(capsys: pytest.CaptureFixture) -> None:
    given = [str(path) for path in sorted((REAL / "oof").glob("*.csv"))]
    blend_verb(given, REAL / "train.csv", as_json=True)
    value = json.loads(capsys.readouterr().out)
    nested_r2 = value["models"][2]["score"]
    assert value["single"].startswith("oof_21") and value["recommended"] == SINGLE and nested_r2 < value["naive_score"]
