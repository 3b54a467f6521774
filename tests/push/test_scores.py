"""`make scores`: the ledger printed, refreshed from the site, drawn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from build.problems import CheckFailed
from build.push import scores
from build.push.cv import cross_validation, group_bootstrap, oof_interval, with_interval
from build.push.ledger import LEDGER, Score, append_score, read_scores
from kernel_src.common.files import sha256_of
from kernel_src.common.metric import weighted_r2

FIRST = Score(
    time="2026-11-24T10:00:00+00:00",
    experiment="demo",
    source_sha256="a" * 64,
    bundle_sha256="b" * 64,
    kernel_version=1,
    submission_ref=100,
    cv=0.68,
    cv_low=0.59,
    cv_high=0.75,
    cv_formula="official",
    cv_folds="3 of 3",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put_submission(site, ref: int, status: str, public: str = "", private: str = "") -> None:
    entry = {"ref": ref, "date": "2026-11-24T11:00:00Z", "status": status, "fileName": "submission.csv"}
    site.submissions.append(entry | {"publicScore": public, "privateScore": private, "description": "", "polls": 0})


def test_an_empty_ledger_says_how_the_first_row_is_made(here: Path, capsys: pytest.CaptureFixture) -> None:
    scores.run(False)
    assert "make push-inference" in capsys.readouterr().out


def test_pending_rows_get_their_score_are_printed_and_drawn(here: Path, server, capsys: pytest.CaptureFixture) -> None:
    append_score(FIRST)
    append_score(replace(FIRST, submission_ref=101, cv=None))
    put_submission(server.site, 100, "COMPLETE", "0.7123", "0.6611")
    put_submission(server.site, 101, "ERROR")
    scores.run(False)
    printed = capsys.readouterr().out
    assert "0.590 to 0.750" in printed and "0.7123" in printed and "0.6611" in printed
    assert "new: submission 100 is complete, public 0.7123" in printed
    assert [(one.status, one.public) for one in read_scores()] == [("complete", 0.7123), ("error", None)]
    assert scores.CHART.read_bytes().startswith(b"\x89PNG")


def test_json_is_one_object_with_every_row(here: Path, server, capsys: pytest.CaptureFixture) -> None:
    append_score(FIRST)
    put_submission(server.site, 100, "COMPLETE", "0.7")
    scores.run(True)
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and said["refreshed"] == [100] and said["scores"][0]["public"] == 0.7
    assert said["chart"] == "out/push/scores.png"


def test_an_unreachable_site_fails_only_while_a_score_is_waited_for(
    here: Path, server, capsys: pytest.CaptureFixture
) -> None:
    append_score(FIRST)
    server.fault("ListSubmissions", status=400, body={"message": "broken"}, times=99)
    with pytest.raises(CheckFailed):
        scores.run(False)
    assert "0.6800" in capsys.readouterr().out  # the table comes first
    with pytest.raises(SystemExit, match="1"):
        scores.run(True)
    assert not json.loads(capsys.readouterr().out)["ok"]
    append_score(replace(FIRST, status="complete", public=0.7))
    scores.run(False)
    assert "not refreshed" in capsys.readouterr().err


def test_offline_asks_nothing(here: Path, server, capsys: pytest.CaptureFixture) -> None:
    append_score(FIRST)
    scores.run(False, offline=True)
    assert server.names() == [] and "0.6800" in capsys.readouterr().out


def test_a_ledger_in_conflict_is_not_touched(here: Path, server) -> None:
    append_score(FIRST)
    LEDGER.write_text(conflict := LEDGER.read_text() + "<<<<<<< HEAD\n")
    with pytest.raises(CheckFailed, match="merge conflict"):
        scores.run(False)
    assert LEDGER.read_text() == conflict


def test_two_formulas_are_drawn_apart_and_a_row_without_score_is_left_out(here: Path, monkeypatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple] = []
    real = Axes.errorbar

    def errorbar(self, x, y, **options):
        drawn.append((x, y, options["xerr"], options["label"]))
        return real(self, x, y, **options)

    monkeypatch.setattr(Axes, "errorbar", errorbar)
    done = replace(FIRST, status="complete", public=0.7)
    other = replace(done, submission_ref=101, cv_formula="another", cv_low=None, cv_high=None)
    assert scores.draw([done, other, replace(FIRST, submission_ref=102)], Path("chart.png"))
    (one, two) = drawn
    assert one[:2] == ([0.68], [0.7]) and one[3] == "official" and two[3] == "another"
    assert np.allclose(one[2], [[0.09], [0.07]]) and np.allclose(two[2], 0)
    assert scores.draw([FIRST], Path("none.png")) is None and not Path("none.png").exists()


# The interval.


def random_scores(groups: int, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    group = np.repeat(np.arange(groups), images)
    truth = random.gamma(2, 10, (groups * images, 5))
    shift = random.normal(0, 6, (groups, 1))[group]  # every photograph of a visit errs alike
    return truth, np.clip(truth + shift + random.normal(0, 1, truth.shape), 0, None), group.astype(str)


def test_the_interval_holds_the_score_and_is_the_same_every_time() -> None:
    truth, predicted, groups = random_scores(30, 4)
    interval = group_bootstrap(truth, predicted, groups)
    assert interval and interval[0] < weighted_r2(truth, predicted) < interval[1]
    assert interval == group_bootstrap(truth, predicted, groups)


def test_drawing_groups_gives_a_wider_interval_than_drawing_photographs_that_err_alike() -> None:
    truth, predicted, groups = random_scores(20, 8)
    grouped = group_bootstrap(truth, predicted, groups)
    single = group_bootstrap(truth, predicted, np.arange(len(truth)).astype(str))
    assert grouped and single and grouped[1] - grouped[0] > 1.3 * (single[1] - single[0])


def test_one_group_has_no_interval() -> None:
    truth, predicted, _ = random_scores(2, 4)
    assert group_bootstrap(truth, predicted, np.array(["a"] * 8)) is None


def test_the_name_of_the_predictions_file_is_the_trainings() -> None:
    from build.push import cv
    from kernel_src.common import runs

    assert cv.OOF_FILE == runs.OOF_FILE


@pytest.fixture
def bundle(trained_run: Path, tmp_path: Path) -> Path:
    from build.bundle import make_bundle

    make_bundle(trained_run, tmp_path / "bundle", slug="i2b-tiny-weights" * 64)
    return tmp_path / "bundle"


def test_a_bundle_gives_cv_formula_folds_and_interval(bundle: Path, tiny_competition: Path) -> None:
    cv = cross_validation(bundle, [bundle / "no-such.csv", tiny_competition / "train.csv"])
    config = json.loads((bundle / "config.json").read_text())
    assert (cv.r2, cv.formula) == (config["oof"]["r2"], config["oof"]["formula"])
    assert cv.folds.startswith("2 of 2 group folds") and cv.low is not None and cv.high is not None
    assert cv.low < cv.high


def test_a_table_of_other_images_gives_no_interval(bundle: Path, tiny_competition: Path, tmp_path: Path) -> None:
    other = tmp_path / "train.csv"
    other.write_text((tiny_competition / "train.csv").read_text().replace("ID1000", "ID1"))
    assert oof_interval(bundle, "projection", [other]) is None


def test_an_interval_is_filled_in_later_from_the_very_bundle_only(bundle: Path, tiny_competition: Path) -> None:
    tables = [tiny_competition / "train.csv"]
    bare = replace(FIRST, cv_low=None, cv_high=None, bundle_sha256=sha256_of(bundle / "manifest.json"))
    assert with_interval(bare, [bundle], tables).cv_low is not None
    stranger = replace(bare, bundle_sha256="f" * 64)
    assert with_interval(stranger, [bundle], tables) == stranger
    assert with_interval(FIRST, [bundle], tables) == FIRST
