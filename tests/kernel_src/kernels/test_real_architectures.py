"""Every real architecture, random weights: one training step and one prediction at full size."""

import pytest

from bench.architectures import measure_apart
from kernel_src.recipes.experiments import EXPERIMENTS

# v3 and v5_componly are v2 and v5 with other folds and data: the same network; that of frozen_dinov2 is v7's.
NETWORKS = sorted(set(EXPERIMENTS) - {"v3", "v5_componly", "demo", "frozen_dinov2"})


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_a_real_network_trains_a_step_and_predicts_an_image(name: str) -> None:
    row = measure_apart(name)
    assert row["finite"], row
    assert row["train_loss"] > 0, row
    assert row["peak_rss_gb"] < 15, "it would not fit beside Kaggle's other needs"
