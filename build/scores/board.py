"""From CV to board: what the public score of a model is likely to be, from the submissions whose score is out.

1. A point is a bundle with CV and public score. A bundle that was submitted twice is one model and one point, and only
   points whose CV has one formula are looked at together.
2. Two rules: public = CV + the mean offset so far; or, from five points on, the straight line of least squares.
3. The rule whose leave-one-out error is smaller is taken; of equals the offset, which has one parameter less to guess.
4. The interval is that of one *new* point (Draper & Smith, Applied Regression Analysis, 3rd ed. 1998, § 3.1): Student's
   t times `s √(1 + 1/n)` for the offset, `s √(1 + 1/n + (x − x̄)²/Sxx)` for the line. `s` is the scatter of the points,
   so the luck of CV and that of the public photographs are in it already, and CV's own interval is not added again.
5. No score is better than that of perfect predictions: what the rule puts there is cut off, which costs no coverage,
   and said.

The ledger has the submissions of every competition; those of the chosen one are looked at.

Chosen by simulation; table in docs/validation.md.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from build.core.errors import CheckFailed, Problem
from build.scores.ledger import COMPLETE, Score
from kernel_src.competition.choice import DEFAULT_COMPETITION, chosen_competition
from kernel_src.competition.facts import read_named_rows
from kernel_src.competitions.held_recipes import COMPETITION_OF
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules
from kernel_src.runtime.untrusted import quoted

OFFSET, LINE = "mean offset", "straight line"
PUBLISHED_COLUMNS = ("series", "model", "cv", "cv_formula", "public", "private", "source")
LEAST_POINTS, LEAST_FOR_LINE = 2, 5
FEW_POINTS = 5  # below: said to be few
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model with CV and public score."""

    name: str
    cv: float
    public: float
    low: float | None = None  # 95 % interval of CV
    high: float | None = None
    formula: str = ""  # of CV
    bundle_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What somebody else has published; None: not published."""

    series: str
    model: str
    cv: float | None
    cv_formula: str
    public: float | None
    private: float | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The public score that a model with this CV would get."""

    cv: float
    estimate: float
    low: float
    high: float
    rule: str
    offset: float  # mean of public − CV
    slope: float  # 1 for the offset
    points: int
    errors: dict[str, float]  # leave-one-out error of each rule that was tried: root of the mean square
    outside: bool  # CV lies beyond all points
    cut: bool  # the rule reached beyond the best score there is

    @property
    def width(self) -> float:
        """From low to high."""
        return self.high - self.low

    def words(self) -> str:
        """Say it in one sentence."""
        rule = f"CV {self.offset:+.3f}" if self.rule == OFFSET else f"a line of slope {self.slope:.2f}"
        few = f"; {self.points} points are few: the interval is {self.width:.2f} wide" * (self.points < FEW_POINTS)
        beyond = "; this CV lies beyond all of them" * self.outside
        cut = f"; cut off at {review().best:g}, the best there is" * self.cut
        return (
            f"expected public score {self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}] for CV {self.cv:.3f}, from "
            f"{self.points} submissions ({rule}){few}{beyond}{cut}"
        )


# %%
def published_file() -> Path:
    """Return where scores stand that others have published of the competition."""
    own = chosen_competition()
    return Path("docs", f"published-scores{'' if own == DEFAULT_COMPETITION else f'-{own}'}.csv")


def points_of(scores: Sequence[Score]) -> list[Point]:
    """Return a point per bundle and formula, oldest first; of a bundle's several submissions the last counts."""
    own = chosen_competition()
    found: dict[tuple[str, str, str], Point] = {}
    for one in scores:
        if one.status != COMPLETE or one.cv is None or one.public is None:
            continue
        if COMPETITION_OF.get(one.experiment, own) != own:
            continue
        key = (one.experiment, one.bundle_sha256, one.cv_formula)
        found.pop(key, None)
        found[key] = Point(
            name=one.experiment,
            cv=one.cv,
            public=one.public,
            low=one.cv_low,
            high=one.cv_high,
            formula=one.cv_formula,
            bundle_sha256=one.bundle_sha256,
        )
    return list(found.values())


def read_published(path: Path) -> list[Published]:
    """Read the series of others; each row must name its source.

    Raises:
        CheckFailed: a row lacks its source, or has text where a number belongs.
    """
    rows, problems = [], []
    cure = f"each row: {', '.join(PUBLISHED_COLUMNS)}; between commas, in UTF-8"
    try:
        columns, texts = read_named_rows(path)
    except ValueError as error:
        raise CheckFailed([Problem(what=str(error), cure=cure)]) from None
    if missing := [column for column in PUBLISHED_COLUMNS if column not in columns]:
        what = f"the heading lacks {', '.join(missing)}"
        raise CheckFailed([Problem(what=what, where=f"{path}:1", cure=cure)])
    for number, row in enumerate(texts, 2):
        try:
            scores = {name: _published_score(name, row[name]) for name in ("cv", "public", "private")}
            if not (row["source"] or "").strip():
                raise ValueError("the row names no source")
        except ValueError as error:
            problems.append(Problem(what=str(error), where=f"{path}:{number}", cure=cure))
            continue
        rows.append(
            Published(
                series=row["series"],
                model=row["model"],
                cv=scores["cv"],
                cv_formula=row["cv_formula"],
                public=scores["public"],
                private=scores["private"],
                source=row["source"],
            )
        )
    if problems:
        raise CheckFailed(problems)
    return rows


def _published_score(name: str, text: str | None) -> float | None:
    if not (text or "").strip():
        return None
    try:
        score = float(text or "")
    except ValueError:
        raise ValueError(f"{name} is {quoted(text)}, not a number") from None
    if not isfinite(score):
        raise ValueError(f"{name} is {quoted(text)}, not a finite number")
    return score


def expect(points: Sequence[Point], cv: float) -> Expectation | None:
    """Return the expected public score of a model with this CV; None where there are fewer than two points."""
    if len(points) < LEAST_POINTS:
        return None
    x, y = np.array([one.cv for one in points]), np.array([one.public for one in points])
    errors = {OFFSET: _offset_error(x, y)}
    if len(x) >= LEAST_FOR_LINE and np.ptp(x) > 0:
        errors[LINE] = _line_error(x, y)
    rule = min(errors, key=lambda name: errors[name])  # the first of equals
    slope = 1.0 if rule == OFFSET else _slope(x, y)
    estimate = y.mean() + slope * (cv - x.mean())
    left = y - y.mean() - slope * (x - x.mean())
    freedom = len(x) - (1 if rule == OFFSET else 2)
    leverage = 1 + 1 / len(x) + (0.0 if rule == OFFSET else (cv - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    reach = _t(freedom) * float(np.sqrt((left**2).sum() / freedom * leverage))
    return Expectation(
        cv=cv,
        estimate=_within_best(float(estimate)),
        low=_within_best(float(estimate) - reach),
        high=_within_best(float(estimate) + reach),
        rule=rule,
        offset=float((y - x).mean()),
        slope=float(slope),
        points=len(x),
        errors=errors,
        outside=bool(cv < x.min() or cv > x.max()),
        cut=any(_within_best(float(end)) != float(end) for end in (estimate - reach, estimate + reach)),
    )


def _within_best(score: float) -> float:
    """Cut a score off at that of perfect predictions."""
    return min(score, review().best) if rules().metric.higher_is_better else max(score, review().best)


def _t(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    centred = x - x.mean()
    return float(centred @ y / (centred**2).sum())


def _offset_error(x: np.ndarray, y: np.ndarray) -> float:
    """Leave each point out: an offset's residual grows by n/(n − 1)."""
    offsets = y - x
    return float(np.sqrt(((offsets - offsets.mean()) ** 2).mean())) * len(x) / (len(x) - 1)


def _line_error(x: np.ndarray, y: np.ndarray) -> float:
    """Leave each point out: a line's residual grows by 1/(1 − leverage) (Allen's PRESS, Technometrics 16, 1974)."""
    centred = x - x.mean()
    left = y - y.mean() - _slope(x, y) * centred
    leverage = 1 / len(x) + centred**2 / (centred**2).sum()
    if (leverage > 1 - 1e-9).any():
        return float("inf")  # without that point all others have one CV: no line
    return float(np.sqrt(((left / (1 - leverage)) ** 2).mean()))


# %%
@dataclass(frozen=True, kw_only=True)
class Board:
    """All that the table, the page and the JSON show."""

    points: tuple[Point, ...]
    published: tuple[Published, ...]
    formula: str  # of the points that `expected` stands on
    expected: Expectation | None
    by_others: Expectation | None  # what the published pairs alone would say: for comparison, never for a decision
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self)

    def words(self) -> str:
        """Say what is expected, or why nothing can be."""
        if self.expected:
            return self.expected.words()
        own = [one.public - one.cv for one in self.points if one.formula == self.formula]
        if len(own) >= LEAST_POINTS:
            return (
                f"the public score is CV {sum(own) / len(own):+.3f} on average over {len(own)} submissions; --cv or "
                "--experiment says what to expect of one model"
            )
        if own:
            return "one submission has CV and a public score: an expectation with an interval needs two"
        return "no submission has CV and a public score yet: the first two will say what a CV is worth"


def board(scores: Sequence[Score], published: Sequence[Published], cv: float | None = None, formula: str = "") -> Board:
    """Gather the points, and what they say of a model with this CV; `formula` is the newest submission's by default."""
    points = points_of(scores)
    formula = formula or (points[-1].formula if points else "")
    own = [one for one in points if one.formula == formula]
    notes = []
    if others := len(points) - len(own):
        notes.append(f"{others} submissions have a CV of another formula and are left out of the expectation")
    pairs = [
        Point(name=one.model, cv=one.cv, public=one.public, formula=one.cv_formula)
        for one in published
        if one.cv is not None and one.public is not None
    ]
    return Board(
        points=tuple(points),
        published=tuple(published),
        formula=formula,
        expected=expect(own, cv) if cv is not None else None,
        by_others=expect(pairs, cv) if cv is not None else None,
        notes=tuple(notes),
    )
