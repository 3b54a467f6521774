"""The preflight kernel, run as the notebook that is pushed."""

import json
from pathlib import Path

import numpy
import pytest

from build.kaggle.preflight_report import read_seen
from tests.kernel_src.kernels.running import lay_out_kaggle, run_notebook, run_script

pytestmark = pytest.mark.full

SECRET = "value-of-a-secret-8571"
ASSUMED = {"numpy": numpy.__version__, "timm": "0.0.1", "no_such_package": "1.0", "cv2": ""}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, tiny_competition: Path) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("preflight")
    kaggle = lay_out_kaggle(home, tiny_competition, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLE_USER_SECRETS_TOKEN", SECRET)
        parameters = {"ASSUMED": ASSUMED, "NETWORKS": [["test_efficientnet", 64, 64, 2]], "EACH_S": 0.1, "PRINT_S": 1}
        printed = run_notebook("preflight", parameters, kaggle, home / "scratch")
    return home, printed


@pytest.fixture(scope="module")
def report(ran: tuple[Path, str]) -> dict:
    return json.loads((ran[0] / "kaggle/working/preflight.json").read_text())


def test_versions_mounts_machine_and_variable_names_are_reported(report: dict) -> None:
    assert report["versions"]["numpy"] == {"numpy": numpy.__version__}
    assert report["versions"]["no_such_package"] == {}
    assert report["installed"]["papermill"]
    assert (report["mounts"]["layout"], report["mounts"]["competition"]) == ("new", "competitions/csiro-biomass")
    assert report["machine"]["cpus"] >= 1 and report["machine"]["memory_gb"] > 0
    assert report["machine"]["device"]["kind"] in ("cpu", "cuda")
    assert "KAGGLE_USER_SECRETS_TOKEN" in report["environment"]


def test_what_differs_from_the_assumptions_is_marked_in_what_it_prints(ran: tuple[Path, str]) -> None:
    lines = {line.split()[0]: line for line in ran[1].splitlines() if line.split()}
    assert "differs" in lines["timm"] and "differs" in lines["no_such_package"]
    assert "differs" not in lines["numpy"] and "differs" not in lines["cv2"]


def test_the_value_of_a_variable_is_nowhere(ran: tuple[Path, str]) -> None:
    written = [path for path in ran[0].rglob("*") if path.is_file() and not path.is_symlink()]
    assert {path.name for path in written} >= {"preflight.json", "preflight.executed.ipynb"}
    for path in written:
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in ran[1]


def test_its_report_is_one_that_can_be_accepted(report: dict) -> None:
    assert read_seen(report, "preflight.json").versions["numpy"] == numpy.__version__


def test_a_competition_that_is_not_attached_is_reported_not_fatal(tmp_path: Path) -> None:
    for folder in ("input", "working"):
        (tmp_path / "kaggle" / folder).mkdir(parents=True)
    run_script("preflight", {"ASSUMED": ASSUMED}, tmp_path, tmp_path / "scratch")
    mounts = json.loads((tmp_path / "kaggle/working/preflight.json").read_text())["mounts"]
    assert mounts["layout"] == "missing" and "Add Input" in mounts["fault"]


def test_a_network_is_timed_and_its_arithmetic_counted(report: dict) -> None:
    (timed,) = report["speed"]
    assert (timed["network"], timed["size_px"], timed["batch"]) == ("test_efficientnet", [64, 64], 2)
    assert timed["flops"] > 10**6 and min(timed[name] for name in ("forward_per_s", "train_per_s")) > 0
    assert timed["together_per_s"] > 0 and timed["train_gb"] is None  # of the CPU


def test_lines_are_printed_for_whoever_reads_the_log(ran: tuple[Path, str]) -> None:
    assert "second 0 of 1" in ran[1]
