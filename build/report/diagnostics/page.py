"""The diagnostics as a page: tables, plots as SVG, photographs as small JPEGs; nothing is loaded."""

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from build.core.pages import colour, render, web_page
from build.core.plots import MARK, WARN, dots, plot
from build.report.diagnostics.calibration import Calibration
from build.report.diagnostics.diagnosis import Diagnostics
from build.report.diagnostics.shift import ENOUGH_IMAGES, QUANTILES, TargetShift
from build.report.diagnostics.zeros import NOTICED_G
from kernel_src.competitions.biomass.constants import IDENTITY_TOLERANCE_G, TARGETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLES = ("truth of training", "out of fold", "test")


def page(diagnostics: Diagnostics) -> str:
    """Return a whole page: the score, then all sections."""
    intro = render("build/report/diagnostics/page.html.jinja", d=diagnostics)
    return web_page(f"Diagnostics of {diagnostics.subject.name}", intro + sections(diagnostics))


def sections(diagnostics: Diagnostics) -> Markup:
    """Return a section per diagnostic; one that had nothing to look at says so.

    Raises:
        CheckFailed: a photograph of the worst images cannot be read.
    """
    return render(
        "build/report/diagnostics/sections.html.jinja",
        d=diagnostics,
        states=sorted(set(diagnostics.subject.validation.states.tolist())),
        residuals=[_residuals(diagnostics, i) for i in range(len(TARGETS))],
        calibration=[(one, _calibration(one)) for one in diagnostics.calibration],
        shift=[(one, _distribution(one)) for one in diagnostics.shift.targets] if diagnostics.shift else [],
        together=np.cumsum([image.share for image in diagnostics.worst.images]).tolist(),
        samples=SAMPLES,
        quantiles=QUANTILES,
        targets=TARGETS,
        enough=ENOUGH_IMAGES,
        noticed_g=NOTICED_G,
        tolerance_g=IDENTITY_TOLERANCE_G,
    )


def _residuals(diagnostics: Diagnostics, target: int) -> Markup:
    """Plot errors against truth, a colour for each state."""
    validation = diagnostics.subject.validation
    truth, errors = validation.truth[:, target], diagnostics.subject.errors[:, target]

    def draw(axes: "Axes") -> None:
        for i, state in enumerate(sorted(set(validation.states.tolist()))):
            own = validation.states == state
            dots(axes, truth[own], errors[own], colour(i))
        axes.axhline(0, color=WARN, linewidth=1, linestyle="--")

    return plot(draw, f"{TARGETS[target]}: errors against truth, a dot per image", "truth, g", "error, g")


def _calibration(one: Calibration) -> Markup:
    """Plot the mean truth of each bin against its mean prediction, beside the diagonal."""
    predicted, truth = [bin.predicted_g for bin in one.bins], [bin.truth_g for bin in one.bins]

    def draw(axes: "Axes") -> None:
        ends = min(*predicted, *truth, 0.0), max(*predicted, *truth)
        axes.plot(ends, ends, color=WARN, linewidth=1, linestyle="--")
        axes.plot(predicted, truth, color=MARK)
        dots(axes, predicted, truth, colour(0))

    label = f"{one.target}: mean truth against mean prediction of each tenth"
    return plot(draw, label, "mean prediction, g", "mean truth, g")


def _distribution(one: TargetShift) -> Markup:
    """Plot the quantiles of the samples as rising lines."""

    def draw(axes: "Axes") -> None:
        for i, values in enumerate((one.truth_g, one.out_of_fold_g, one.test_g)):
            axes.plot(values, QUANTILES, color=colour(i))
            dots(axes, values, QUANTILES, colour(i))
        axes.set_ylim(0, 1)

    return plot(draw, f"{one.target}: quantiles of truth, out of fold and test", "g", "share of images below")
