"""What the tests of the faults share."""

from pathlib import Path

import numpy as np
import pytest

from kernel_src.bundle.bundle_prediction import load_bundle, predict_bundles
from kernel_src.competitions.biomass.constants import TARGETS, TRAINING_MEANS_G
from kernel_src.competitions.biomass.constraints import constrain
from tests.kernel_src.faults.planting import IDS, SEEDS, Stage
from tests.kernel_src.tiny import CPU


class Healthy:
    """What the bundles predict where nothing is wrong, computed in this process by the plain pass."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._folds: dict[str, np.ndarray] = {}

    def folds(self, slug: str) -> np.ndarray:
        """(folds, images, 5)"""
        if slug not in self._folds:
            paths = [self.stage.competition / "test" / f"{name}.jpg" for name in IDS]
            bundle = load_bundle(self.stage.bundle(slug))
            (self._folds[slug],) = predict_bundles([bundle], paths, device=CPU, batch_size=4)
        return self._folds[slug]

    def grams(self, bundles: tuple[str, ...], by: str) -> np.ndarray:
        """(images, 5), by all folds of these bundles, by one fold of each, or by one bundle alone."""
        if by.startswith("fold "):
            means = [self.folds(slug)[int(by.removeprefix("fold "))] for slug in bundles]
        else:
            means = [self.folds(slug).mean(0) for slug in bundles if by not in SEEDS or slug == by]
        return constrain(np.mean(means, 0), "projection")

    def training_means(self, by: str) -> list[float]:
        """Grams of the five targets: the bundles' own, the competition's where no bundle can be read."""
        own = [20.0, 10.0, 10.0, 30.0, 40.0]  # random_run's
        return [TRAINING_MEANS_G[target] for target in TARGETS] if by == "no bundle" else own


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="session")
def healthy(stage: Stage) -> Healthy:
    return Healthy(stage)


@pytest.fixture(autouse=True)
def no_html(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering each executed notebook as a page costs seconds and proves nothing here."""
    monkeypatch.setattr("build.run.rehearse.rehearsal.render_html", lambda executed, html: Path(html).touch())
