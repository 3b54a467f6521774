"""The verb, and the bars that it has to reach on the real embeddings."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from build.cli import main
from build.core.errors import UsageError
from build.search.regress import candidates, nested, report
from build.search.regress.command import regress
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.competitions.biomass.tables import read_train, target_array

SHARED = Path(__file__).parents[4] / "shared/data"
KEYS = {"leave_group_out", "group_kfold5", "random_kfold5", "interval", "chosen", "seconds", "per_target"}
# Leave-group-out and GroupKFold(5) of issue 8; the file, and the two bars.
BARS = [("dinov2_vits14_cls", 0.710, 0.706), ("resnet18_avgpool", 0.595, 0.580)]


@pytest.fixture
def tiny_features(tiny_competition: Path, tmp_path: Path) -> Path:
    """Features in which the grams of the tiny competition's photographs are hidden among noise."""
    random = np.random.default_rng(0)
    train = read_train(tiny_competition / "train.csv")
    noise = random.normal(0, 1, (len(train), 10))
    features = np.column_stack([target_array(train) / 10, noise]) @ random.normal(0, 1, (15, 15))
    path = tmp_path / "features.npz"
    np.savez(path, image_id=train["image_id"].to_numpy(str), features=features)
    return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two families are enough to see what the command does."""
    two = tuple(family for family in candidates.FAMILIES if family.name in ("ridge", "pls"))
    for function in (nested.fit_regressor, nested.nested_predictions):
        monkeypatch.setitem(function.__kwdefaults__, "families", two)
    monkeypatch.setattr(report, "FAMILIES", two)


@pytest.mark.usefixtures("quick")
def test_the_verb_writes_report_and_predictions(
    tiny_features: Path,
    tiny_competition: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    train_csv, out = tiny_competition / "train.csv", tmp_path / "reports" / "regress.json"
    words = ["regress", "--features", tiny_features, "--train-csv", train_csv, "--report", out]
    words += ["--jobs", 1, "--json"]
    monkeypatch.setattr("sys.argv", ["build", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)
    written = json.loads(out.read_text())
    assert said == written and set(written) >= KEYS
    train = read_train(train_csv)
    oof = pd.read_csv(written["oof"]).set_index("image_id").loc[train["image_id"]]
    assert weighted_r2(target_array(train), oof[list(TARGETS)].to_numpy()) == pytest.approx(
        written["leave_group_out"], abs=1e-6
    )
    assert written["interval"]["low"] < written["leave_group_out"] < written["interval"]["high"]
    assert written["leave_group_out"] > written["floors"]["mean of the other groups"]


@pytest.mark.usefixtures("quick")
def test_two_runs_write_the_same_but_for_the_seconds(
    tiny_features: Path, tiny_competition: Path, tmp_path: Path
) -> None:
    def once(name: str) -> tuple[dict, bytes]:
        written = regress(
            [tiny_features], tiny_competition / "train.csv", tmp_path / f"{name}.json", jobs=1, quiet=True
        )
        csv = Path(written.pop("oof")).read_bytes()
        return {key: value for key, value in written.items() if key != "seconds"}, csv

    assert once("first") == once("second")


def test_what_cannot_be_meant_is_refused_before_anything_is_fitted(tiny_competition: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one --features"):
        regress([], tiny_competition / "train.csv", tmp_path / "r.json")
    with pytest.raises(UsageError, match=r"none\.csv does not exist"):
        regress([tmp_path / "f.npz"], tmp_path / "none.csv", tmp_path / "r.json")
    with pytest.raises(UsageError, match=r"f\.npz does not exist"):
        regress([tmp_path / "f.npz"], tiny_competition / "train.csv", tmp_path / "r.json")
    few = pd.read_csv(tiny_competition / "train.csv").query("State in ('Tas', 'Vic')")
    few.to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(UsageError, match="4 State\+Sampling_Date groups; nested folds need 6"):
        regress([tmp_path / "f.npz"], tmp_path / "few.csv", tmp_path / "r.json")


@pytest.mark.full
@pytest.mark.parametrize(("name", "leave_group_out", "group_kfold5"), BARS)
def test_the_real_embeddings_reach_their_bars(
    tmp_path: Path, name: str, leave_group_out: float, group_kfold5: float
) -> None:
    features = SHARED / f"features/{name}.npz"
    if not features.exists():
        pytest.skip(f"{features} is not here: the real embeddings are not committed")
    written = regress([features], SHARED / "train.csv", tmp_path / "r.json", jobs=1, quiet=True)
    assert written["leave_group_out"] >= leave_group_out
    assert written["group_kfold5"] >= group_kfold5
    assert written["images"] == 357 and written["groups"] == 30
