"""Pictures of a search: how it went, which fields matter, which choices go together."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Study

PICTURES = ("history", "intermediate", "slice", "parallel", "importances")


def draw_study(study: "Study", folder: Path) -> list[Path]:
    """Draw what can be drawn of a study with at least two complete trials; return the pictures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import optuna.visualization.matplotlib as drawing
    from optuna.exceptions import ExperimentalWarning
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 2:
        return []
    draw: dict[str, Callable[[Study], object]] = {
        "history": drawing.plot_optimization_history,
        "intermediate": drawing.plot_intermediate_values,
        "slice": drawing.plot_slice,
        "parallel": drawing.plot_parallel_coordinate,
    }
    # Importance is the share of the scores' variance that a field explains: equal scores have none.
    if len({trial.value for trial in complete}) > 1:
        draw["importances"] = drawing.plot_param_importances
    pictures = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # the module is marked so as a whole
        warnings.simplefilter("ignore", UserWarning)  # of layouts
        for name, function in draw.items():
            function(study)
            figure = plt.gcf()
            figure.set_size_inches(max(7.0, 2.4 * len(figure.axes)), 4.8)
            pictures.append(folder / f"{name}.png")
            figure.savefig(pictures[-1], dpi=110, bbox_inches="tight")
            plt.close("all")
    return pictures
