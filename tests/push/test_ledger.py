"""The ledger: nothing that was recorded is ever lost, nothing is recorded twice."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from build.problems import CheckFailed
from build.push.ledger import COLUMNS, Score, append_score, read_scores, refresh
from build.push.records import Submission

FIRST = Score(
    time="2026-10-01T10:00:00Z",
    experiment="demo",
    source_sha256="a" * 64,
    bundle_sha256="b" * 64,
    kernel_version=3,
    submission_ref=41,
    cv=0.683144,
    cv_low=0.590611,
    cv_high=0.749916,
    cv_formula="official weighted R2, in grams",
    cv_folds="3 of 3 group folds (seed 0), 120 images",
    note='first try, "plain"\nand a second line',
)
SECOND = replace(FIRST, submission_ref=42, kernel_version=4, note="")


def seen(ref: int, status: str, public: float | None = None, private: float | None = None) -> Submission:
    return Submission(ref, datetime(2026, 10, 1, tzinfo=UTC), status, public, private, "submission.csv", "")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "docs" / "scores.csv"


@pytest.fixture
def record(ledger: Path, tmp_path: Path):
    return lambda *scores: [append_score(score, ledger, root=tmp_path) for score in scores]


def test_what_is_recorded_is_read_back_whole(ledger: Path, record) -> None:
    record(FIRST, SECOND)
    assert read_scores(ledger) == [FIRST, SECOND]


def test_the_issues_columns_are_all_there(ledger: Path, record) -> None:
    record(FIRST)
    heading = ledger.read_text().splitlines()[0].split(",")
    wanted = "time experiment source_sha256 bundle_sha256 kernel_version submission_ref cv cv_formula cv_folds public"
    assert set(f"{wanted} private note".split()) <= set(heading)


def test_recording_a_submission_twice_changes_nothing(ledger: Path, record) -> None:
    assert record(FIRST) == [True]
    before = ledger.read_bytes()
    later = replace(FIRST, time="2026-10-02T10:00:00Z", cv=0.6831442137260247)
    assert record(FIRST, later) == [False, False]
    assert ledger.read_bytes() == before


def test_recording_again_adds_what_was_not_known_and_forgets_nothing(ledger: Path, record) -> None:
    record(FIRST, SECOND, replace(FIRST, cv=None, note="another", status="complete", public=0.61), FIRST)
    first, second = read_scores(ledger)
    assert (first.cv, first.note, first.status, first.public) == (FIRST.cv, FIRST.note, "complete", 0.61)
    assert second == SECOND


def test_a_ref_learnt_later_completes_the_row_without_one(ledger: Path, record) -> None:
    record(replace(FIRST, submission_ref=None), FIRST)
    assert read_scores(ledger) == [FIRST]


def test_a_second_submission_of_the_same_version_is_a_second_row(ledger: Path, record) -> None:
    record(FIRST, replace(FIRST, submission_ref=43))
    assert [score.submission_ref for score in read_scores(ledger)] == [41, 43]


def test_a_submission_whose_ref_is_not_known_yet_is_one_row_of_its_own_and_completed_later(
    ledger: Path, record
) -> None:
    again = replace(FIRST, submission_ref=None)
    record(FIRST, again, again)
    assert [score.submission_ref for score in read_scores(ledger)] == [41, None]
    record(replace(FIRST, submission_ref=43))
    assert [score.submission_ref for score in read_scores(ledger)] == [41, 43]


def test_pending_rows_are_refreshed_from_the_site_and_finished_ones_keep_their_score(
    ledger: Path, record, tmp_path: Path
) -> None:
    record(FIRST, SECOND)
    changed = refresh(
        [seen(41, "COMPLETE", 0.61), seen(42, "PENDING"), seen(99, "COMPLETE", 0.9)], ledger, root=tmp_path
    )
    assert [(score.submission_ref, score.status, score.public) for score in changed] == [(41, "complete", 0.61)]
    # The site forgets nothing, but an answer may lack a field: what was known stays; the private score comes late.
    assert refresh([seen(41, "PENDING")], ledger, root=tmp_path) == []
    refresh([seen(41, "COMPLETE", 0.61, 0.57), seen(42, "ERROR")], ledger, root=tmp_path)
    assert [(one.status, one.public, one.private) for one in read_scores(ledger)] == [
        ("complete", 0.61, 0.57),
        ("error", None, None),
    ]


def test_a_score_that_is_no_number_is_not_recorded(ledger: Path, record, tmp_path: Path) -> None:
    record(FIRST)
    refresh([seen(41, "COMPLETE", float("nan"))], ledger, root=tmp_path)
    assert read_scores(ledger)[0].public is None


def test_a_column_that_a_person_added_is_kept(ledger: Path, record) -> None:
    record(FIRST)
    lines = ledger.read_text().replace("note\n", "note,who\n", 1).rstrip("\n")
    ledger.write_text(f"{lines},Ann\n")
    record(SECOND)
    assert [score.extra.get("who", "") for score in read_scores(ledger)] == ["Ann", ""]
    assert ledger.read_text().splitlines()[0] == ",".join([*COLUMNS, "who"])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text + "<<<<<<< HEAD\n", "merge conflict"),
        (lambda text: text.replace("0.683144", "0,683144"), "fields where the heading has"),
        (lambda text: text.replace(",41,", ",forty-one,"), "submission_ref is 'forty-one'"),
        (lambda text: text.replace(",0.683144,", ",nan,"), "cv is 'nan'"),
        (lambda text: text.replace("cv_formula", "formula"), "the heading lacks cv_formula"),
        (lambda text: text.replace(",pending,", ",perhaps,"), "status is 'perhaps'"),
    ],
)
def test_a_ledger_that_cannot_be_read_whole_is_never_written(ledger: Path, record, damage, said: str) -> None:
    record(FIRST)
    ledger.write_text(damaged := damage(ledger.read_text()))
    with pytest.raises(CheckFailed, match=said):
        record(SECOND)
    assert ledger.read_text() == damaged


def test_writers_at_the_same_time_lose_no_row(ledger: Path, record) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda ref: record(replace(FIRST, submission_ref=ref)), range(100, 120)))
    assert sorted(score.submission_ref or 0 for score in read_scores(ledger)) == list(range(100, 120))


def test_a_writer_killed_at_any_moment_leaves_a_whole_ledger(ledger: Path, record, tmp_path: Path) -> None:
    record(FIRST)
    program = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from build.push.ledger import *\n"
        "path, root = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "first = read_scores(path)[0]\n"
        "print('ready', flush=True)\n"
        "for ref in range(1000, 9000): append_score(replace(first, submission_ref=ref), path, root=root)\n"
    )
    known = 1
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", program, ledger, tmp_path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout and writer.stdout.readline() == b"ready\n"
            while len(read_scores(ledger)) < known + 3:
                pass
            writer.kill()
        scores = read_scores(ledger)
        assert len(scores) >= known + 3 and len({one.submission_ref for one in scores}) == len(scores)
        known = len(scores)


def test_the_committed_ledger_can_be_read_and_has_the_columns_of_now() -> None:
    committed = Path(__file__).resolve().parents[2] / "docs" / "scores.csv"
    read_scores(committed)
    assert committed.read_text().splitlines()[0].split(",")[: len(COLUMNS)] == list(COLUMNS)
