"""The demo of any competition: its score of the hidden test, its floors with the metric's direction, its whole path."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from build.demo.leaf import write_leaf
from build.demo.paws import write_paws
from build.run.small_demo import broken_promises, demo_experiments, last_words, read_submission, score
from kernel_src.competition.choice import choose_competition
from kernel_src.competition.facts import read_named_rows
from kernel_src.competitions.held_rules import rules
from tests.build.kaggle.desk import copy_kit

ROOT = Path(__file__).resolve().parents[3]


def finished(out: Path, rows: list[list[str]]) -> Path:
    """Leave a submission and a bundle's score where the demo leaves them; return the bundle."""
    working = out / "rehearsal/working"
    working.mkdir(parents=True)
    (working / "submission.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    (out / "bundle").mkdir()
    (out / "bundle/config.json").write_text(json.dumps({"oof": {"score": 0.5}}))
    return out / "bundle"


def test_three_of_four_right_labels_are_an_accuracy_of_three_quarters_with_an_interval(tmp_path: Path) -> None:
    choose_competition("leaf")
    write_leaf(tmp_path, train_images=12, hidden_images=4)
    _, rows = read_named_rows(tmp_path / "hidden/labels.csv")
    wrong = str((int(rows[0]["label"]) + 1) % 10)
    named = [[row["image_id"], row["label"]] for row in rows]
    found = score(tmp_path, finished(tmp_path, [["image_id", "label"], [named[0][0], wrong], *named[1:]]))
    assert found["hidden_score"] == 0.75 and found["images"] == {"train": 12, "hidden": 4}
    low, high = found["hidden_interval"]
    assert low < 0.75 < high


def test_predictions_five_points_too_high_are_an_rmse_of_five(tmp_path: Path) -> None:
    choose_competition("paws")
    write_paws(tmp_path, train_images=12, hidden_images=4)
    _, rows = read_named_rows(tmp_path / "hidden/labels.csv")
    named = [[row["Id"], f"{float(row['Pawpularity']) + 5}"] for row in rows]
    bundle = finished(tmp_path, [["Id", "Pawpularity"], *reversed(named)])  # the order of the rows does not matter
    assert score(tmp_path, bundle)["hidden_score"] == pytest.approx(5.0)


def test_a_label_is_certain_of_its_class(tmp_path: Path) -> None:
    choose_competition("leaf")
    (tmp_path / "s.csv").write_text("image_id,label\na,2\nb,0\n")
    assert read_submission(tmp_path / "s.csv", ["b", "a"]).argmax(1).tolist() == [0, 2]


@pytest.mark.parametrize(("name", "good", "bad"), [("leaf", 0.9, 0.1), ("paws", 9.0, 20.0)])
def test_a_network_must_be_better_than_every_floor_whichever_way_the_metric_points(
    name: str, good: float, bad: float
) -> None:
    choose_competition(name)
    floors = {"the mean of all": 0.2 if rules().metric.higher_is_better else 15.0}
    assert broken_promises({"oof_score": good, "hidden_score": good, "floors": floors}) == []
    (problem,) = broken_promises({"oof_score": good, "hidden_score": bad, "floors": floors})
    assert "hidden_score" in problem.what and "no better than the floor" in problem.what


@pytest.mark.parametrize(("name", "names"), [("leaf", ["leaf", "leaf_small"]), ("paws", ["paws", "paws_picture"])])
def test_two_experiments_are_compared(name: str, names: list[str]) -> None:
    choose_competition(name)
    assert demo_experiments() == names


def test_the_last_words_name_the_metric_the_interval_and_what_was_decided() -> None:
    pair = {"a": "paws", "b": "paws_picture", "difference": -2.0, "low": -3.0, "high": -1.0}
    result = {"metric": "RMSE", "oof_score": 9.0, "hidden_score": 9.5, "hidden_interval": [8.0, 11.0]}
    result |= {"floors": {"the mean of all": 15.0}, "seconds": 100.0, "peak_rss_gb": 2.0}
    assert last_words({**result, "compare": pair, "blend": "mean"}).splitlines() == [
        "out-of-fold RMSE 9.000, hidden 9.500 [8.000, 11.000]; the mean of all 15.000; 100 s, 2.0 GB",
        "compare: paws_picture against paws -2.000 [-3.000, -1.000]; blend: mean",
    ]


@pytest.mark.full
@pytest.mark.parametrize("name", ["leaf", "paws"])
def test_from_raw_files_to_a_scored_hidden_test_a_report_a_comparison_and_a_blend(name: str, tmp_path: Path) -> None:
    kit = copy_kit(tmp_path / "kit")
    command = [sys.executable, "-m", "build", "demo", "--competition", name, "--json"]
    done = subprocess.run(command, cwd=kit, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    out = kit / "out/demo" / name
    assert said == json.loads((out / "summary.json").read_text())
    assert json.loads((out / "rehearsal/report.json").read_text())["ok"]
    assert said["compare"] and said["blend"] and len(said["experiments"]) == 2
    page = (out / "index.html").read_text()
    assert said["metric"] in page and "grams" not in page
