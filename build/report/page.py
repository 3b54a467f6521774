"""The report as one page that holds itself: the verdict, links, then every section.

A piece that is missing says so where it would stand, with its command.
"""

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from build.core.bundle_files import missing_folds_text
from build.core.errors import CheckFailed, Problem
from build.core.pages import colour, find_loads, render, web_page
from build.core.plots import dots, log_scale, plot
from build.report.record import Record
from build.scores.board import Expectation
from build.scores.board_page import chart
from build.scores.comparison import Comparison
from build.scores.cross_validation import split_text
from build.scores.oof_files import Validation
from build.scores.page import Row, forest, page_words, rows_of
from build.scores.words import metric_name
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules
from kernel_src.recipes.spec import by_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIMIT_BYTES = 5_000_000
FLOORS = 2  # so many of the reference points, the first, are what no photograph is needed for
PICTURES = 8


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether to submit, why, and the next command."""

    ready: bool
    sentence: str
    next: str  # a command; empty: nothing is left to do


def judge(record: Record) -> Verdict:
    """Say what stands between this experiment and a submission, the gravest first."""
    name, score = record.experiment, _score(record)
    submitted = next((one for one in reversed(record.scores) if one.public is not None and _same(record, one)), None)
    for found in (_not_believed(record), _not_ready(record)):
        if found:
            return Verdict(ready=False, sentence=f"{name}: {score}; {found[0]}.", next=found[1])
    if submitted:
        private = f", private {submitted.private:.3f}" if submitted.private is not None else ""
        sentence = f"{name}: {score}; submitted, public {submitted.public:.3f}{private}."
        return Verdict(ready=True, sentence=sentence, next="")
    assert record.rehearsal is not None
    report = record.rehearsal.report
    seconds = report.get("projected_seconds_800") or report.get("seconds") or 0.0
    expected = f"; {_expected(record.board.expected)}" if record.board.expected else ""
    sentence = (
        f"{name}: {score}; ready to submit: the bundle is whole, its rehearsal went well and would take "
        f"{seconds / 60:.0f} of {facts().limit_s / 60:.0f} minutes{expected}."
    )
    return Verdict(ready=True, sentence=sentence, next=f"make push-inference EXPERIMENT={name}")


def _score(record: Record) -> str:
    if record.comparison is None:
        return f"out-of-fold {metric_name()} {record.score:.3f}, its interval not known here"
    model, floor = record.comparison.models[0], floor_of(record.comparison)
    return f"out-of-fold {metric_name()} {model.estimate:.3f} [{model.low:.3f}, {model.high:.3f}], floor {floor:.3f}"


def floor_of(comparison: Comparison) -> float:
    """Return the better of the two floors on the images judged."""
    return max(list(comparison.floors.values())[:FLOORS], key=rules().metric.gain)


def _not_believed(record: Record) -> tuple[str, str] | None:
    """Say why the score is not to be believed, or not worth it."""
    comparison = record.comparison
    if comparison is None or record.train is None:
        return None
    if caveat := rules().caveat(record.train):
        return caveat, f"make train EXPERIMENT={record.experiment} DATA=…"
    if comparison.warnings:
        return f"do not believe the level: {comparison.warnings[0]}", "look at the folds before anything else"
    gain = rules().metric.gain
    if gain(comparison.models[0].estimate) <= gain(floor_of(comparison)):
        return "it has learnt nothing: the means alone score as much", f"python -m build describe {record.experiment}"
    return None


def _not_ready(record: Record) -> tuple[str, str] | None:
    """Say which piece stands in the way of a submission."""
    if record.bundle is None:
        return "not ready: no bundle of this run", f"python -m build bundle {shlex.quote(str(record.run))}"
    if record.bundle.fault:
        return "not ready: the bundle is damaged", f"python -m build bundle {shlex.quote(str(record.run))}"
    wanted = next((one for one in record.missing if "rehearsal" in one.what), None)
    if wanted or record.rehearsal is None:
        return "not ready: no rehearsal on this bundle", wanted.command if wanted else ""
    report = record.rehearsal.report
    if report.get("ok") is not True:
        problems = report.get("problems") or [{}]
        first = problems[0].get("what", "see its report")
        return f"not ready: the rehearsal failed: {first}", f"make rehearse EXPERIMENT={record.experiment}"
    if report.get("rerun") is not True:
        command = f"python -m build rehearse --experiment {record.experiment} --data DATA --weights BUNDLE --rerun"
        return "not ready: rehearsed on the public test only, not as the rerun", command
    return None


def _same(record: Record, score: object) -> bool:
    return record.bundle is not None and getattr(score, "bundle_sha256", "") == record.bundle.manifest_sha256


def _expected(expected: Expectation) -> str:
    return f"expected public score {expected.estimate:.2f} [{expected.low:.2f}, {expected.high:.2f}]"


# %%
def page(record: Record, verdict: Verdict) -> str:
    """Return the whole page.

    Raises:
        CheckFailed: it is larger than 5 MB, would load something, or a photograph cannot be read.
    """
    from build.report.diagnostics.page import sections as diagnostic_sections

    diagnostics, comparison, fields = record.diagnosis, record.comparison, record.config["experiment"]
    rows = rows_of(comparison) if comparison else [Row(record.experiment, record.score)]
    wanted = next((one.command for one in record.missing if "rehearsal" in one.what), "make rehearse")
    body = render(
        "build/report/page.html.jinja",
        r=record,
        board=record.board,
        h="h3",
        **forest(rows, comparison.floors if comparison else review().published_points),
        **chart(record.board),
        **_folds(record),
        targets=facts().targets,
        review=review(),
        **page_words(),
        pictures=_pictures(record),
        diagnostics=diagnostic_sections(diagnostics) if diagnostics is not None else "",
        curves=_curves(record),
        inner=any("inner_loss" in columns for columns in record.log.values()),
        seconds=sum(sum(columns.get("seconds", ())) for columns in record.log.values()),
        changes=_changes(record.experiment, fields),
        plain_fields={path: _plain(value) for path, value in by_path(fields).items()},
        run=shlex.quote(str(record.run)),
        rehearse=wanted,
    )
    sections = re.findall(r'<h2 id="([^"]*)">(.*)</h2>', body)
    lead = render("build/report/lead.html.jinja", verdict=verdict, sections=[(a, Markup(t)) for a, t in sections])
    text = web_page(f"Report: {record.experiment}", lead + body)
    refuse(text)
    return text


def refuse(text: str) -> None:
    """Raise where a page does not keep what a report promises."""
    problems = [Problem(what=f"the page would load or run: {found}") for found in find_loads(text)]
    if (size := len(text.encode())) > LIMIT_BYTES:
        largest = max(text.split('<h2 id="')[1:], key=len).partition(">")[2].partition("<")[0]
        what = f"the page has {size:,} bytes, a report may have {LIMIT_BYTES:,}; most of it is {largest}"
        problems.append(Problem(what=what, cure="fewer or smaller pictures there"))
    if problems:
        raise CheckFailed(problems)


# %%
def _changes(name: str, fields: Mapping[str, Any]) -> list[str]:
    if name not in EXPERIMENTS:
        return ["no such experiment there"]
    now = {path: _plain(value) for path, value in by_path(EXPERIMENTS[name].as_json()).items()}
    then = {path: _plain(value) for path, value in by_path(fields).items()}
    return [f"{key} {now.get(key, 'absent')} → {value}" for key, value in then.items() if now.get(key) != value]


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value not in ("", None) else "none"


def _folds(record: Record) -> dict[str, Any]:
    """Return what lies in each fold, and which groups are split over several."""
    fields, comparison = record.config["experiment"], record.comparison
    cut = split_text(fields)
    trained = fields["data"]["train_folds"]
    cut += f", of which {_plain(trained)} trained" if trained else ""
    cut += f". {missing}" if (missing := missing_folds_text(record.config)) else ""
    folds = comparison.validation.folds[0] if comparison else None
    if comparison is None or record.train is None or folds is None:
        return {"cut": cut, "folds": [], "split": []}
    validation, found = comparison.validation, []
    for fold in sorted(set(folds), key=lambda text: (len(text), text)):
        own = folds == fold
        columns = record.log.get(int(fold), {}) if fold.isdigit() else {}
        truth, epochs = validation.truth[own], columns.get("epoch", [])
        found.append(
            {
                "name": fold,
                "images": int(own.sum()),
                "groups": dict(sorted(Counter(validation.groups[own]).items())),
                "parts": _parts_in(validation, own),
                "main": truth[:, review().main].mean(),
                "score": _fold_score(truth, validation.predictions[0][own]),
                "epochs": len(epochs) or "",
                "kept": f"{_kept(epochs, columns.get('inner_loss')):.0f}" if epochs else "",
                "seconds": f"{sum(columns['seconds']):.0f}" if columns.get("seconds") else "",
            }
        )
    count = Counter(group for one in found for group in one["groups"])
    return {"cut": cut, "folds": found, "split": sorted(group for group, times in count.items() if times > 1)}


def _parts_in(validation: Validation, own: np.ndarray) -> str:
    """Say how many images of each part lie in a fold: of the first kind of parts, if there is one."""
    labels = next(iter(validation.parts.values()), None)
    counts = sorted(Counter(labels[own]).items()) if labels is not None else ()
    return ", ".join(f"{name} {count}" for name, count in counts)


def _fold_score(truth: np.ndarray, predicted: np.ndarray) -> float | None:
    """Return the score of one fold by itself; None where it is not defined."""
    try:
        return rules().score(truth, predicted)
    except ValueError:
        return None


def _kept(epochs: Sequence[float], inner: Sequence[float] | None) -> float:
    """Return the epoch whose weights stayed."""
    return epochs[int(np.argmin(inner))] if inner and len(inner) == len(epochs) else epochs[-1]


def _curves(record: Record) -> dict[int, Markup]:
    """Draw the losses of each fold."""
    drawn = {}
    for fold, columns in sorted(record.log.items()):
        epochs = columns.get("epoch", [])
        named = {name: columns.get(name, []) for name in ("train_loss", "inner_loss")}
        shown = {name: values for name, values in named.items() if values and len(values) == len(epochs)}

        def draw(axes: "Axes", epochs: list[float] = epochs, shown: Mapping[str, list[float]] = shown) -> None:
            for i, values in enumerate(shown.values()):
                axes.plot(epochs, values, color=colour(i))
                dots(axes, epochs, values, colour(i))
            if all(value > 0 for values in shown.values() for value in values):
                log_scale(axes)

        said = (f"{name.replace('_', ' ')} {values[0]:.3g} to {values[-1]:.3g}" for name, values in shown.items())
        if shown:
            drawn[fold] = plot(draw, f"fold {fold}: {', '.join(said)}", "epoch", "loss", height=200)
    return drawn


def _pictures(record: Record) -> list[dict[str, Any]]:
    """Choose photographs from the lightest to the heaviest: a fair sample, not the worst."""
    photographs = record.photographs
    if record.comparison is None or not photographs:
        return []
    validation = record.comparison.validation
    names = validation.image_ids.astype(str)
    at_hand = [i for i in np.argsort(rules().strata(validation.truth), kind="stable") if names[i] in photographs]
    wanted = np.unique(np.linspace(0, len(at_hand) - 1, min(PICTURES, len(at_hand))).round().astype(int))
    return [
        {
            "name": names[i],
            "path": photographs[names[i]],
            "group": str(validation.groups[i]),
            "predicted": validation.predictions[0][i].tolist(),
            "truth": validation.truth[i].tolist(),
        }
        for i in (at_hand[k] for k in wanted)
    ]
