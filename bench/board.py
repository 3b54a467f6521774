"""Simulates "from CV to board": how often the interval holds the public score of a new model, and how far it is off.

    .venv/bin/python bench/board.py 4000

Each draw is n models with CV and public score and one more, whose public score is asked for. The laws differ in what
CV is worth: public follows CV by a constant, follows it by half, or has nothing to do with it (nearly the seed's own
pairs). Scatter of a pair: .03, about what the group bootstrap of one score gives for two models of one split.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from build.scores.board import LINE, OFFSET, Expectation, Point, expect  # noqa: E402

SLOPES = {"by a constant": 1.0, "by half": 0.5, "not at all": 0.0}
CV_MEAN, CV_DEVIATION, SCATTER = 0.55, 0.08, 0.03
SIZES = (2, 3, 4, 5, 6, 8, 12, 20)


def draw(random: np.random.Generator, slope: float, count: int) -> list[Point]:
    """Draw models with CV and public score."""
    cv = random.normal(CV_MEAN, CV_DEVIATION, count)
    public = CV_MEAN + 0.08 + slope * (cv - CV_MEAN) + random.normal(0, SCATTER, count)
    return [Point(name=str(i), cv=float(x), public=float(y)) for i, (x, y) in enumerate(zip(cv, public, strict=True))]


def simulate(slope: float, count: int, draws: int, seed: int = 0) -> dict[str, float]:
    """Return coverage, median width, error of the rule taken and of each by itself, and how often the line is taken."""
    random = np.random.default_rng(seed)
    held, widths, lines, errors = 0, [], 0, {"taken": 0.0, OFFSET: 0.0, LINE: 0.0}
    for _ in range(draws):
        *known, new = draw(random, slope, count + 1)
        found = expect(known, new.cv)
        assert isinstance(found, Expectation)
        held += found.low <= new.public <= found.high
        widths.append(found.width)
        lines += found.rule == LINE
        errors["taken"] += (found.estimate - new.public) ** 2
        errors[OFFSET] += (new.cv + found.offset - new.public) ** 2
        if count > 2:
            x, y = (np.array([getattr(one, name) for one in known]) for name in ("cv", "public"))
            fitted = np.polynomial.Polynomial.fit(x, y, 1)
            errors[LINE] += float(fitted(new.cv) - new.public) ** 2
    rms = {name: (value / draws) ** 0.5 for name, value in errors.items()}
    return {"coverage": held / draws, "width": float(np.median(widths)), "lines": lines / draws, **rms}


def main() -> None:
    """Print a table per law."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for name, slope in SLOPES.items():
        print(f"public follows CV {name}: {draws} draws")
        print("  n  coverage  width  error taken / offset / line  line taken")
        for count in SIZES:
            r = simulate(slope, count, draws)
            print(
                f"{count:3d}  {r['coverage']:8.3f}  {r['width']:5.2f}"
                f"  {r['taken']:.3f} / {r[OFFSET]:.3f} / {r[LINE]:.3f}  {r['lines']:.2f}"
            )


if __name__ == "__main__":
    main()
