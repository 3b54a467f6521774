"""Stage `gpus`: how fast the networks of three experiments are on Kaggle's GPUs, beside what projections assume.

The preflight notebook times them with random weights: forward passes, training steps, and forward passes on every GPU
at once. That is the networks' arithmetic alone: no photograph is read, nothing is augmented.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.kaggle.asking import Asking
from build.kaggle.live_view import watching_run
from build.kaggle.preflight import REPORT, push_notebook, read_report
from build.kaggle.pushed_values import Given
from build.kaggle.runs import download, wait_for_run
from build.notebooks.builder import preflight_card
from build.weights.describe import T4_FLOP_PER_S
from kernel_src.competitions.held_recipes import EXPERIMENTS

STEPS = 6
TIMED = ("v1", "v5", "v8")
NETWORKS = "NETWORKS"  # in the notebook's parameters cell


def ask_speed(asking: Asking) -> dict[str, Any]:
    """Run the preflight notebook with the networks to time, and keep what it found.

    Raises:
        CheckFailed: it could not be pushed, its run failed, or its report has no figures.
    """
    steps, journal = asking.steps(STEPS), asking.journal
    given = Given(parameters=(f"{NETWORKS}={[network_of(name) for name in TIMED]!r}",))
    client, staged, version = push_notebook(asking, steps, preflight_card(), given)
    with steps.step("run", f"waiting for {version.url}") as note, watching_run("on Kaggle", asking.quiet) as show_state:
        note(wait_for_run(staged, version, client, journal, show_state))
    with steps.step("report", f"{REPORT} of version {version.number}") as note:
        folder = download(staged, version, client, journal, read_speed)
        asking.keep("t4_speed", read_speed(folder), "the notebook")
        note(str(folder / REPORT))
    return {"kernel": staged.kernel, "version": version.number, "url": version.url}


def network_of(experiment: str) -> list[str | int]:
    """Return what the notebook times of an experiment: its backbone, height and width in px, its batch."""
    recipe = EXPERIMENTS[experiment]
    return [recipe.encoder.timm, *recipe.pictures.canvas_px, recipe.batch.size]


def read_speed(folder: Path) -> dict[str, Any]:
    """Read the figures that a run left, by network.

    Raises:
        CheckFailed: there are none, or one is no number above 0.
    """
    listed = read_report(folder).get("speed")
    try:
        if not isinstance(listed, list) or not listed:
            raise ValueError("it has no list of networks")
        return dict(map(_figures, listed))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"its figures are not of the form that the preflight writes ({type(error).__name__}: {error})"
        cure = "run the same stage with AGAIN=1"
        raise CheckFailed([Problem(what=what, where=str(folder / REPORT), cure=cure)]) from None


def _figures(timed: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a network's name and figures, with the FLOP/s that they come to."""
    height, width = (int(px) for px in timed["size_px"])
    name = f"{timed['network']} {height}x{width}, batch {int(timed['batch'])}"
    if timed.get("fault"):
        return name, {"fault": str(timed["fault"])}
    alone, together = _above_0(timed["forward_per_s"]), _above_0(timed["together_per_s"])
    reached = alone * _above_0(timed["flops"])
    return name, {
        "forward_per_s": alone,
        "flop_per_s": round(reached),
        "of_assumed": round(reached / T4_FLOP_PER_S, 3),
        "train_per_s": _above_0(timed["train_per_s"]),
        "train_gb": timed["train_gb"] if timed["train_gb"] is None else _above_0(timed["train_gb"]),
        "all_gpus_times": round(together / alone, 2),
    }


def _above_0(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
        raise ValueError(f"{value!r} is not a number above 0")
    return float(value)
