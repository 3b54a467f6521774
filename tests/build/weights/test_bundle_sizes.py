"""What bundles weigh: counted, found in the files, and held against what is promised."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from build.core.errors import CheckFailed
from build.weights.bundle import make_bundle
from build.weights.command import describe_verb
from build.weights.describe import Description, describe
from build.weights.random_weights import DEPTH_SMALL, random_depth, random_run
from build.weights.sizes import SEED_GB, size_problems, table
from kernel_src.bundle.bundle_prediction import load_bundle, predict_bundles
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.models.model import load_fold
from kernel_src.recipes.changes import changed
from tests.kernel_src.tiny import CPU, TINY


@pytest.fixture(scope="module")
def v8() -> Description:
    return replace(
        describe(TINY),
        experiment="v8",
        backbone="b",
        folds=5,
        depth_bytes_fp16=50_000_000,
        run_bytes=1_860_000_000,
        bundle_bytes_fp16=930_000_000,
    )


def tensor_bytes(folder: Path) -> int:
    """Count the bytes of all tensors in a folder's safetensors: without the length of each header, and the header."""
    files = [path.read_bytes() for path in folder.glob("*.safetensors")]
    return sum(len(content) - 8 - int.from_bytes(content[:8], "little") for content in files)


def test_the_count_from_shapes_is_what_lies_in_the_files(tmp_path: Path) -> None:
    run_folder, described = random_run(tmp_path / "run", TINY), describe(TINY)
    make_bundle(run_folder, tmp_path / "bundle", slug="i2b-tiny-weights")
    assert len(list(run_folder.glob("*.safetensors"))) == described.folds == 2
    assert tensor_bytes(run_folder) == described.run_bytes
    assert tensor_bytes(tmp_path / "bundle") == described.bundle_bytes_fp16 < described.run_bytes


def test_the_bytes_of_tensors_leave_out_the_header(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {"a": torch.zeros(3, 5, dtype=torch.float16), "b": torch.zeros(7)}
    save_file(tensors, tmp_path / "f.safetensors", {"note": "x" * 99})
    assert tensor_bytes(tmp_path) == 3 * 5 * 2 + 7 * 4


def test_a_bundle_larger_than_promised_is_a_problem(v8: Description) -> None:
    assert size_problems([v8]) == []
    (heavy,) = size_problems([replace(v8, bundle_bytes_fp16=960_000_000)])
    assert "0.960 GB, promised are 0.95 GB" in heavy.what and heavy.where == "v8"
    (total,) = size_problems([replace(v8, experiment="v7", bundle_bytes_fp16=1_000_000_001)] * 3)
    assert "3.000 GB together, promised are 3.0 GB" in total.what


def test_the_table_sets_each_bundle_beside_the_seeds(v8: Description) -> None:
    assert "| v8 | b | 5 | 50 MB, once | 1.860 GB | 0.930 GB | 5.78 GB | 0.16 |" in table([v8])


def test_the_command_writes_the_table_and_refuses_broken_promises(
    v8: Description, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heavy = [replace(v8, experiment=name) for name in SEED_GB]
    monkeypatch.setattr("build.weights.sizes.descriptions", lambda *_, **__: heavy)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckFailed, match="3.720 GB together"):
        describe_verb(bundle_sizes=True, as_json=True)
    value = json.loads(capsys.readouterr().out)
    assert value["total_bytes"] == 4 * v8.bundle_bytes_fp16 and value["seed_total_gb"] == 17.05
    assert (tmp_path / "docs/bundle-sizes.md").is_file()


@pytest.mark.full
def test_the_real_bundles_keep_the_promise_and_the_committed_table_is_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = (Path(__file__).parents[3] / "docs/bundle-sizes.md").read_text()
    monkeypatch.chdir(tmp_path)
    describe_verb(bundle_sizes=True, as_json=True)
    assert Path("docs/bundle-sizes.md").read_text() == committed, "run `describe --bundle-sizes`"


@pytest.mark.full
@pytest.mark.parametrize("name", SEED_GB)
def test_the_bundle_of_a_real_architecture_has_the_counted_bytes_and_predicts_what_its_fp32_run_does(
    name: str, tmp_path: Path, tiny_competition: Path
) -> None:
    """Within a thousandth of the target's deviation, 0.01 g here; measured are at most 0.0005 g."""
    experiment = changed(EXPERIMENTS[name], {"data.train_folds": (0,), "predict.tta": "none"})
    depth = random_depth(tmp_path / "hub", DEPTH_SMALL) if experiment.depth else None
    run_folder = random_run(tmp_path / "run", experiment, depth, settled=True)
    make_bundle(run_folder, tmp_path / "bundle", slug=f"i2b-{name}-weights")
    assert tensor_bytes(tmp_path / "bundle") == describe(experiment).bundle_bytes_fp16
    assert tensor_bytes(run_folder) == describe(experiment).run_bytes
    on_disk = sum(path.stat().st_size for path in (tmp_path / "bundle").iterdir())
    assert on_disk < 1.002 * tensor_bytes(tmp_path / "bundle"), "headers, config and manifest are next to nothing"
    bundle = load_bundle(tmp_path / "bundle")
    in_full = replace(bundle, models=[load_fold(bundle.experiment, run_folder / "fold0.safetensors")])
    if depth is not None:
        from kernel_src.models.depth import load_depth

        in_full = replace(in_full, depth=load_depth(depth / "model.safetensors", depth / "config.json"))
    paths = sorted((tiny_competition / "test").iterdir())[:1]
    halved, exact = (predict_bundles([one], paths, device=CPU, batch_size=1)[0] for one in (bundle, in_full))
    change_g = np.abs(halved - exact).max()
    deviation_g = float(bundle.models[0].scaling.std[0])
    largest_g = np.abs(exact).max()
    print(f"{name}: moved by {change_g:.2e} g of {largest_g:.1f} g, {change_g / deviation_g:.2e} deviations")
    assert 0 < change_g < 1e-3 * deviation_g
