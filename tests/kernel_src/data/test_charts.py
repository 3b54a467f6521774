"""Pictures to look at: they are drawn for what a notebook has, also where that is little."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from kernel_src.competitions.biomass.constants import TARGETS

matplotlib.use("Agg")

from kernel_src.competitions.held_answers import answers
from kernel_src.data.charts import photograph_gallery
from kernel_src.data.score_charts import residuals_by_group, scatter_per_target

TRUTH = np.random.default_rng(0).gamma(2.0, 10.0, (8, 5))


def test_a_caption_names_all_five_targets_with_the_truth_in_brackets() -> None:
    grams = np.array([1.4, 2.6, 0, 1.4, 4])
    assert answers().caption(grams) == "Green 1  Dead 3  Clover 0\nGDM 1  Total 4 g"
    assert answers().caption(grams, np.arange(5.0)) == "Green 1 (0)  Dead 3 (1)  Clover 0 (2)\nGDM 1 (3)  Total 4 (4) g"


@pytest.mark.parametrize("count", [0, 1, 5])
def test_the_gallery_shows_each_photograph_under_its_caption(tiny_competition: Path, count: int) -> None:
    paths = sorted((tiny_competition / "train").iterdir())[:count]
    figure = photograph_gallery(paths, [path.stem for path in paths])
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in shown] == [path.stem for path in paths]


def test_the_scatter_has_a_panel_with_its_r2_for_each_target() -> None:
    truth = TRUTH.copy()
    truth[:, 1] = 0  # WA has no Dead: no R², but a panel
    titles = [axis.get_title() for axis in scatter_per_target(truth, truth).axes]
    assert titles == [f"{target}: R² {'nan' if target == 'Dry_Dead_g' else '1.00'}" for target in TARGETS]


def test_the_residuals_have_a_box_per_name_in_alphabetical_order() -> None:
    names = np.array(["WA", "Tas"] * 4)
    axis = residuals_by_group(TRUTH, TRUTH + 1, names, "per State").axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["Tas", "WA"]
    assert axis.get_title() == "per State"
