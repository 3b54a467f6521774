"""An adopted script goes through the doors that ours go through, up to its score."""

import csv
import json

from tests.build.adopt.conftest import Kit
from tests.build.kaggle.desk import submission_csv

SLUG, KERNEL = "my-baseline", "kim/my-baseline"


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
