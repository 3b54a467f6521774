"""The diagnostics as sections of a page: tables, plots as SVG, photographs as small JPEGs; nothing is loaded."""

import html
from collections.abc import Sequence

import numpy as np

from build.core.pages import Section, table, web_page, wide
from build.core.plots import legend
from build.report.diagnostics.adversarial import Separation
from build.report.diagnostics.diagnosis import Diagnostics
from build.report.diagnostics.photographs import thumbnail
from build.report.diagnostics.plots import calibration_panel, distribution_panel, residual_panel
from build.report.diagnostics.residuals import Part
from build.report.diagnostics.shift import ENOUGH_IMAGES, QUANTILES
from build.report.diagnostics.worst_images import WorstImage
from build.report.diagnostics.zeros import NOTICED_G
from build.scores.intervals import Interval
from kernel_src.competition.constants import IDENTITY_TOLERANCE_G, TARGETS


def page(diagnostics: Diagnostics) -> str:
    """Return a whole page: the score, then all sections."""
    score, validation = diagnostics.comparison.models[0], diagnostics.subject.validation
    floors = "; ".join(f"{name} {value:.3f}" for name, value in diagnostics.comparison.floors.items())
    intro = f"""
<p class="decision">Official R² {_interval(score, 3)} on {len(validation.image_ids)} images of {score.groups}
State+Sampling_Date groups.</p>
<p class="small">For comparison: {html.escape(floors)}. Predictions as the file has them, before any constraint; an
error is prediction minus truth, in grams; squared errors are weighted as the metric weighs the targets.</p>
"""
    body = "\n".join([intro, *(section.as_html() for section in sections(diagnostics))])
    return web_page(f"Diagnostics of {diagnostics.subject.name}", body)


def sections(diagnostics: Diagnostics) -> list[Section]:
    """Return one section per diagnostic; one that had nothing to look at says so.

    Raises:
        CheckFailed: a photograph of the worst images cannot be read.
    """
    return [
        Section("Warnings about these numbers", _warnings(diagnostics)),
        Section("Errors per target", _targets(diagnostics)),
        Section("Errors per state and species", _states_and_species(diagnostics)),
        Section("The images that cost most", _worst(diagnostics)),
        Section("Calibration", _calibration(diagnostics)),
        Section("Where there is nothing", _zeros(diagnostics)),
        Section("The two identities", _identities(diagnostics)),
        Section("Constraints", _constraints(diagnostics)),
        Section("Training images against test images", _shift(diagnostics)),
        Section("Are the folds alike?", _separations(diagnostics)),
    ]


def short(target: str) -> str:
    """Return a target's name for a heading: Green, Dead, Clover, GDM, Total."""
    return target.removeprefix("Dry_").removesuffix("_g")


def _interval(interval: Interval, digits: int) -> str:
    ends = f"[{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
    return f"{interval.estimate:.{digits}f} {ends}"


def _small(text: str) -> str:
    return f'<p class="small">{html.escape(text)}</p>'


# %%
def _warnings(diagnostics: Diagnostics) -> str:
    rows = "".join(f"<li>{html.escape(warning)}</li>" for warning in diagnostics.warnings)
    found = f'<ul class="warnings">{rows}</ul>' if rows else "<p>Nothing was found.</p>"
    looked = ["rows that are missing, errors that are too good or too exact, photographs with identical weights"]
    if diagnostics.folds is not None:
        looked.append("folds that split groups, target statistics of the validation fold")
    if diagnostics.photographs is not None:
        count, of = len(diagnostics.photographs), len(diagnostics.subject.validation.image_ids)
        looked.append(f"{count} of {of} photographs for being the same")
    unseen = []
    if diagnostics.folds is None:
        unseen.append("folds (no fold column)")
    if diagnostics.photographs is None:
        unseen.append("the photographs themselves (no --images)")
    not_looked = f" Not looked at: {'; '.join(unseen)}." if unseen else ""
    return found + _small(f"Looked for: {'; '.join(looked)}.{not_looked}")


def _targets(diagnostics: Diagnostics) -> str:
    subject = diagnostics.subject
    truth, errors, states = subject.validation.truth, subject.errors, subject.validation.states
    rows = [
        [
            one.target,
            str(len(truth)),
            "–" if one.r2 is None else _interval(one.r2, 2),
            f"{one.bias_g:+.2f}",
            f"{one.rmse_g:.2f}",
            f"{one.median_g:.2f}",
            "–" if one.slope is None else f"{one.slope:+.2f}",
            f"{one.share:.0%}",
        ]
        for one in diagnostics.targets
    ]
    heading = ["target", "images", "R² [95 %]", "bias, g", "RMSE, g", "median error, g", "slope", "share of all"]
    panels = "".join(
        f"<figure><figcaption>{html.escape(target)}</figcaption>"
        + residual_panel(truth[:, i], errors[:, i], states, f"{target}: errors against truth, a dot per image")
        + "</figure>"
        for i, target in enumerate(TARGETS)
    )
    return (
        wide("errors per target", table(heading, rows))
        + f'<div class="panels">{panels}</div>'
        + legend(sorted(set(states.tolist())))
        + _small(
            "Slope: grams of error per gram of truth. It is below 0 for every model that is not perfect, because what "
            "cannot be seen is guessed towards the mean; whether predictions mean what they say, calibration shows."
        )
    )


def _states_and_species(diagnostics: Diagnostics) -> str:
    parts = wide("errors per state", _parts(diagnostics.states, "state"))
    if diagnostics.species is None:
        return parts + _small("No species: they come from train.csv (--train-csv).")
    return (
        parts
        + wide("errors per species", _parts(diagnostics.species, "species"))
        + _small(
            "Error: root of the metric-weighted mean squared error. A species of one or two visits says as much about "
            "those days as about the species."
        )
    )


def _parts(parts: Sequence[Part], kind: str) -> str:
    heading = [kind, "images", "visits", "mean Total, g", *(f"bias {short(t)}" for t in TARGETS), "error, g", "share"]
    rows = [
        [
            part.name,
            str(part.images),
            str(part.groups),
            f"{part.truth_g[-1]:.1f}",
            *(f"{bias:+.1f}" for bias in part.bias_g),
            f"{part.error_g:.1f}",
            f"{part.share:.0%}",
        ]
        for part in parts
    ]
    return table(heading, rows)


def _worst(diagnostics: Diagnostics) -> str:
    worst = diagnostics.worst
    heading = ["image", "visit", "species", *(f"{short(t)}, g" for t in TARGETS), "costliest", "share", "together"]
    together = np.cumsum([image.share for image in worst.images])
    rows = [
        [
            image.image_id,
            image.group,
            image.species or "–",
            *(f"{p:z.0f} ({t:z.0f})" for p, t in zip(image.predicted_g, image.truth_g, strict=True)),
            short(image.costliest),
            f"{image.share:.1%}",
            f"{so_far:.0%}",
        ]
        for image, so_far in zip(worst.images, together, strict=True)
    ]
    visits = len({image.group for image in worst.images})
    pictures = "".join(_picture(image) for image in worst.images)
    if diagnostics.photographs is None:
        pictures = _small("Photographs are shown with --images.")
    elif not pictures:
        pictures = _small("No photograph of these images is at hand.")
    else:
        pictures = f'<div class="photos">{pictures}</div>'
    return (
        f"<p>The {len(worst.images)} worst images, of {visits} visits, hold {worst.share:.0%} of the squared error; "
        f"{worst.hold_half} hold half of it.</p>"
        + wide("the worst images", table(heading, rows))
        + _small("Grams predicted, in brackets the truth.")
        + pictures
    )


def _picture(image: WorstImage) -> str:
    if image.photograph is None:
        return ""
    grams = ", ".join(
        f"{short(target)} {predicted:z.0f} ({truth:z.0f})"
        for target, predicted, truth in zip(TARGETS, image.predicted_g, image.truth_g, strict=True)
    )
    about = f"{image.group}{f', {image.species}' if image.species else ''}"
    return (
        f'<figure><img src="{thumbnail(image.photograph)}" alt="photograph {html.escape(image.image_id)}">'
        f"<figcaption>{html.escape(image.image_id)}, {image.share:.1%}: {html.escape(about)}<br>{grams} g</figcaption>"
        "</figure>"
    )


# %%
def _calibration(diagnostics: Diagnostics) -> str:
    panels, rows = [], []
    for one in diagnostics.calibration:
        predicted, truth = [b.predicted_g for b in one.bins], [b.truth_g for b in one.bins]
        slope = "–" if one.slope is None else _interval(one.slope, 2)
        panels.append(
            f"<figure><figcaption>{html.escape(one.target)}: slope {slope}</figcaption>"
            + calibration_panel(predicted, truth, f"{one.target}: mean truth against mean prediction of each tenth")
            + "</figure>"
        )
        rows.append([one.target, *(f"{p:z.0f} → {t:z.0f}" for p, t in zip(predicted, truth, strict=True))])
    counts = [one.images for one in diagnostics.calibration[0].bins]
    heading = ["predicted → truth, g", *(f"{i}." for i in range(1, len(counts) + 1))]
    return (
        f'<div class="panels">{"".join(panels)}</div>'
        + wide("calibration by tenths", table(heading, rows))
        + _small(
            f"Tenths by rising prediction, {min(counts)} to {max(counts)} images each; dashed: as predicted. Slope of "
            "the truth on the prediction, with its 95 % interval over groups: below 1 the predictions are spread too "
            "wide, above 1 too narrow. A factor read off here and scored on the same images would be optimistic."
        )
    )


def _zeros(diagnostics: Diagnostics) -> str:
    if not diagnostics.zeros:
        return "<p>No target is ever 0.</p>"
    heading = [
        "target",
        "images with 0",
        "predicted there, g",
        f"of them ≥ {NOTICED_G:g} g",
        "cost in R²",
        f"has some, predicted < {NOTICED_G:g} g",
        "told apart",
        "cutting gains [95 %]",
    ]
    rows = [
        [
            one.target,
            str(one.images),
            f"{one.predicted_g:.2f}",
            str(one.noticed),
            f"{one.cost_r2:.4f}",
            str(one.missed),
            "–" if one.told_apart is None else f"{one.told_apart:.2f}",
            _gain(one.cutting),
        ]
        for one in diagnostics.zeros
    ]
    return wide("where there is nothing", table(heading, rows)) + _small(
        "Cost: what the score would gain if exactly 0 were predicted there, in the rows of that target alone. Told "
        "apart: how often an image that has some is predicted above one that has none (0.5: not at all). Cutting: "
        "predicting 0 below a threshold that is chosen for each visit on all the others, over predictions clipped at 0."
    )


def _gain(gain: Interval) -> str:
    return f"{gain.estimate:+z.4f} [{gain.low:+z.4f}, {gain.high:+z.4f}]"


def _identities(diagnostics: Diagnostics) -> str:
    checks = diagnostics.identities
    heading = ["", *(f"{v.identity}: broken" for v in checks[0].violations), "worst, g", "negative values", "moved, g"]
    rows = [
        [
            check.of,
            *(f"{v.broken} ({v.mean_g:.2f} g)" for v in check.violations),
            f"{max(v.worst_g for v in check.violations):.2f}",
            str(check.negative),
            f"{check.moved_g:.2f}",
        ]
        for check in checks
    ]
    return wide("the two identities", table(heading, rows)) + _small(
        f"Broken: images that miss the identity by more than {IDENTITY_TOLERANCE_G:g} g, in brackets the mean miss. "
        "Moved: mean change of a value against the predictions as they are. `none` clips at 0 and does nothing else."
    )


def _constraints(diagnostics: Diagnostics) -> str:
    rows = [
        [one.constraint, one.against, _gain(one.gain), f"{one.gain.probability:.1%}"] for one in diagnostics.constraints
    ]
    bold = [one.gain.carried for one in diagnostics.constraints]
    return wide("constraints", table(["constraint", "against", "gain in R² [95 %]", "better"], rows, bold)) + _small(
        "Paired over groups. The constraints have nothing to fit: what they are is not tuned on what it is scored on. "
        "Choosing the best of them here would be; one file cannot carry that choice (docs/validation.md has twelve). "
        "Bold: the interval keeps clear of 0."
    )


# %%
def _shift(diagnostics: Diagnostics) -> str:
    shift = diagnostics.shift
    if shift is None:
        return "<p>No test predictions were given (--submission).</p>"
    if not shift.targets:
        return f"<p>The test predictions have {shift.images} image(s); fewer than {ENOUGH_IMAGES} tell nothing.</p>"
    names = ("truth of training", "out of fold", "test")
    rows, panels = [], []
    for one in shift.targets:
        samples = dict(zip(names, (one.truth_g, one.out_of_fold_g, one.test_g), strict=True))
        rows += [
            [
                f"{short(one.target)}: {name}",
                *(f"{value:.1f}" for value in values),
                *((f"{one.distance:.2f}", f"{one.usual:.2f}") if name == "test" else ("", "")),
            ]
            for name, values in samples.items()
        ]
        panels.append(
            f"<figure><figcaption>{html.escape(one.target)}: {one.distance:.2f}, usual ≤ {one.usual:.2f}"
            f"{', <strong>unlike</strong>' if one.unusual else ''}</figcaption>"
            + distribution_panel(samples, QUANTILES, f"{one.target}: quantiles of truth, out of fold and test")
            + "</figure>"
        )
    heading = ["g", *(f"{share:.0%}" for share in QUANTILES), "distance", "usual ≤"]
    bold = [one.unusual and name == "test" for one in shift.targets for name in names]
    return (
        f'<div class="panels">{"".join(panels)}</div>'
        + legend(names)
        + wide("quantiles", table(heading, rows, bold))
        + _small(
            f"{shift.images} test images. Distance (Kolmogorov-Smirnov) of test from out-of-fold predictions, both "
            "after the projection; usual: 95 of 100 random halves of the training visits are no further apart. "
            "A test prediction is the mean of several folds and so spread less than an out-of-fold one, which alone "
            "moves the ends."
        )
    )


def _separations(diagnostics: Diagnostics) -> str:
    found = []
    if diagnostics.folds is None or diagnostics.fold_separations is None:
        found.append("<p>The file has no fold column: whether its folds are alike cannot be seen.</p>")
    else:
        unlike = sorted({one.part for one in diagnostics.fold_separations if one.unlike})
        said = (
            f"Unlike the rest: fold {', '.join(unlike)}. Its score measures other pastures than those of the others."
            if unlike
            else "No fold is told from the rest better than as many visits drawn at random."
        )
        found.append(f"<p>{html.escape(said)}</p>")
        told = _separation_table(diagnostics.folds, diagnostics.fold_separations, "fold")
        found.append(wide("folds told apart", told))
    told = _separation_table(diagnostics.states, diagnostics.state_separations, "state")
    found.append(wide("states told apart", told))
    found.append(
        _small(
            "Area under the curve of a ridge classifier that tells the part from the rest: by State, month, species, "
            "NDVI and height; by the five predictions; by the five truths. No visit is in both halves of its own "
            "cross-validation. In brackets what 95 of 100 random parts of as many visits do not exceed; bold: exceeded "
            "by one at least. Told apart by truth, a part weighs unlike the rest, and its score is not comparable with "
            "theirs; by predictions but not by truth, the model sees places where it should see weights; by metadata "
            "alone, it is another kind of pasture. –: of one visit there is nothing to learn."
        )
    )
    return "".join(found)


def _separation_table(parts: Sequence[Part], separations: Sequence[Separation], kind: str) -> str:
    by = list(dict.fromkeys(one.by for one in separations))
    of = {(one.part, one.by): one for one in separations}
    grams = [f"{short(target)}, g" for target in TARGETS]
    heading = [kind, "images", "visits", *grams, "error, g", *(f"by {name}" for name in by)]
    rows = [
        [
            part.name,
            str(part.images),
            str(part.groups),
            *(f"{mean:.1f}" for mean in part.truth_g),
            f"{part.error_g:.1f}",
            *(_area(of[part.name, name]) for name in by),
        ]
        for part in parts
    ]
    return table(heading, rows, [any(of[part.name, name].unlike for name in by) for part in parts])


def _area(one: Separation) -> str:
    return "–" if one.area is None or one.usual is None else f"{one.area:.2f} ({one.usual:.2f})"
