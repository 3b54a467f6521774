"""One pass over the files for all bundles: what is decoded, estimated and predicted how often, and what comes out."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kernel_src.bundle import bundle_prediction
from kernel_src.bundle.bundle_prediction import predict_bundles
from kernel_src.bundle.bundles import Bundle
from kernel_src.data.images import read_rgb, resize_rgb
from kernel_src.data.symmetries import ALL, apply_view
from kernel_src.data.trained_views import views
from kernel_src.models.depth import DepthEstimator, estimate_depth
from kernel_src.models.full_pass import predict_values
from kernel_src.models.model import BackboneNet
from kernel_src.models.prediction import forward_values
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.network import Depth
from tests.kernel_src.tiny import CPU, TINY
from tests.tiny_depth import TINY_DEPTH, tiny_estimator

V4_LIKE = changed(TINY, {"name": "v4-like", "pictures.height_px": 32, "pictures.width_px": 32, "predict.tta": "flips"})
V5_LIKE = changed(
    TINY, {"name": "v5-like", "depth": Depth(weights="d"), "pictures.height_px": 48, "pictures.width_px": 48}
)
V8_LIKE = replace(TINY_DEPTH, name="v8-like")


def bundle_of(experiment: Experiment, estimator: DepthEstimator | None = None, folds: int = 2) -> Bundle:
    models = []
    for seed in range(folds):
        torch.manual_seed(seed)
        model = BackboneNet(experiment).eval()
        model.scaling.std.fill_(10.0)
        models.append(model)
    return Bundle(
        folder=Path("nowhere"),
        experiment=experiment,
        preprocessing=preprocessing_of(experiment.encoder.timm),
        symmetries=views(experiment),
        models=models,
        oof_score=0.0,
        source_sha256="",
        depth=(estimator or tiny_estimator()) if experiment.depth else None,
    )


@pytest.fixture(scope="module")
def paths(tiny_competition: Path) -> list[Path]:
    return sorted((tiny_competition / "train").iterdir())[:5]


def test_a_bundle_never_sees_the_strip_that_its_experiment_cuts_off(tmp_path: Path, paths: list[Path]) -> None:
    bundle = bundle_of(changed(TINY, {"pictures.crop_bottom": 0.25}))
    random, photographs = np.random.default_rng(0), []
    for number in range(2):
        picture = np.full((128, 256, 3), 40 * number, np.uint8)
        picture[-16:] = random.integers(0, 256, 3)  # an eighth
        photographs.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(photographs[-1]), picture)
        picture[-16:] = 40 * number
        photographs.append(tmp_path / f"{number}-without.png")
        cv2.imwrite(str(photographs[-1]), picture)
    (grams,) = predict_bundles([bundle], photographs, device=CPU, batch_size=4)
    assert np.allclose(grams[:, 0], grams[:, 1]) and np.allclose(grams[:, 2], grams[:, 3])
    assert not np.allclose(grams[:, 0], grams[:, 2]), "else the test shows nothing"


class DepthCount:
    """Counts the pictures that an estimator's network really saw."""

    def __init__(self, estimator: DepthEstimator) -> None:
        self.pictures = self.calls = 0
        self.handle = estimator.network.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        self.pictures += len(kwargs["pixel_values"])
        self.calls += 1


@pytest.fixture
def depth_count() -> DepthCount:
    count = DepthCount(tiny_estimator())
    yield count
    count.handle.remove()


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> Counter:
    count: Counter[Path] = Counter()

    def counting(path: Path, at_least_px: tuple[int, int]) -> np.ndarray:
        count[path] += 1
        return read_rgb(path, at_least_px)

    monkeypatch.setattr(bundle_prediction, "read_rgb", counting)
    return count


@pytest.mark.parametrize("experiment", [V5_LIKE, V8_LIKE], ids=lambda e: e.name)
@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_depth_passes_per_image_are_exactly_one_with_three_folds_and_eight_views(
    experiment: Experiment, batch_size: int, paths: list[Path], depth_count: DepthCount, decodings: Counter
) -> None:
    """The seed made 40: five folds times eight views, and V5 first ran past nine hours."""
    assert len(views(experiment)) == 8
    (grams,) = predict_bundles([bundle_of(experiment, folds=3)], paths, device=CPU, batch_size=batch_size)
    assert grams.shape == (3, 5, 5)
    assert depth_count.pictures == len(paths)
    assert decodings == Counter(paths)


def test_exact_depth_is_one_pass_per_view_shared_by_all_folds(paths: list[Path], depth_count: DepthCount) -> None:
    exact = changed(V8_LIKE, {"depth.views": "exact"})
    for folds in (1, 3):
        depth_count.pictures = 0
        predict_bundles([bundle_of(exact, folds=folds)], paths, device=CPU, batch_size=2)
        assert depth_count.pictures == 8 * len(paths)


def test_an_ensemble_decodes_each_photograph_once_and_predicts_what_each_bundle_does_alone(
    paths: list[Path], depth_count: DepthCount, decodings: Counter
) -> None:
    """v6: v4 at its own 512, v5 at its own 384, each with its own mean, deviation, views and depth."""
    ensemble = [bundle_of(V4_LIKE), bundle_of(V5_LIKE, folds=3), bundle_of(V8_LIKE)]
    together = predict_bundles(ensemble, paths, device=CPU, batch_size=2)
    assert decodings == Counter(paths)
    assert depth_count.pictures == 2 * len(paths), "one depth model, but two sizes"
    assert [grams.shape for grams in together] == [(2, 5, 5), (3, 5, 5), (2, 5, 5)]
    for bundle, grams in zip(ensemble, together, strict=True):
        (alone,) = predict_bundles([bundle], paths, device=CPU, batch_size=2)
        assert np.array_equal(alone, grams), bundle.experiment.name


def test_bundles_of_one_size_share_a_depth_pass(paths: list[Path], depth_count: DepthCount) -> None:
    predict_bundles([bundle_of(V8_LIKE), bundle_of(replace(V8_LIKE, name="twin"))], paths, device=CPU, batch_size=2)
    assert depth_count.pictures == len(paths)


def test_each_bundle_is_normalised_its_own_way(paths: list[Path]) -> None:
    own = bundle_of(V4_LIKE)
    other = replace(own, preprocessing=replace(own.preprocessing, mean=(0.5, 0.5, 0.5)))
    first, second = predict_bundles([own, other], paths, device=CPU, batch_size=2)
    assert np.abs(first - second).max() > 1e-3


# What is computed


@pytest.mark.parametrize("mode", ["shared", "exact"])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_prediction_is_the_mean_over_views_of_picture_and_depth_turned_together(
    mode: str, channels: int, paths: list[Path]
) -> None:
    experiment = changed(V8_LIKE, {"depth.views": mode, "depth.channels": channels})
    bundle = bundle_of(experiment)
    (grams,) = predict_bundles([bundle], paths, device=CPU, batch_size=2)
    raw = torch.stack(
        [
            torch.from_numpy(
                resize_rgb(read_rgb(p, bundle.framings[0].size_px), bundle.framings[0]).transpose(2, 0, 1).copy()
            )
            for p in paths
        ]
    )
    with torch.inference_mode():
        upright = tiny_estimator()(raw, channels)
        each = []
        for view in ALL:
            turned = apply_view(raw, view)
            depth = tiny_estimator()(turned, channels) if mode == "exact" else apply_view(upright, view)
            z = bundle.models[1](bundle.preprocessing.normalise(turned), depth)
            each.append(bundle.models[1].scaling.to_values(z))
    assert grams[1] == pytest.approx(torch.stack(each).mean(0).numpy(), abs=1e-3)


def test_shared_and_exact_depth_differ_only_in_the_turned_views(paths: list[Path]) -> None:
    def predict(mode: str, tta: str) -> np.ndarray:
        experiment = changed(V8_LIKE, {"depth.views": mode, "predict.tta": tta})
        return predict_bundles([bundle_of(experiment)], paths, device=CPU, batch_size=2)[0]

    assert np.array_equal(predict("shared", "none"), predict("exact", "none"))
    assert not np.allclose(predict("shared", "trained"), predict("exact", "trained"), atol=1e-4)


def test_the_depth_matters_and_belongs_to_its_photograph(paths: list[Path]) -> None:
    bundle = bundle_of(V8_LIKE)
    forwards = predict_bundles([bundle], paths, device=CPU, batch_size=2)[0]
    backwards = predict_bundles([bundle], paths[::-1], device=CPU, batch_size=2)[0]
    assert forwards == pytest.approx(backwards[:, ::-1], abs=1e-3)
    other = predict_bundles([replace(bundle, depth=tiny_estimator(1))], paths, device=CPU, batch_size=2)[0]
    assert np.abs(forwards - other).max() > 1e-3


def test_training_and_inference_predict_alike(paths: list[Path], depth_count: DepthCount) -> None:
    """`predict_values` is what out-of-fold predictions are made with; the same pictures must give the same grams."""
    bundle = bundle_of(V8_LIKE)
    (grams,) = predict_bundles([bundle], paths, device=CPU, batch_size=2)

    class OneSize(torch.utils.data.Dataset):
        files = bundle_prediction.PhotographFiles(paths, list(bundle.framings))

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, i: int) -> torch.Tensor:
            return self.files[i][0]

    depth_count.pictures = 0
    same = predict_values(
        bundle.models,
        OneSize(),
        preprocessing=bundle.preprocessing,
        symmetries=ALL,
        device=CPU,
        batch_size=2,
        estimator=bundle.depth,
    )
    assert np.array_equal(grams, same) and depth_count.pictures == len(paths)


def test_no_photographs_give_no_predictions() -> None:
    shapes = [
        grams.shape for grams in predict_bundles([bundle_of(V4_LIKE), bundle_of(V8_LIKE)], [], device=CPU, batch_size=2)
    ]
    assert shapes == [(2, 0, 5), (2, 0, 5)]


def test_the_time_of_the_whole_pass_is_projected_once(paths: list[Path]) -> None:
    told: list[float] = []
    both = [bundle_of(V4_LIKE), bundle_of(V8_LIKE)]
    predict_bundles(both, paths, device=CPU, batch_size=2, after_first_batch=told.append)
    assert len(told) == 1 and told[0] > 0


# Half precision


def test_in_half_precision_depth_keeps_its_precision_and_an_overflow_is_repeated_with_its_depth() -> None:
    model = bundle_of(V8_LIKE).models[0]
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        pictures = torch.rand(3, 3, 32, 32, generator=random)
        depth = torch.rand(3, 1, 32, 32, generator=random)
        near = forward_values(model, pictures, True, depth)
        assert torch.isfinite(near).all()
        assert torch.allclose(near, forward_values(model, pictures, False, depth), atol=0.1)
        for head in model.heads:
            head[0].weight *= 1e6  # beyond 65504, where fp16 ends
        exact = forward_values(model, pictures, False, depth)
        assert torch.allclose(forward_values(model, pictures, True, depth), exact)
        assert not torch.allclose(exact, forward_values(model, pictures, False, depth.flip(0))), "depth is looked at"


def test_depth_is_estimated_in_full_precision_also_where_the_networks_compute_in_half() -> None:
    pictures = torch.randint(0, 255, (3, 3, 28, 28), dtype=torch.uint8)
    exact = estimate_depth(tiny_estimator(), pictures, 2)
    with torch.autocast("cpu", torch.float16):
        assert torch.equal(estimate_depth(tiny_estimator(), pictures, 2), exact)
    assert exact.dtype == torch.float32


def test_a_broken_depth_model_is_named(paths: list[Path]) -> None:
    estimator = tiny_estimator(3)  # this test's own
    with torch.no_grad():
        estimator.network.get_submodule("head.conv3").bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="2 of 2 depth maps are NaN or infinite.*depth model"):
        predict_bundles([bundle_of(V8_LIKE, estimator)], paths[:2], device=CPU, batch_size=2)
