"""An adopted script goes through the doors that ours go through, up to its score."""

import csv
import json

import pytest

from tests.build.adopt.conftest import Kit
from tests.build.adopt.test_wheels import write_wheel
from tests.build.kaggle.desk import submission_csv
from tests.build.kaggle.site import Dataset

SLUG, KERNEL = "my-baseline", "kim/my-baseline"


@pytest.mark.full
def test_from_somebodys_script_to_a_scored_submission(kit: Kit, server, site) -> None:
    site.outputs = {SLUG: {"submission.csv": submission_csv("ID7", "ID8")}}
    kit.adopt("--gpu")
    kit.shell("check")
    done = kit.shell("push-inference", "--experiment", SLUG, "--message", "tonight")
    assert "yes, out/push/receipts/" in done.stdout and "submission 100: COMPLETE, public 0.71" in done.stdout
    assert site.summary()["kernels"] == {KERNEL: 1} and len(site.submissions) == 1
    (sent,) = site.kernels[KERNEL].versions
    assert "def means_of(table):" in sent["text"], "the module is in the notebook"
    report = json.loads((kit.folder / "out/rehearsals/my-baseline/report.json").read_text())
    assert report["ok"] and report["rerun"] and report["network_attempts"] == 0
    with (kit.folder / "docs/scores.csv").open() as handle:
        (row,) = [row for row in csv.DictReader(handle) if row["experiment"] == SLUG]
    assert row["public"] == "0.710000" and row["note"] == "tonight" and not row["cv"]

    again = kit.shell("push-inference", "--experiment", SLUG)
    assert "nothing left to do" in again.stdout and len(site.submissions) == 1
    status = kit.shell("status")
    (line,) = [line for line in status.stdout.splitlines() if line.startswith(SLUG)]
    assert "v1 COMPLETE" in line and "public 0.7100" in line

    edited = site.kernels[KERNEL].versions[-1]["text"].replace("sum(values) / len", "1.5 * sum(values) / len")
    site.edit_kernel(KERNEL, edited)
    pulled = kit.shell("pull-kernel", "--experiment", SLUG, "--yes")
    assert "changed     mylib/means.py" in pulled.stdout
    assert "1.5 * sum(values)" in (kit.foreign / "mylib/means.py").read_text(), "the edit is at home"


@pytest.mark.full
def test_a_script_that_leaves_weights_is_run_and_they_are_fetched(kit: Kit, server, site) -> None:
    (kit.foreign / "train.py").write_text('from pathlib import Path\n\nPath("model.txt").write_text("weights")\n')
    site.outputs = {SLUG: {"model.txt": b"weights"}}
    adopted = kit.adopt("--trains", "--competition", "")
    assert f"make push-training EXPERIMENT={SLUG}" in adopted.stdout
    rehearsed = kit.shell(
        "rehearse", "--experiment", SLUG, "--kernel", "train", "--data", str(kit.folder / "data/csiro-biomass")
    )
    assert "rehearsal ok" in rehearsed.stdout and "submission" not in rehearsed.stdout
    done = kit.shell("push-training", "--experiment", SLUG)
    assert (kit.folder / "out/push/outputs/my-baseline/v1/model.txt").read_text() == "weights"
    assert "make push-data DIR=out/push/outputs/my-baseline/v1 SLUG=my-baseline-weights" in done.stdout
    refused = kit.shell("push-inference", "--experiment", SLUG, code=2)
    assert "the door for it is push-training" in refused.stderr


@pytest.mark.full
def test_a_run_without_a_submission_is_said_here_before_anything_is_sent(kit: Kit, server, site) -> None:
    (kit.foreign / "train.py").write_text('print("done")\n')
    kit.adopt()
    refused = kit.shell("push-inference", "--experiment", SLUG, code=1)
    assert "ended without writing a submission" in refused.stderr and "write submission.csv to" in refused.stderr
    assert not site.kernels and not site.submissions


@pytest.mark.full
def test_ones_own_dataset_is_pushed_and_that_of_another_is_there_for_the_rehearsal(
    kit: Kit, server, site, make_folder
) -> None:
    site.outputs = {SLUG: {"submission.csv": submission_csv("ID7", "ID8")}}
    site.datasets["other/their-data"] = Dataset(
        "other", "their-data", "their data", "other", False, [{"gram.txt": b"2"}]
    )
    found = 'assert len([*Path("/kaggle/input/datasets").rglob("gram.txt")]) == 2\n'
    script = kit.foreign / "train.py"
    script.write_text(script.read_text().replace("folder = ", f"{found}folder = "))
    kit.adopt("--dataset", "own-data", "--dataset", "other/their-data")
    push = ("push-inference", "--experiment", SLUG)
    assert "no folder for own-data, which my-baseline attaches" in kit.shell(*push, code=2).stderr
    own = str(make_folder("own-data", {"gram.txt": b"1"}))
    refused = kit.shell(*push, "--weights", own, code=2)
    assert "nothing here to rehearse with for other/their-data" in refused.stderr
    theirs = str(make_folder("their-data", {"gram.txt": b"2"}))
    done = kit.shell(*push, "--weights", own, "--weights", theirs)
    assert "submission 100" in done.stdout and set(site.summary()["datasets"]) == {"kim/own-data", "other/their-data"}
    again = kit.shell(*push, "--weights", own)
    assert "nothing left to do" in again.stdout, "what lay here of another's dataset decides nothing"


@pytest.mark.full
def test_as_files_with_a_package_that_kaggle_lacks(kit: Kit, server, site, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    write_wheel(tmp_path / "index", "purely", "1.0")
    (kit.folder / "requirements.txt").write_text("purely\n")
    script = kit.foreign / "train.py"
    script.write_text(script.read_text().replace("import csv\n", "import csv\n\nimport purely\n", 1))
    site.outputs = {SLUG: {"submission.csv": submission_csv("ID7", "ID8")}}
    kit.adopt("--mode", "files", "--wheels", "requirements.txt")
    kit.shell("check")
    done = kit.shell("push-inference", "--experiment", SLUG)
    assert "submission 100: COMPLETE" in done.stdout and set(site.summary()["datasets"]) == {f"kim/{SLUG}-wheels"}
    (sent,) = site.kernels[KERNEL].versions
    assert "%%writefile mylib/means.py" in sent["text"]
    site.edit_kernel(KERNEL, sent["text"].replace("sum(values) / len", "1.5 * sum(values) / len"))
    pulled = kit.shell("pull-kernel", "--experiment", SLUG, "--yes")
    assert "+    means = {name: 1.5 * sum(values)" in pulled.stdout and "changed     mylib/means.py" in pulled.stdout
    assert "1.5 * sum(values)" in (kit.foreign / "mylib/means.py").read_text()
    assert kit.shell("sync", str(kit.notebook())).stdout.endswith("nothing to sync\n")
