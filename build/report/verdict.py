"""The one sentence that matters, and what to type next."""

import shlex
from dataclasses import dataclass

from build.report.record import Record
from build.scores.board import Expectation
from kernel_src.competition.constants import LIMIT_S
from kernel_src.competition.floors import REFERENCE_POINTS, score_caveat


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
    told = f"; {_expected(record.board.expected)}" if record.board.expected else ""
    sentence = (
        f"{name}: {score}; ready to submit: the bundle is whole, its rehearsal went well and would take "
        f"{seconds / 60:.0f} of {LIMIT_S / 60:.0f} minutes{told}."
    )
    return Verdict(ready=True, sentence=sentence, next=f"make push-inference EXPERIMENT={name}")


def _score(record: Record) -> str:
    if record.comparison is None:
        return f"out-of-fold R² {record.r2:.3f}, its interval not known here"
    model = record.comparison.models[0]
    return f"out-of-fold R² {model.estimate:.3f} [{model.low:.3f}, {model.high:.3f}], floor {floor_of(record):.3f}"


def floor_of(record: Record) -> float:
    """Return the better of the two floors: on the images judged, or else on the real ones."""
    points = record.comparison.floors if record.comparison else REFERENCE_POINTS
    return max(list(points.values())[:2])


def _not_believed(record: Record) -> tuple[str, str] | None:
    """Say why the score is not to be believed, or not worth it."""
    comparison = record.comparison
    if comparison is None or record.train is None:
        return None
    if caveat := score_caveat(record.train):
        return caveat, f"make train EXPERIMENT={record.experiment} DATA=…"
    if comparison.warnings:
        return f"do not believe the level: {comparison.warnings[0]}", "look at the folds before anything else"
    if comparison.models[0].estimate <= floor_of(record):
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
