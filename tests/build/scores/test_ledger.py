"""The ledger: nothing that was recorded is ever lost, nothing is recorded twice."""

import csv
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.core.errors import CheckFailed
from build.kaggle.responses import Submission
from build.scores.ledger import COLUMNS, Score, append_score, as_csv, read_scores, refresh

ROOT = Path(__file__).resolve().parents[3]
FAULT = ROOT.parent / "shared" / "faults" / "16" / "scores.csv"
_PIECES = st.sampled_from(
    ["=", "+", "-", "@", "'", "\\", "\n", "\r", "\t", ";=", ",=", '"', "\\n", "\u2028", "|=", "\uff1d"]
)
TEXTS = st.lists(_PIECES | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=5).map("".join)
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
        "from build.scores.ledger import *\n"
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
    committed = Path(__file__).resolve().parents[3] / "docs" / "scores.csv"
    read_scores(committed)
    assert committed.read_text().splitlines()[0].split(",")[: len(COLUMNS)] == list(COLUMNS)


class TestSpreadsheets:
    """A spreadsheet computes no cell of the ledger, and what one has saved is read without losing a row."""

    @given(note=TEXTS, added=TEXTS, heading=TEXTS)
    def test_any_text_is_read_back_exactly_and_none_is_a_formula(self, note: str, added: str, heading: str) -> None:
        score = replace(FIRST, note=note, experiment=added, extra={heading or "x": added})
        with TemporaryDirectory() as folder:
            path = Path(folder, "scores.csv")
            path.write_text(as_csv([score, SECOND]), encoding="utf-8", newline="")
            text = path.read_text(encoding="utf-8")
            (read, _) = read_scores(path)
        assert (read.note, read.experiment) == (note, added)
        assert list(read.extra.values()) == ([added] if (heading or "x") not in COLUMNS else [])
        assert text.count("\n") == 3, "a message of several lines stays on one"
        for separator in ",;\t":  # as programs of any country would open it
            for row in csv.reader(text.splitlines(), delimiter=separator):
                texts = [cell for cell in row if not re.fullmatch(r"-?[\d.]+", cell)]
                assert not [cell for cell in texts if cell.strip()[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20")]

    @pytest.mark.parametrize("note", ["=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\t=1", "a;=1+1", "'=1", "a\\nb"])
    def test_formulas_are_kept_as_what_was_typed(self, ledger: Path, record, note: str) -> None:
        record(replace(FIRST, note=note))
        assert read_scores(ledger)[0].note == note
        record(SECOND)
        assert read_scores(ledger)[0].note == note, "nor does a second writing change it"

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_every_notation_is_read(self, ledger: Path, record, encoding: str, separator: str, end: str) -> None:
        plain = replace(FIRST, note="größer; besser, “zitiert”")
        record(plain, SECOND)
        with ledger.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.reader(handle))
        if separator != ",":
            decimal = [COLUMNS.index(name) for name in ("cv", "cv_low", "cv_high")]
            rows[1:] = [[c.replace(".", ",") if i in decimal else c for i, c in enumerate(row)] for row in rows[1:]]
        with ledger.open("w", newline="", encoding=encoding) as handle:
            csv.writer(handle, delimiter=separator, lineterminator=end).writerows([*rows, [""] * len(rows[0])])
        assert read_scores(ledger) == [plain, SECOND]
        record(replace(SECOND, submission_ref=43))
        assert [score.submission_ref for score in read_scores(ledger)] == [41, 42, 43]
        assert ledger.read_text(encoding="utf-8").startswith("time,experiment"), "written in our own notation again"

    @pytest.mark.parametrize(
        ("column", "cell", "value"),
        [
            ("submission_ref", "47.123.456", 47123456),
            ("submission_ref", "47 123 456", 47123456),
            ("submission_ref", "47123456,00", 47123456),
            ("submission_ref", "4,7123456E+07", 47123456),
            ("cv", "0,7123", 0.7123),
            ("cv", ".7123", 0.7123),
            ("cv", "7,123E-01", 0.7123),
            ("cv", "\u22120,25", -0.25),
            ("public", " 0,5 ", 0.5),
            ("time", "29.11.2026 14:03", "2026-11-29T14:03:00+00:00"),
            ("time", "2026-11-29 14:03:05", "2026-11-29T14:03:05+00:00"),
            ("time", "29/11/2026 14:03:05", "2026-11-29T14:03:05+00:00"),
            ("time", "11/29/2026 2:03 PM", "2026-11-29T14:03:00+00:00"),
            ("time", "29.11.26 14:03", "2026-11-29T14:03:00+00:00"),
            ("time", "2026-11-29T14:03:00Z", "2026-11-29T14:03:00Z"),
        ],
    )
    def test_numbers_and_times_in_other_notations(self, ledger: Path, record, column: str, cell: str, value) -> None:
        record(FIRST)
        self.put(ledger, column, cell)
        assert getattr(read_scores(ledger)[0], column) == value

    @pytest.mark.parametrize(
        ("column", "cell", "said"),
        [
            ("submission_ref", "4,7E+07", "a spreadsheet has cut its digits"),
            ("submission_ref", "47,5", "not a whole number"),
            ("cv", "07. Dez", "not a number"),
            ("cv", "1.234,5", "not a number"),
            ("time", "03/04/2026 14:03", "nothing says which is the month"),
            ("time", "31.02.2026 14:03", "which is not a date"),
        ],
    )
    def test_what_is_lost_or_can_be_read_in_two_ways_is_said_and_nothing_is_written(
        self, ledger: Path, record, column: str, cell: str, said: str
    ) -> None:
        record(FIRST)
        self.put(ledger, column, cell)
        before = ledger.read_bytes()
        with pytest.raises(CheckFailed, match=said) as failed:
            record(SECOND)
        assert ledger.read_bytes() == before and "nothing was written" in str(failed.value)

    def put(self, ledger: Path, column: str, cell: str) -> None:
        with ledger.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.reader(handle))
        rows[1][COLUMNS.index(column)] = cell
        with ledger.open("w", newline="", encoding="utf-8-sig") as handle:
            csv.writer(handle, delimiter=";").writerows(rows)

    @pytest.mark.skipif(not FAULT.is_file(), reason="../shared/faults/16 is not there: a ledger saved by a spreadsheet")
    def test_the_planted_ledger_is_read(self, ledger: Path, record) -> None:
        ledger.parent.mkdir(parents=True)
        ledger.write_bytes(FAULT.read_bytes())
        assert read_scores(ledger) == []
        record(FIRST)
        assert read_scores(ledger) == [FIRST]

    @pytest.mark.parametrize(
        "damage", [b"", b"\x93NUMPY\x00\x01", b"PK\x03\x04", "überall".encode("utf-16")[:-1], b"a\n"]
    )
    def test_no_cure_loses_anything(self, ledger: Path, record, damage: bytes) -> None:
        ledger.parent.mkdir(parents=True)
        ledger.write_bytes(damage)
        with pytest.raises(CheckFailed) as failed:
            record(FIRST)
        assert "checkout" not in str(failed.value) and ledger.read_bytes() == damage

    def test_a_secret_in_a_message_is_not_committed(self, ledger: Path, record, monkeypatch) -> None:
        monkeypatch.setenv("KAGGLE_KEY", "9f3c71d2e8a04b56")
        record(replace(FIRST, note="with 9f3c71d2e8a04b56"))
        assert read_scores(ledger)[0].note == "with ***"


def test_no_cure_of_the_kit_destroys_what_was_not_committed() -> None:
    """Every text of the sources is read: `git checkout <path>`, `git restore`, `git reset --hard`, `git clean`."""
    found = re.compile(r"git (?:checkout|restore|clean|stash drop)\b|git reset --hard|rm -rf")
    sources = [*(ROOT / "build").rglob("*.py"), *(ROOT / "kernel_src").rglob("*.py"), ROOT / "README.md"]
    assert {str(path): match for path in sources if (match := found.findall(path.read_text(encoding="utf-8")))} == {}
