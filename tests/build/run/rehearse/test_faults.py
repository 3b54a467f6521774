"""Each fault of the issue, put into a notebook that is really executed, is caught and its message names the cure."""

from pathlib import Path

import pytest

from build.run.mock import tree_sha256
from tests.build.run.rehearse.toys import WRITE, find_problem, make_bundle, make_competition, rehearse_toy

FETCH = "import urllib.request\n\ndef fetch():\n    return urllib.request.urlopen('http://example.com/weights')"
SWALLOW = """
import socket
try:
    socket.create_connection(("1.1.1.1", 443), timeout=1)
except OSError:
    pass
"""
FETCH_BY_PIP = """
import subprocess, sys
try:
    subprocess.run([sys.executable, "-m", "pip", "download", "--retries", "0", "six"], check=False)
except OSError:
    pass
"""
LOAD = """
bundle = next(p.parent for p in (ROOT / "input").rglob("manifest.json"))
for name, digest in json.loads((bundle / "manifest.json").read_text())["files"].items():
    if hashlib.sha256((bundle / name).read_bytes()).hexdigest() != digest:
        raise ValueError(f"{name}: its sha256 is not the one in manifest.json")
"""


def test_a_network_call_fails_and_is_shown_with_its_source_line(tmp_path: Path, isolation: str) -> None:
    report = rehearse_toy(tmp_path, [FETCH, "print('fetching')\nfetch()", WRITE], isolation=isolation)
    assert report.network_attempts == 1 and report.network[0].target == "example.com:80"
    assert report.network[0].source == "kernel_src/data/toy.py:104"
    problem = find_problem(report, "tried to reach example.com:80")
    assert problem.where == "kernel_src/data/toy.py:104" and "dataset" in problem.cure
    assert "network" in find_problem(report, "URLError").cure
    assert report.failure and report.failure.cell == 3 and report.failure.last_lines == ("fetching",)
    frames = "\n".join(report.failure.traceback)
    assert "kernel_src/data/toy.py:202 (cell In[3], line 2)" in frames, "the call"
    assert "kernel_src/data/toy.py:104 (cell In[2], line 4)" in frames, "the function that was called"
    assert "In[3]" in report.failure.as_text() and "fetching" in report.failure.as_text()


def test_a_swallowed_network_call_fails_the_rehearsal_all_the_same(tmp_path: Path, isolation: str) -> None:
    report = rehearse_toy(tmp_path, [SWALLOW, WRITE], isolation=isolation)
    assert report.failure is None and report.submission and report.submission.valid
    assert not report.ok and report.network_attempts == 1
    problem = find_problem(report, "tried to reach 1.1.1.1:443")
    assert problem.where == "kernel_src/data/toy.py:104" and "/kaggle/input" in problem.cure


def test_a_program_that_goes_to_the_network_by_itself_is_caught(tmp_path: Path, isolation: str) -> None:
    report = rehearse_toy(tmp_path, [FETCH_BY_PIP, WRITE], isolation=isolation)
    assert find_problem(report, "pip download --retries 0 six").where == "kernel_src/data/toy.py:104"


def test_packets_of_a_program_nobody_listed_are_counted_by_the_namespace(tmp_path: Path, namespaces: str) -> None:
    cell = "import subprocess\nsubprocess.run(['bash', '-c', 'exec 3<>/dev/tcp/1.1.1.1/80'], check=False)"
    report = rehearse_toy(tmp_path, [cell, WRITE], isolation=namespaces)
    assert report.network_attempts == 1 and "not from Python" in find_problem(report, "tried to reach").what


def test_a_write_to_the_input_fails_and_the_originals_stay_as_they_were(tmp_path: Path, namespaces: str) -> None:
    data = make_competition(tmp_path / "data")
    before = tree_sha256(data)
    remount = "import subprocess\nsubprocess.run(['mount', '-o', 'remount,rw,bind', str(ROOT / 'input')], check=False)"
    cells = [remount, "(COMPETITION / 'test.csv').write_text('x')"]  # not even root can make it writable
    report = rehearse_toy(tmp_path, cells, data=data, isolation=namespaces)
    problem = find_problem(report, "Read-only file system")
    assert problem.where == "kernel_src/data/toy.py:201" and "write to /kaggle/working" in problem.cure
    assert tree_sha256(data) == before


def test_without_mounts_a_write_to_the_input_is_found_afterwards(tmp_path: Path) -> None:
    data = make_competition(tmp_path / "data")
    before = tree_sha256(data)
    cell = """
for path in [COMPETITION, *COMPETITION.iterdir()]:
    path.chmod(0o755)
(COMPETITION / "cache.bin").write_text("x")
(COMPETITION / "train.csv").write_text("x")
"""
    report = rehearse_toy(tmp_path, [cell, WRITE], data=data, isolation="guard")
    what = find_problem(report, "changed /kaggle/input")
    assert "new competitions/csiro-biomass/cache.bin" in what.what and "write to /kaggle/working" in what.cure
    assert "changed competitions/csiro-biomass/train.csv" in what.what
    assert tree_sha256(data) == before


def test_a_hard_coded_row_count_passes_in_public_and_fails_in_the_rerun(tmp_path: Path) -> None:
    data = make_competition(tmp_path / "data", train=4, test=2)
    cells = ["rows = IDS[:10]", "write(rows)"]
    assert rehearse_toy(tmp_path / "public", cells, data=data).ok
    report = rehearse_toy(tmp_path / "rerun", cells, data=data, rerun=True)
    assert report.images == 4 and "4 train images" in report.notes[0]
    assert "never hard-code" in find_problem(report, "10 rows of the sample submission are missing").cure


@pytest.mark.full
def test_a_shape_that_only_fits_the_public_test_fails_in_the_rerun_with_that_cure(tmp_path: Path) -> None:
    report = rehearse_toy(tmp_path, ["if len(IDS) != 5:\n    raise ValueError('cannot reshape')", WRITE], rerun=True)
    assert "never hard-code" in find_problem(report, "cannot reshape").cure


def test_a_missing_weight_file_is_named_with_the_cure(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / "fold0.bin").unlink()
    report = rehearse_toy(tmp_path, [LOAD, WRITE], weights=[bundle])
    problem = find_problem(report, "FileNotFoundError")
    assert "fold0.bin" in problem.what and "attach the dataset" in problem.cure and "bundle it again" in problem.cure
    assert problem.where == "kernel_src/data/toy.py:104"


@pytest.mark.full
def test_a_flipped_weight_byte_is_named_with_the_cure(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    content = bytearray((bundle / "fold0.bin").read_bytes())
    content[3] ^= 1
    (bundle / "fold0.bin").write_bytes(content)
    report = rehearse_toy(tmp_path, [LOAD, WRITE], weights=[bundle])
    assert "bundle the training run again" in find_problem(report, "fold0.bin: its sha256").cure


@pytest.mark.full
def test_the_time_limit_ends_the_run_and_names_the_line_it_was_at(tmp_path: Path, isolation: str) -> None:
    cell = "import time\nprint('epoch 1')\ntime.sleep(600)"
    report = rehearse_toy(tmp_path, ["print('earlier')", cell, WRITE], limit_s=5.0, isolation=isolation)
    problem = find_problem(report, "time limit of 5 s exceeded in cell In[3]")
    assert problem.where == "kernel_src/data/toy.py:203" and "fewer folds" in problem.cure
    assert 5 <= report.seconds < 15 and "--limit-s" in problem.cure
    assert report.failure and report.failure.last_lines == ("epoch 1",)
    assert (tmp_path / "out" / "i2b-toy-infer.executed.ipynb").is_file()
    assert (tmp_path / "out" / "i2b-toy-infer.html").is_file()


@pytest.mark.full
def test_the_memory_limit_ends_the_run(tmp_path: Path, isolation: str) -> None:
    cell = "import time\nhoard = [bytearray(b'x' * 2**20) for _ in range(600)]\ntime.sleep(600)"
    report = rehearse_toy(tmp_path, [cell, WRITE], memory_gb=0.4, isolation=isolation)
    problem = find_problem(report, "memory limit of 0.4 GB exceeded in cell In[2]")
    assert "smaller batch" in problem.cure and report.peak_rss_gb > 0.4


@pytest.mark.full
def test_a_kernel_that_is_killed_without_a_word_is_said_to_have_been(tmp_path: Path) -> None:
    report = rehearse_toy(tmp_path, ["print('before')\nos.kill(os.getpid(), 9)", WRITE])
    problem = find_problem(report, "the kernel was killed without a message in cell In[2]")
    assert "out of memory?" in problem.what and problem.cure
    assert report.failure and report.failure.kind == "killed" and report.submission is None


def test_a_crash_in_compiled_code_is_shown_with_its_line(tmp_path: Path) -> None:
    report = rehearse_toy(tmp_path, ["import ctypes\nctypes.string_at(8)", WRITE])
    assert find_problem(report, "the kernel was killed").where == "kernel_src/data/toy.py:102"


def test_a_nan_prediction_is_caught(tmp_path: Path) -> None:
    report = rehearse_toy(tmp_path, ["write(IDS, lambda name: float('nan') if 'GDM' in name else 1.0)"])
    assert "fp16 overflow" in find_problem(report, "not finite").cure
    assert report.submission and not report.submission.valid and report.submission.rows == 5


@pytest.mark.full
def test_a_missing_sample_id_is_caught(tmp_path: Path) -> None:
    report = rehearse_toy(tmp_path, ["write(IDS[1:])"])
    assert "every id of the test" in find_problem(report, "1 rows of the sample submission are missing").cure


def test_a_missing_submission_is_caught(tmp_path: Path) -> None:
    report = rehearse_toy(tmp_path, ["print('forgot')"])
    assert "fallback" in find_problem(report, "/kaggle/working/submission.csv does not exist").cure


@pytest.mark.full
@pytest.mark.parametrize("seconds", [2.0, 60.0])
def test_a_plan_fits_if_800_images_stay_below_kaggles_limit(tmp_path: Path, seconds: float) -> None:
    said = f'{{"images": 1, "predict_seconds": {seconds}, "device": {{"kind": "cpu", "reason": "no sm_60"}}}}'
    cell = f"Path('inference_report.json').write_text('''{said}''')"
    report = rehearse_toy(tmp_path, [cell, WRITE], device="p100")
    assert report.device == {"rehearsed": "p100", "kind": "cpu", "reason": "no sm_60"}
    assert report.ok is (seconds == 2.0)
    if seconds == 60.0:
        assert "NvidiaTeslaT4" in find_problem(report, "Kaggle allows 32400 s").cure


@pytest.mark.full
def test_what_only_a_rerun_lives_through_stands_against_the_notebook(tmp_path: Path) -> None:
    """Else weights that cannot be read would score the training means on Kaggle, and the rehearsal would be green."""
    noted = {"part": "device", "what": "no kernels for sm_60", "fallback": "the CPU", "ids": [], "contained": False}
    lived = {"part": "fold", "what": "fold_0 has no head", "fallback": "the other folds", "ids": [], "contained": True}
    say = "Path('inference_report.json').write_text(json.dumps({'faults': %s}))"
    assert rehearse_toy(tmp_path / "noted", [say % [noted], WRITE], rerun=True).ok
    report = rehearse_toy(tmp_path / "lived", [say % [noted, lived], WRITE], rerun=True)
    (problem,) = report.problems
    assert "fold_0 has no head → the other folds" in problem.what and "before you submit" in problem.cure
