"""A notebook that is right: what a rehearsal gives it, what it reports, and what it leaves behind."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from build.core.errors import CheckFailed, UsageError
from build.run.command import rehearse_verb
from build.run.mock import tree_sha256
from build.run.rehearse import rehearse
from tests.build.run.rehearse.toys import WRITE, make_bundle, make_competition, make_notebook, rehearse_toy
from tests.build.typing_in import type_in

ROOT = Path(__file__).parents[4]
LOOK_AROUND = """
import time
import urllib.request
names = sorted(str(p.relative_to(ROOT / "input")) for p in (ROOT / "input").iterdir())
Path("seen.json").write_text(json.dumps({"cwd": os.getcwd(), "env": dict(os.environ), "input": names}))
time.sleep(0.5)
"""
USE_LOOPBACK = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(("localhost", server.getsockname()[1])).close()
"""
REPORT = 'Path("inference_report.json").write_text(json.dumps({"images": 2, "predict_seconds": 1.0}))'


def test_a_good_notebook_passes_and_the_report_has_every_figure(
    tmp_path: Path, isolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "MY_SECRET", "PYTHONPATH"):
        monkeypatch.setenv(name, "do-not-pass-on")
    data = make_competition(tmp_path / "data", test=2)
    before = tree_sha256(data)
    weights = [make_bundle(tmp_path / "bundle")]
    cells = [LOOK_AROUND, USE_LOOPBACK, REPORT, WRITE]
    report = rehearse_toy(tmp_path, cells, data=data, weights=weights, isolation=isolation, layout="legacy")
    out = tmp_path / "out"
    assert report.ok and report.problems == () and report.failure is None
    assert report.edited, "no build has sealed this one"
    assert report.submission and (report.submission.rows, report.submission.valid) == (10, True)
    assert report.network_attempts == 0, "Jupyter's loopback and the notebook's own are not the network"
    assert report.images == 2 and 0.05 < report.peak_rss_gb < 4 and 0.5 < report.seconds < 60
    assert len(report.cell_seconds) == 5 and 0.5 <= report.cell_seconds[1].seconds < 5
    assert report.cell_seconds[1].source == "kernel_src/data/toy.py"
    # one second of prediction for two images is 400 s for 800, on top of what is fixed
    assert report.projected_seconds_800 == pytest.approx(400 + report.seconds - 1, abs=0.2)
    written = json.loads((out / "report.json").read_text())
    assert written == json.loads(json.dumps(report.as_json())) and written["ok"] is True
    expected = ("guard", "hashed before and after") if isolation == "guard" else ("namespace", "read-only mount")
    assert (report.isolation["network"], report.isolation["input"]) == expected

    seen = json.loads((out / "working" / "seen.json").read_text())
    assert seen["env"]["KAGGLE_KERNEL_RUN_TYPE"] == "Batch"
    assert "KAGGLE_IS_COMPETITION_RERUN" not in seen["env"] and "HF_HUB_OFFLINE" not in seen["env"]
    assert "do-not-pass-on" not in seen["env"].values()
    assert seen["env"]["HOME"] != os.environ["HOME"] and not Path(seen["env"]["HOME"]).exists()
    assert seen["input"] == ["csiro-biomass", "i2b-toy-weights"]
    if isolation != "guard":
        assert seen["cwd"] == "/kaggle/working"

    left = {path.name for path in out.iterdir()}
    assert left == {"i2b-toy-infer.executed.ipynb", "i2b-toy-infer.html", "report.json", "working"}
    html = (out / "i2b-toy-infer.html").read_text()
    assert "It does one thing." in html
    assert not re.findall(r"""(?:src|href)=["']https?://|@import|importScripts|from ["']https?://""", html)
    assert tree_sha256(data) == before
    assert "i2b-rehearsal-" not in Path("/proc/self/mountinfo").read_text()


def test_a_rerun_has_its_variable_and_a_test_of_another_size(tmp_path: Path) -> None:
    hidden = make_competition(tmp_path / "hidden", test=3, prefix="ID99")
    cells = ['assert os.environ["KAGGLE_IS_COMPETITION_RERUN"] == "1" and len(IDS) == 15', WRITE]
    report = rehearse_toy(tmp_path, cells, rerun=True, hidden=hidden)
    assert report.ok and report.rerun and report.images == 3
    assert report.submission and report.submission.rows == 15


def test_a_training_must_leave_a_training_run_and_no_submission(tmp_path: Path) -> None:
    report = rehearse_toy(tmp_path / "without", ["print(1)"], slug="i2b-toy-train")
    assert report.submission is None and report.images == 3 and report.projected_seconds_800 is None
    assert [problem.what for problem in report.problems] == [
        "the training ended without /kaggle/working/run/config.json"
    ]
    cell = 'Path("run").mkdir(); Path("run/config.json").write_text("{}")'
    report = rehearse_toy(tmp_path / "with", [cell], slug="i2b-toy-train")
    assert report.ok and (tmp_path / "with/out/working/run/config.json").is_file()


def test_only_what_the_metadata_lists_can_be_mounted(tmp_path: Path) -> None:
    data = make_competition(tmp_path / "data")
    notebook = make_notebook(tmp_path / "n", [WRITE], datasets=["i2b-listed"], kernel_sources=["OWNER/other"])
    given = make_bundle(tmp_path / "bundle", slug="i2b-given")
    with pytest.raises(CheckFailed) as failed:
        rehearse(notebook, data=data, weights=[given], out=tmp_path / "out")
    text = str(failed.value)
    assert len(failed.value.problems) == 3, text
    assert (
        f"{notebook.with_name('kernel-metadata.json')}: no folder for the dataset i2b-listed, which is listed" in text
    )
    assert "(given: i2b-given) → give --weights DIR" in text and "'i2b-given'" in text and "would not mount it" in text
    assert "OWNER/other" in text and "carry it in a dataset" in text


def test_what_cannot_be_meant_is_refused_with_what_to_type(tmp_path: Path) -> None:
    data, out = make_competition(tmp_path / "data"), tmp_path / "out"
    with pytest.raises(UsageError, match="make build"):
        rehearse(tmp_path / "no.ipynb", data=data, out=out)
    notebook = make_notebook(tmp_path / "n", [WRITE])
    with pytest.raises(UsageError, match="--weights"):
        rehearse(notebook, data=data, weights=[tmp_path / "nowhere"], out=out)
    with pytest.raises(UsageError, match="auto, bubblewrap, namespace or guard"):
        rehearse(notebook, data=data, out=out, isolation="none")
    (notebook.parent / "kernel-metadata.json").unlink()
    with pytest.raises(UsageError, match="make build"):
        rehearse(notebook, data=data, out=out)


def test_the_verb_prints_progress_then_the_result_and_exits_0_1_or_2(tmp_path: Path) -> None:
    make_competition(tmp_path / "data")
    slow = "import time\ntime.sleep(0.6)"
    make_notebook(tmp_path / "notebooks" / "i2b-toy-infer", [slow, WRITE])
    make_notebook(tmp_path / "notebooks" / "i2b-bad-infer", ["1 / 0"], slug="i2b-bad-infer")
    good = type_in(*"rehearse --experiment toy --data data --out out/good".split(), folder=tmp_path)
    lines = good.stdout.splitlines()
    assert good.returncode == 0 and lines[0].startswith("i2b-toy-infer: csiro-biomass")
    assert lines[1].startswith("  i2b-toy-infer.ipynb differs from its build"), "no build has sealed this one"
    assert lines[2].startswith("  In[2]") and "In[1]" not in good.stdout, "only cells that took time are told of"
    assert lines[-1].startswith("rehearsal ok (")
    assert lines[-1].endswith(str(tmp_path / "out" / "good" / "report.json"))
    bad = type_in(*"rehearse --experiment bad --data data --out out/bad --json".split(), folder=tmp_path)
    printed = json.loads(bad.stdout)
    assert bad.returncode == 1 and printed == json.loads((tmp_path / "out/bad/report.json").read_text())
    assert printed["ok"] is False and printed["failure"]["error"] == "ZeroDivisionError: division by zero"
    none = type_in(*"rehearse --experiment none --data data".split(), folder=tmp_path)
    assert none.returncode == 2 and "no experiment 'none'; there are demo, " in none.stderr


@pytest.mark.parametrize("wrong", [{"limit_s": -1.0}, {"memory_gb": 0.0}])
def test_an_option_that_means_nothing_is_refused_by_name(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
        rehearse_verb(experiment="toy", data=tmp_path, out=tmp_path, **wrong)


@pytest.mark.parametrize("wrong", ["--device tpu", "--layout flat"])
def test_a_choice_that_there_is_not_is_refused_by_name(tmp_path: Path, wrong: str) -> None:
    done = type_in(*f"rehearse --experiment toy --data data {wrong}".split(), folder=tmp_path)
    assert done.returncode == 2 and f"'{wrong.split()[0]}'" in done.stderr


def test_a_failing_rehearsal_is_told_in_lines_that_end_with_where_to_look(tmp_path: Path) -> None:
    report = rehearse_toy(tmp_path, ["print('so far')\n1 / 0"])
    lines = report.as_lines()
    assert "failing cell: In[2] “A toy”, at kernel_src/data/toy.py:102" in lines and "    so far" in lines
    assert sum("ZeroDivisionError: division by zero" in line for line in lines) == 2, "the traceback and the problem"
    assert lines[-1].startswith("rehearsal failed: 1 problem") and lines[-1].endswith("report.json")
