"""`python -m build scores --board`: what a CV is worth on the board, with an interval that holds what it promises."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from build.core.errors import CheckFailed
from build.core.pages import find_loads
from build.notebooks.builder import ROOT
from build.scores.board import (
    LINE,
    OFFSET,
    Expectation,
    Point,
    board,
    expect,
    points_of,
    published_file,
    read_published,
)
from build.scores.board_page import chart, page
from build.scores.ledger import Score, as_csv
from tests.build.typing_in import type_in

DONE = Score(
    time="2026-11-24T10:00:00+00:00",
    experiment="v1",
    source_sha256="a" * 64,
    bundle_sha256="1" * 64,
    submission_ref=1,
    status="complete",
    cv=0.40,
    cv_low=0.30,
    cv_high=0.50,
    cv_formula="official",
    public=0.47,
)
FOUR = [
    replace(DONE, experiment=f"v{i}", bundle_sha256=str(i) * 64, submission_ref=i, cv=cv, public=public)
    for i, (cv, public) in enumerate([(0.40, 0.47), (0.45, 0.50), (0.50, 0.58), (0.55, 0.61)], 1)
]


def pairs(*values: tuple[float, float]) -> list[Point]:
    return [Point(name=str(i), cv=cv, public=public) for i, (cv, public) in enumerate(values)]


def test_the_json_has_pairs_expectation_and_the_published_series(tmp_path: Path) -> None:
    ledger = tmp_path / "scores.csv"
    ledger.write_text(as_csv(FOUR))
    done = type_in("scores", "--board", "--ledger", ledger, "--cv", 0.52, "--html", tmp_path / "board.html", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert [one["name"] for one in value["points"]] == ["v1", "v2", "v3", "v4"]
    expected = value["expected"]
    offsets = np.array([0.07, 0.05, 0.08, 0.06])
    assert expected["estimate"] == pytest.approx(0.52 + offsets.mean()) and expected["rule"] == OFFSET
    reach = 3.1824 * offsets.std(ddof=1) * np.sqrt(1 + 1 / 4)  # Student's t, three degrees of freedom
    assert expected["high"] - expected["estimate"] == pytest.approx(reach, rel=1e-4)
    text = (tmp_path / "board.html").read_text()
    assert not find_loads(text) and "http" not in text
    assert f"expected public score {expected['estimate']:.3f} [" in text and "V4 squared error" in text


def test_an_empty_ledger_promises_nothing_and_says_what_the_others_pairs_are_worth(tmp_path: Path) -> None:
    ledger = tmp_path / "scores.csv"
    ledger.write_text(as_csv([]))
    done = type_in("scores", "--board", "--ledger", ledger, "--cv", 0.5)
    assert done.returncode == 0, done.stderr
    assert "no submission has CV and a public score yet" in done.stdout
    assert "other models, other formulas: nothing is decided by that" in done.stdout


def test_a_command_that_cannot_be_meant_is_told_so(tmp_path: Path) -> None:
    done = type_in("scores", "--board", "--cv", 0.5, "--experiment", "v1")
    assert done.returncode == 2 and "not both" in done.stderr
    done = type_in("scores", "--board", "--ledger", tmp_path / "none.csv")
    assert done.returncode == 2 and "no file" in done.stderr
    done = type_in("scores", "--cv", 0.5)
    assert done.returncode == 2 and "belong to --board" in done.stderr


# What a point is


def test_two_submissions_of_one_bundle_are_one_model() -> None:
    """Twice the same weights would look like two models that agree perfectly."""
    again = replace(FOUR[0], submission_ref=9, source_sha256="b" * 64, public=0.48)
    assert [(one.name, one.public) for one in points_of([*FOUR[:2], again])] == [("v2", 0.50), ("v1", 0.48)]


def test_pending_failed_and_unscored_rows_are_no_points() -> None:
    rows = [replace(DONE, status="pending"), replace(DONE, status="error"), replace(DONE, cv=None)]
    assert points_of([*rows, replace(DONE, public=None)]) == []


def test_a_cv_of_another_formula_is_drawn_but_never_counted() -> None:
    log = replace(FOUR[0], experiment="old", bundle_sha256="9" * 64, cv=0.74, public=0.50, cv_formula="log1p")
    own = board([log, *FOUR], [], cv=0.5)
    assert own.expected == board(FOUR, [], cv=0.5).expected and own.expected and own.expected.points == 4
    assert own.notes == ("1 submissions have a CV of another formula and are left out of the expectation",)
    drawn = chart(own)["chart"]
    assert 'class="unlike"' in drawn and drawn.count('class="own"') == 4 and "old" in drawn


# What is expected

SLOPES = {"by a constant": 1.0, "by half": 0.5, "not at all": 0.0}
CV_MEAN, CV_DEVIATION, SCATTER = 0.55, 0.08, 0.03


def draw(random: np.random.Generator, slope: float, count: int) -> list[Point]:
    """Models with CV and public score; a pair scatters by about the group bootstrap of one score for one split."""
    cv = random.normal(CV_MEAN, CV_DEVIATION, count)
    public = CV_MEAN + 0.08 + slope * (cv - CV_MEAN) + random.normal(0, SCATTER, count)
    return [Point(name=str(i), cv=float(x), public=float(y)) for i, (x, y) in enumerate(zip(cv, public, strict=True))]


def simulate(slope: float, count: int, draws: int, seed: int = 0) -> dict[str, float]:
    """Coverage for one model more, error of the rule taken and of each by itself, and how often the line is taken."""
    random = np.random.default_rng(seed)
    held, lines, errors = 0, 0, {"taken": 0.0, OFFSET: 0.0, LINE: 0.0}
    for _ in range(draws):
        *known, new = draw(random, slope, count + 1)
        found = expect(known, new.cv)
        assert isinstance(found, Expectation)
        held += found.low <= new.public <= found.high
        lines += found.rule == LINE
        errors["taken"] += (found.estimate - new.public) ** 2
        errors[OFFSET] += (new.cv + found.offset - new.public) ** 2
        if count > 2:
            x, y = (np.array([getattr(one, name) for one in known]) for name in ("cv", "public"))
            fitted = np.polynomial.Polynomial.fit(x, y, 1)
            errors[LINE] += float(fitted(new.cv) - new.public) ** 2
    rms = {name: (value / draws) ** 0.5 for name, value in errors.items()}
    return {"coverage": held / draws, "lines": lines / draws, **rms}


@pytest.mark.parametrize("law", SLOPES)
@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_interval_holds_a_new_models_public_score_in_95_of_100(law: str, count: int) -> None:
    """Normal scatter, as Student's t assumes; the rule is chosen on the same points, which costs a little."""
    found = simulate(SLOPES[law], count, 3000)
    assert 0.93 <= found["coverage"] <= 0.97, found


def test_the_rule_taken_is_the_better_one_once_there_are_points_enough() -> None:
    constant, half = simulate(1.0, 12, 800), simulate(0.5, 12, 800)
    assert constant["taken"] < 1.05 * constant[OFFSET] and constant["lines"] < 0.4
    assert half["taken"] < 1.05 * half[LINE] and half["lines"] > 0.75


def test_with_few_points_the_sentence_says_how_wide_it_is() -> None:
    two = expect(pairs((0.40, 0.47), (0.50, 0.55)), 0.45)
    assert two and "2 points are few: the interval is 0.44 wide" in two.words()
    assert two.width == pytest.approx(2 * 12.706 * 0.02 / 2**0.5 * 1.5**0.5, abs=1e-4)  # t of one degree of freedom
    assert expect(pairs((0.40, 0.47)), 0.45) is None and expect([], 0.45) is None
    many = expect(pairs(*((0.4 + i / 50, 0.5 + i / 50 + (-1) ** i / 100) for i in range(8))), 0.9)
    assert many and "few" not in many.words() and "beyond all of them" in many.words()


def test_no_score_above_1_is_expected() -> None:
    two = expect(pairs((0.40, 0.47), (0.50, 0.55)), 0.90)
    assert two and two.estimate == pytest.approx(0.96) and (two.high, two.cut) == (1.0, True) and two.low < 0.8
    assert "1.000]" in two.words() and "cut off at 1" in two.words()
    far = expect(pairs((0.40, 0.80), (0.50, 0.90), (0.60, 1.0)), 0.95)
    assert far and far.low == far.estimate == far.high == 1.0
    low = expect(pairs((0.40, 0.47), (0.50, 0.55)), 0.45)
    assert low and not low.cut and "cut off" not in low.words()


def test_leave_one_out_is_what_refitting_without_each_point_gives() -> None:
    random = np.random.default_rng(1)
    x = random.normal(0.5, 0.1, 7)
    y = 0.2 + 0.6 * x + random.normal(0, 0.02, 7)
    found = expect(pairs(*zip(x.tolist(), y.tolist(), strict=True)), 0.5)
    keep = [np.arange(7) != i for i in range(7)]
    offset = [y[i] - x[i] - (y - x)[keep[i]].mean() for i in range(7)]
    line = [y[i] - np.polynomial.Polynomial.fit(x[keep[i]], y[keep[i]], 1)(x[i]) for i in range(7)]
    assert found and found.errors[OFFSET] == pytest.approx(np.sqrt(np.mean(np.square(offset))))
    assert found.errors[LINE] == pytest.approx(np.sqrt(np.mean(np.square(line))))


# What others have published


def test_every_published_row_names_its_source_and_the_seeds_pairs_are_its_own() -> None:
    rows = read_published(ROOT / published_file())
    assert all(len(row.source) > 20 for row in rows)
    seed = {row.model.split()[0]: (row.cv, row.public) for row in rows if row.series == "seed"}
    assert (seed["V4"], seed["V5"], seed["V7"]) == ((0.74, 0.50), (0.48, 0.57), (0.50, 0.58))
    assert [seed[f"V{i}"][1] for i in range(1, 9)] == [0.30, 0.42, 0.46, 0.50, 0.57, 0.57, 0.58, 0.62]


def test_a_published_row_without_source_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["series", "model", "cv", "cv_formula", "public", "private", "source"])
        writer.writerow(["somebody", "m", "0.9", "", "0.8", "", ""])
        writer.writerow(["somebody", "n", "high", "", "0.8", "", "a talk"])
    with pytest.raises(CheckFailed) as failed:
        read_published(path)
    assert [problem.where for problem in failed.value.problems] == [f"{path}:2", f"{path}:3"]


def test_a_score_that_only_the_private_board_has_is_a_square() -> None:
    own = board(FOUR, read_published(ROOT / published_file()), cv=0.5)
    text = page(own)
    assert text.count('<g class="square"') == 1 and text.count('<g class="circle"') == 4
    assert "write-up of the 13th place" in text and "0.757" in text


def test_a_name_for_which_the_drawing_has_no_room_is_told_below_it() -> None:
    names = [f"a crowd of submissions, number {i}" for i in range(40)]
    crowd = [replace(DONE, experiment=name, bundle_sha256=f"{i:064}", submission_ref=i) for i, name in enumerate(names)]
    text = page(board(crowd, ()))
    drawn = re.findall(r'<g class="label">\s*<text [^>]*>([^<]*)</text>', text)
    told = re.search(r"Drawn without their names, for want of room: ([^<]*)\.</p>", text)
    assert told and drawn and sorted([*drawn, *re.split(r", (?=a crowd)", told[1])]) == sorted(names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("series,model\na,b\n".encode("utf-16"), "is not a table: it is not text in UTF-8"),
        (b"series;model\na;b\n", "the heading lacks series"),
        (b"\xef\xbb\xbfseries,model,cv,cv_formula,public,private,source\na,b\n", "the row names no source"),
        (b"series,model,cv,cv_formula,public,private,source\na,b,inf,,,,s\n", "cv is 'inf', not a finite number"),
    ],
)
def test_published_scores_of_a_spreadsheet_are_no_traceback(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "published.csv").write_bytes(content)
    with pytest.raises(CheckFailed, match=message):
        read_published(tmp_path / "published.csv")
