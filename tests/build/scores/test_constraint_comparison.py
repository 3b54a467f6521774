"""`python -m build compare --constraints`: what each gains, and that real files speak for the default."""

import json
from pathlib import Path

import pytest

from build.notebooks.builder import ROOT
from build.scores.command import compare_verb
from build.scores.constraint_comparison import AS_IT_IS, constraint_gains
from build.scores.oof_files import read_all, truth_table, validation_of
from kernel_src.recipes.ensemble import Ensemble
from kernel_src.recipes.predictor import Predict
from tests.build.scores.painted import predicted, truth, write_oof, write_train

REAL = ROOT.parent / "shared" / "data"
TABLE = truth()


def test_independent_errors_are_lessened_by_the_projection(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = [str(write_oof(tmp_path / f"{seed}.csv", TABLE, predicted(TABLE, seed))) for seed in (1, 2)]
    train = write_train(tmp_path / "train.csv", TABLE)
    compare_verb(given, train, constraints=True, as_json=True)
    value = json.loads(capsys.readouterr().out)
    gains = {(one["constraint"], one["against"]): one for one in value["constraints"]}
    assert gains["projection", AS_IT_IS]["low"] > 0 and gains["projection", "average"]["low"] > 0
    compare_verb(given, train, constraints=True)
    assert "R², mean over 2 files" in capsys.readouterr().out


@pytest.mark.skipif(not (REAL / "oof").is_dir(), reason="no real predictions at ../shared: never committed")
def test_the_default_is_never_worse_on_the_real_files() -> None:
    files = read_all([str(path) for path in sorted((REAL / "oof").glob("*.csv"))])
    gains = constraint_gains(validation_of(files, truth_table(files, REAL / "train.csv")))
    default = Predict().constraint
    assert default == Ensemble(name="x", shares={"v1": 1.0}).constraint == "projection"
    for one in gains:
        if one.constraint == default:
            assert one.gain.estimate > 0 and one.gain.high > 0, one
    against = {one.against: one for one in gains if one.constraint == default}
    assert against[AS_IT_IS].least >= 0
