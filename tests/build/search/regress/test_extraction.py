"""Features are made by the network that the notebook has, each photograph read once, and say what made them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from build.cli import main
from build.core.errors import CheckFailed, UsageError
from build.search.regress.command import regress
from build.search.regress.extraction import frozen_recipe, make_features, photographs_of
from build.search.regress.features import features_for, provenance_for
from kernel_src.bundle import bundle_prediction
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed
from kernel_src.recipes.network import RegressorHead
from kernel_src.recipes.pictures import SideBySide
from kernel_src.runtime.files import sha256_of
from tests.kernel_src.kernels.frozen import NAME, TWIN, WEIGHTS_SLUG, write_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / WEIGHTS_SLUG)


def type_in(words: list[object], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["build", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_verb_writes_what_regress_reads_and_says_how_it_was_made(
    weights: Path,
    tiny_competition: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setitem(EXPERIMENTS, NAME, TWIN)
    train_csv, out = tiny_competition / "train.csv", tmp_path / "new" / "features.npz"
    words = ["features", "--experiment", NAME, "--train-csv", train_csv, "--pretrained", weights, "--out", out]
    words += ["--part", "top", "--part", "whole", "--height", 32, "--height", 64, "--layer", 2, "--pooling", "max"]
    assert type_in([*words, "--json"], monkeypatch) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["blocks"] == [f"{part} {side}x{side} layer 2 max" for side in (32, 64) for part in ("top", "whole")]
    assert said["weights"] == {"dataset": WEIGHTS_SLUG, "sha256": sha256_of(weights / "model.safetensors")}
    ids = list(photographs_of(train_csv, None))
    read = features_for([out], ids)
    assert read.shape == (20, said["features"]) == (20, 4 * 64)
    made_by = provenance_for([out], NAME)
    assert made_by["experiment"]["pictures"]["parts"] == ["top", "whole"] and made_by["images"] == 20
    assert not list(out.parent.glob(".*")), "no draft is left"


def test_the_same_photographs_give_the_same_bytes_and_each_is_read_once(
    weights: Path, tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = bundle_prediction.read_rgb
    monkeypatch.setattr(bundle_prediction, "read_rgb", lambda path, px: read.append(path) or real(path, px))
    experiment = changed(TWIN, {"pictures.scales": (1.0, 2.0), "pictures.join": SideBySide()})
    photographs = photographs_of(tiny_competition / "train.csv", None)
    for name in ("first.npz", "second.npz"):
        read.clear()
        make_features(experiment, photographs, weights / "model.safetensors", tmp_path / name, batch_size=6, quiet=True)
        assert sorted(read) == sorted(photographs.values())
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()


def test_any_experiments_backbone_gives_features_without_its_depth_and_its_fine_tuning() -> None:
    frozen = frozen_recipe(EXPERIMENTS["v8"], {})
    assert frozen.head == RegressorHead(("own",)) and frozen.depth is None
    assert frozen.encoder == EXPERIMENTS["v8"].encoder and frozen.pictures == EXPERIMENTS["v8"].pictures
    assert frozen_recipe(EXPERIMENTS["v1"], {"head.pool": ["gem"]}).head == RegressorHead(("gem",))
    with pytest.raises(UsageError, match=r"encoder: Encoder: layers=\(0,\) count from 1"):
        frozen_recipe(EXPERIMENTS["v1"], {"encoder.layers": [0]})


def test_photographs_are_those_of_the_table_or_all_in_a_folder(tiny_competition: Path, tmp_path: Path) -> None:
    by_table = photographs_of(tiny_competition / "train.csv", None)
    assert by_table == photographs_of(tiny_competition / "train.csv", tiny_competition / "train")
    assert set(photographs_of(None, tiny_competition / "test")) == {"ID9000", "ID9011", "ID9022"}
    with pytest.raises(UsageError, match="Give --train-csv FILE, --images DIR"):
        photographs_of(None, None)
    with pytest.raises(UsageError, match="20 of 20 photographs are not there, first .*ID1000.jpg: is it the right"):
        photographs_of(tiny_competition / "train.csv", tiny_competition / "test")
    with pytest.raises(UsageError, match="holds no photograph"):
        photographs_of(None, tmp_path)


def test_a_photograph_that_cannot_be_read_is_named_and_no_file_is_left(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(CheckFailed) as failed:
        make_features(
            TWIN,
            {"broken": tmp_path / "broken.jpg"},
            weights / "model.safetensors",
            tmp_path / "f.npz",
            batch_size=1,
            quiet=True,
        )
    assert "broken.jpg" in str(failed.value.problems[0]) and not (tmp_path / "f.npz").exists()


def test_a_regressor_is_kept_only_for_features_that_a_notebook_can_make_again(
    weights: Path, tiny_competition: Path, tmp_path: Path
) -> None:
    train_csv, report = tiny_competition / "train.csv", tmp_path / "r.json"
    foreign, own = tmp_path / "foreign.npz", tmp_path / "own.npz"
    photographs = photographs_of(train_csv, None)
    np.savez(foreign, image_id=np.array(list(photographs)), features=np.zeros((20, 3)))
    make_features(replace(TWIN, name="v1"), photographs, weights / "model.safetensors", own, batch_size=4, quiet=True)
    with pytest.raises(UsageError, match="foreign.npz does not say what made it, so no notebook can make the same"):
        regress([foreign], train_csv, report, NAME)
    with pytest.raises(UsageError, match=f"own.npz was made for v1: make it again with --experiment {NAME}"):
        regress([own], train_csv, report, NAME)
    with pytest.raises(UsageError, match="v1 is fine-tuned; a regressor belongs to"):
        regress([own], train_csv, report, "v1")
    with pytest.raises(UsageError, match="takes one --features file"):
        regress([own, own], train_csv, report, NAME)
    with pytest.raises(
        UsageError, match="no experiment 'frozen_dinov3' to fit a regressor for.*Did you mean frozen_dinov2"
    ):
        regress([own], train_csv, report, "frozen_dinov3")
