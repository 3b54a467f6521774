"""The diagnostics as a page: tables, plots as SVG, photographs as small JPEGs; nothing is loaded."""

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from build.core.pages import colour, render, web_page
from build.core.plots import MARK, WARN, dots, plot
from build.report.diagnostics.calibration import Calibration
from build.report.diagnostics.diagnosis import Diagnostics, plural
from build.report.diagnostics.shift import ENOUGH_IMAGES, QUANTILES, TargetShift
from build.scores.page import page_words
from build.scores.words import with_unit
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORDS = ("truth", "error")
MOST_COLOURS = 6
SAMPLES = ("truth of training", "out of fold", "test")


def page(diagnostics: Diagnostics) -> str:
    """Return a whole page: the score, then all sections."""
    intro = render("build/report/diagnostics/page.html.jinja", d=diagnostics, **page_words())
    return web_page(f"Diagnostics of {diagnostics.subject.name}", intro + sections(diagnostics))


def sections(diagnostics: Diagnostics) -> Markup:
    """Return a section per diagnostic; one that had nothing to look at says so.

    Raises:
        CheckFailed: a photograph of the worst images cannot be read.
    """
    return render(
        "build/report/diagnostics/sections.html.jinja",
        d=diagnostics,
        shown_by=_shown_by(diagnostics)[1],
        residuals=[] if facts().are_classes else [_residuals(diagnostics, i) for i in range(len(facts().targets))],
        calibration=[(one, _calibration(one)) for one in diagnostics.calibration],
        shift=[(one, _distribution(one)) for one in diagnostics.shift.targets] if diagnostics.shift else [],
        together=np.cumsum([image.share for image in diagnostics.worst.images]).tolist(),
        samples=SAMPLES,
        quantiles=QUANTILES,
        targets=facts().targets,
        enough=ENOUGH_IMAGES,
        review=review(),
        facts=facts(),
        plural=plural,
        **page_words(),
    )


def _shown_by(diagnostics: Diagnostics) -> tuple[np.ndarray, list[str]]:
    """Return what gives a dot its colour, (images,), and its values: the first of the parts, or nothing."""
    kind = next((kind for kind, found in diagnostics.parts.items() if found), None)
    labels = None if kind is None else diagnostics.subject.labels(kind)
    if labels is None or len(set(labels.tolist())) > MOST_COLOURS:
        return np.full(len(diagnostics.subject.validation.truth), ""), []
    return labels, sorted(set(labels.tolist()))


def _residuals(diagnostics: Diagnostics, target: int) -> Markup:
    """Plot errors against truth, a colour for each part."""
    truth = diagnostics.subject.validation.truth[:, target]
    errors = diagnostics.subject.errors[:, target]
    labels, values = _shown_by(diagnostics)

    def draw(axes: "Axes") -> None:
        for i, value in enumerate(values or [""]):
            own = labels == value
            dots(axes, truth[own], errors[own], colour(i))
        axes.axhline(0, color=WARN, linewidth=1, linestyle="--")

    return plot(draw, f"{facts().targets[target]}: errors against truth, a dot per image", *map(with_unit, WORDS))


def _calibration(one: Calibration) -> Markup:
    """Plot the mean truth of each bin against its mean prediction, beside the diagonal."""
    predicted, truth = [bin.predicted for bin in one.bins], [bin.truth for bin in one.bins]

    def draw(axes: "Axes") -> None:
        ends = min(*predicted, *truth, 0.0), max(*predicted, *truth)
        axes.plot(ends, ends, color=WARN, linewidth=1, linestyle="--")
        axes.plot(predicted, truth, color=MARK)
        dots(axes, predicted, truth, colour(0))

    label = f"{one.target}: mean truth against mean prediction of each tenth"
    return plot(draw, label, with_unit("mean prediction"), with_unit("mean truth"))


def _distribution(one: TargetShift) -> Markup:
    """Plot the quantiles of the samples as rising lines."""

    def draw(axes: "Axes") -> None:
        for i, values in enumerate((one.truth, one.out_of_fold, one.test)):
            axes.plot(values, QUANTILES, color=colour(i))
            dots(axes, values, QUANTILES, colour(i))
        axes.set_ylim(0, 1)

    return plot(
        draw,
        f"{one.target}: quantiles of truth, out of fold and test",
        facts().unit or one.target,
        "share of images below",
    )
