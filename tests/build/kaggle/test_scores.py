"""`make scores`: the ledger printed, refreshed from the site, drawn."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from build.core.errors import CheckFailed
from build.kaggle import scores
from build.report.command import scores_verb
from build.scores.cross_validation import cross_validation, with_interval
from build.scores.ledger import LEDGER, Score, append_score, read_scores
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.runtime.files import sha256_of

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
    scores_verb()
    assert "make push-inference" in capsys.readouterr().out


def test_pending_rows_get_their_score_are_printed_and_drawn(here: Path, server, capsys: pytest.CaptureFixture) -> None:
    append_score(FIRST)
    append_score(replace(FIRST, submission_ref=101, cv=None))
    put_submission(server.site, 100, "COMPLETE", "0.7123", "0.6611")
    put_submission(server.site, 101, "ERROR")
    scores_verb()
    printed = capsys.readouterr().out
    assert "0.590 to 0.750" in printed and "0.7123" in printed and "0.6611" in printed
    assert "new: submission 100 is complete, public 0.7123" in printed
    assert [(one.status, one.public) for one in read_scores()] == [("complete", 0.7123), ("error", None)]
    page = scores.CHART.read_text()
    assert "demo: CV 0.680, public 0.712" in page and "0.590 to 0.750" in page and "http" not in page


def test_json_is_one_object_with_every_row(here: Path, server, capsys: pytest.CaptureFixture) -> None:
    append_score(FIRST)
    put_submission(server.site, 100, "COMPLETE", "0.7")
    scores_verb(as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and said["refreshed"] == [100] and said["scores"][0]["public"] == 0.7
    assert said["chart"] == "out/push/scores.html"


def test_an_unreachable_site_fails_only_while_a_score_is_waited_for(
    here: Path, server, capsys: pytest.CaptureFixture
) -> None:
    append_score(FIRST)
    server.fault("ListSubmissions", status=400, body={"message": "broken"}, times=99)
    with pytest.raises(CheckFailed):
        scores_verb()
    assert "0.6800" in capsys.readouterr().out  # the table comes first
    with pytest.raises(SystemExit, match="1"):
        scores_verb(as_json=True)
    assert not json.loads(capsys.readouterr().out)["ok"]
    append_score(replace(FIRST, status="complete", public=0.7))
    scores_verb()
    assert "not refreshed" in capsys.readouterr().err


def test_offline_asks_nothing(here: Path, server, capsys: pytest.CaptureFixture) -> None:
    append_score(FIRST)
    scores_verb(offline=True)
    assert server.names() == [] and "0.6800" in capsys.readouterr().out


def test_a_ledger_in_conflict_is_not_touched(here: Path, server) -> None:
    append_score(FIRST)
    LEDGER.write_text(conflict := LEDGER.read_text() + "<<<<<<< HEAD\n")
    with pytest.raises(CheckFailed, match="merge conflict"):
        scores_verb()
    assert LEDGER.read_text() == conflict


def test_a_row_without_score_makes_no_page(here: Path) -> None:
    assert scores.draw([FIRST], Path("none.html")) is None and not Path("none.html").exists()


# The interval.


def test_the_name_of_the_predictions_file_is_the_trainings() -> None:
    from build.scores import cross_validation
    from kernel_src.training import runs

    assert cross_validation.OOF_FILE == runs.OOF_FILE


@pytest.fixture
def bundle(trained_run: Path, tmp_path: Path) -> Path:
    from build.weights.bundle import make_bundle

    make_bundle(trained_run, tmp_path / "bundle", slug="i2b-tiny-weights")
    return tmp_path / "bundle"


def test_a_bundle_gives_cv_formula_folds_and_interval(bundle: Path, tiny_competition: Path) -> None:
    cv = cross_validation(bundle, [bundle / "no-such.csv", tiny_competition / "train.csv"])
    config = json.loads((bundle / "config.json").read_text())
    assert (cv.r2, cv.formula) == (config["oof"]["score"], config["oof"]["formula"])
    assert cv.folds.startswith("2 of 2 folds by GroupSplit") and cv.low is not None and cv.high is not None
    assert cv.low < cv.r2 < cv.high and cv.groups == 7
    assert list(cv.floors) == ["each target's mean", "mean of the other groups", "true mean of each group"]


def test_its_interval_is_the_one_that_compare_gives(bundle: Path, tiny_competition: Path) -> None:
    """The ledger once had a percentile bootstrap of its own, which held .855 of the truths where .95 was meant."""
    from build.scores.comparison import compare_files
    from kernel_src.competitions.biomass.constraints import constrain
    from kernel_src.competitions.biomass.tables import target_array

    table = tiny_competition / "train.csv"
    oof = pd.read_csv(bundle / "oof.csv", dtype={"image_id": str})
    oof[list(TARGETS)] = constrain(target_array(oof), "projection")
    oof.to_csv(bundle / "constrained.csv", index=False)
    (model,) = compare_files([str(bundle / "constrained.csv")], table).models
    cv = cross_validation(bundle, [table])
    assert (cv.r2, cv.low, cv.high) == pytest.approx((model.estimate, model.low, model.high))


def test_a_table_of_other_images_gives_no_interval(bundle: Path, tiny_competition: Path, tmp_path: Path) -> None:
    other = tmp_path / "train.csv"
    other.write_text((tiny_competition / "train.csv").read_text().replace("ID1000", "ID1"))
    cv = cross_validation(bundle, [other])
    assert cv.low is None and cv.groups is None and not cv.floors and cv.r2


def test_an_interval_is_filled_in_later_from_the_very_bundle_only(bundle: Path, tiny_competition: Path) -> None:
    tables = [tiny_competition / "train.csv"]
    bare = replace(FIRST, cv_low=None, cv_high=None, bundle_sha256=sha256_of(bundle / "manifest.json"))
    assert with_interval(bare, [bundle], tables).cv_low is not None
    stranger = replace(bare, bundle_sha256="f" * 64)
    assert with_interval(stranger, [bundle], tables) == stranger
    assert with_interval(FIRST, [bundle], tables) == FIRST
