"""A competition that nobody made a package for by hand: from its files to a scored rehearsal, lines by hand counted.

`make new` is given the files as they are. By hand the recipe is made tiny, so that this takes minutes on two cores; the
package as it was written trains just as well, and slower. All is done in a copy of the kit.
"""

import csv
import difflib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from tests.build.kaggle.desk import copy_kit
from tests.build.new.grades import SLUG, write_grades

NAME = "retina_grades"
MOST_LINES_BY_HAND = 40
TINY = (
    (
        'Encoder(timm="tf_efficientnet_lite0", weights="i2b-lite0-imagenet", freeze=FirstShare(0.1))',
        'Encoder(timm="test_efficientnet", freeze=FirstShare(0.1))',
    ),
    ("height_px=64, width_px=64", "height_px=32, width_px=32"),
    ("epochs=12, warmup=1", "epochs=2, warmup=1"),
)


def texts(kit: Path) -> dict[str, list[str]]:
    trees = (path for tree in ("build", "kernel_src") for path in sorted((kit / tree).rglob("*.py")))
    return {str(path.relative_to(kit)): path.read_text().splitlines() for path in trees}


def changed_lines(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, int]:
    """How many lines of each file are new or not as before."""
    counts = {}
    for name, lines in after.items():
        found = difflib.ndiff(before.get(name, []), lines)
        counts[name] = sum(line.startswith("+ ") for line in found)
    return {name: count for name, count in counts.items() if count}


def kit_does(kit: Path, *words: str) -> dict:
    """Run a command of the kit, and return what it says as JSON."""
    command = [sys.executable, "-m", "build", *words, "--json"]
    done = subprocess.run(command, cwd=kit, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return json.loads(done.stdout)


def column(path: Path, name: str) -> dict[str, int]:
    with path.open(newline="") as handle:
        return {row["id_code"]: int(row[name]) for row in csv.DictReader(handle)}


@pytest.mark.full
def test_a_third_competition_trains_rehearses_and_scores_with_few_lines_by_hand(tmp_path: Path) -> None:
    kit, data = copy_kit(tmp_path / "kit"), write_grades(tmp_path)
    untouched = texts(kit)
    new = kit_does(kit, "new", "--slug", SLUG, "--data", str(data), "--metric", "quadratic_kappa")
    assert (new["name"], new["kind"], new["metric"]) == (NAME, "ordinal", "quadratic_kappa")
    written = texts(kit)
    assert not [name for name in changed_lines(untouched, written) if name.startswith("build/")]

    recipe = kit / f"kernel_src/competitions/{NAME}/experiments.py"
    text = recipe.read_text()
    for old, tiny in TINY:
        assert text.count(old) == 1, old
        text = text.replace(old, tiny)
    recipe.write_text(text)
    by_hand = changed_lines(written, texts(kit))
    assert sum(by_hand.values()) == len(TINY) <= MOST_LINES_BY_HAND
    assert not [name for name in by_hand if name.startswith("build/")]

    kit_does(kit, "notebooks", "--experiment", NAME)
    training = kit_does(kit, "rehearse", "--experiment", NAME, "--kernel", "train", "--data", str(data))
    run = Path(training["out"]) / "working/run"
    config = json.loads((run / "config.json").read_text())
    assert (config["competition"], config["oof"]["metric"]) == (NAME, "quadratic kappa")
    with (run / "oof.csv").open(newline="") as handle:
        folds = {row["image_id"]: row["fold"] for row in csv.DictReader(handle)}
    with (data / "train.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    patients = {row["patient"]: set() for row in rows}
    for row in rows:
        patients[row["patient"]].add(folds[row["id_code"]])
    assert all(len(of_one) == 1 for of_one in patients.values()), "both eyes of a patient lie in one fold"

    kit_does(kit, "bundle", str(run), "--out", "out/bundles/third")
    words = ("--data", str(data), "--hidden", str(tmp_path / "hidden"), "--weights", "out/bundles/third")
    inference = kit_does(kit, "rehearse", "--experiment", NAME, "--rerun", *words)
    assert inference["ok"] and inference["submission"]["problems"] == []
    truth = column(tmp_path / "hidden/labels.csv", "diagnosis")
    answers = column(Path(inference["out"]) / "working/submission.csv", "diagnosis")
    assert list(answers) == list(truth) and set(answers.values()) <= set(range(5))
    script = (
        "import sys, json, numpy as np; from kernel_src.competitions.held_rules import rules;"
        "truth, answers = (np.array(one, float)[:, None] for one in json.load(sys.stdin));"
        f"print(rules({NAME!r}).score(truth, answers))"
    )
    pair = json.dumps([list(truth.values()), list(answers.values())])
    scored = subprocess.run(
        [sys.executable, "-c", script], cwd=kit, input=pair, capture_output=True, text=True, check=True
    )
    kappa = cohen_kappa_score(list(truth.values()), list(answers.values()), weights="quadratic")
    assert float(scored.stdout) == pytest.approx(kappa)
