"""Credentials stay where they are: a marker is planted as key or token, and everything written is searched for it.

Searched are stdout and stderr, every file of the desk, the home and the scratch folder (but the planted file itself),
and the command line of every process while a flow runs. The site is hostile at times: it echoes what it was sent.
"""

import ast
import base64
import contextlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.notebooks.builder import ROOT
from tests.build.kaggle.desk import Desk, set_desk, submission_csv
from tests.build.kaggle.mishaps import TRACEBACK
from tests.build.run.rehearse.toys import rehearse_toy

MARKER = "marker7f3c91d2e8a04b56c1d7e9f0a2b4c6d8"
BASIC = base64.b64encode(f"kim:{MARKER}".encode()).decode()
TRACES = (MARKER, BASIC, MARKER[4:28])  # also a part of it, were it shortened
WATCH_S = 0.01
FLOWS = ("scores", "status", "doctor")


@pytest.fixture(scope="session")
def clean_desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return set_desk(tmp_path_factory.mktemp("desk") / "kit").folder


@dataclass
class Planted:
    """A desk whose credentials are the marker."""

    desk: Desk
    server: object
    home: Path
    allowed: set[Path]  # files that hold the marker because it was put there

    def finds(self, *printed: str) -> list[str]:
        """Name every place with a trace of the marker."""
        found = [f"printed: {text[:400]}" for text in printed if any(trace in text for trace in TRACES)]
        for folder in (self.desk.folder, self.home):
            for path in folder.rglob("*"):
                if path.is_file() and not path.is_symlink() and path not in self.allowed and holds(path.read_bytes()):
                    found.append(str(path))
        return found


def holds(data: bytes) -> bool:
    return any(trace.encode() in data for trace in TRACES)


# In `make test` the key, the shortest of all; the places of a token in `make test-full`.
PLACES = ["key", *(pytest.param(place, marks=pytest.mark.full) for place in ("token", "file"))]


@pytest.fixture(params=PLACES)
def planted(
    request: pytest.FixtureRequest, clean_desk: Path, server, home: Path, tmp_path: Path, monkeypatch
) -> Planted:
    import shutil

    folder = Path(shutil.copytree(clean_desk, tmp_path / "desk", symlinks=True))
    server.site.outputs = {"i2b-demo-infer": {"submission.csv": submission_csv("ID1")}}
    allowed: set[Path] = set()
    if request.param == "key":
        server.site.keys = {"kim": MARKER}
        monkeypatch.setenv("KAGGLE_KEY", MARKER)
    else:
        server.site.tokens, server.site.keys = {MARKER: "kim"}, {}
        for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
            monkeypatch.delenv(name)
        if request.param == "token":
            monkeypatch.setenv("KAGGLE_API_TOKEN", MARKER)
        else:
            stored = home / ".kaggle" / "access_token"
            stored.parent.mkdir()
            stored.write_text(MARKER)
            stored.chmod(0o600)
            allowed.add(stored)
    return Planted(Desk(folder), server, home, allowed)


@contextlib.contextmanager
def watching_processes() -> Iterator[list[str]]:
    """Read the command line of every process, over and over."""
    found: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    if holds(entry.read_bytes()):
                        found.append(entry.read_bytes().decode(errors="replace"))
            time.sleep(WATCH_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        stop.set()
        watcher.join()


def echo(server, request: str, status: int) -> None:
    """The site answers with what it was sent, as some proxies do."""
    words = f"bad credentials: kim:{MARKER} (Authorization: Basic {BASIC}, Bearer {MARKER})"
    server.fault(request, status=status, body={"code": status, "message": words}, times=999)


def test_after_a_whole_flow_and_every_look_at_it_the_marker_is_nowhere(planted: Planted, monkeypatch) -> None:
    monkeypatch.setenv("VERBOSE", "1")  # with it Kaggle's client prints every header
    with watching_processes() as seen:
        done = planted.desk.shell("--message", "a first try")
        printed = [done.stdout, done.stderr]
        for verb in FLOWS:
            looked = subprocess.run(
                [sys.executable, "-m", "build", verb], cwd=planted.desk.folder, capture_output=True, text=True
            )
            assert looked.returncode == 0, looked.stdout + looked.stderr
            printed += [looked.stdout, looked.stderr]
    assert done.returncode == 0, done.stderr
    assert planted.desk.scores() and (planted.desk.folder / "out/push/journal.db").is_file()
    assert planted.finds(*printed) == [] and seen == []
    assert planted.server.leaks == []  # nothing but the API was sent credentials


@pytest.mark.parametrize(
    ("request_name", "status"),
    [
        ("SaveKernel", 401),
        *(
            pytest.param(*answer, marks=pytest.mark.full)
            for answer in (("SaveKernel", 400), ("CreateDataset", 403), ("PUT", 400), ("ListSubmissions", 500))
        ),
    ],
)
def test_a_site_that_echoes_the_credentials_does_not_get_them_printed(
    planted: Planted, request_name: str, status: int
) -> None:
    echo(planted.server, request_name, status)
    done = planted.desk.shell()
    assert done.returncode == 1 and "→" in done.stderr
    assert planted.finds(done.stdout, done.stderr) == []


def test_a_body_error_and_a_kernels_log_that_hold_it_are_not_passed_on(planted: Planted) -> None:
    planted.server.fault("SaveKernel", body={"error": f"Kernel push error: for {MARKER}"})
    refused = planted.desk.shell()
    assert refused.returncode == 1
    planted.server.site.kernel_states = ["RUNNING", "ERROR"]
    planted.server.site.logs = {"i2b-demo-infer": TRACEBACK}
    failed = planted.desk.shell()
    assert failed.returncode == 1 and "no weights" in failed.stderr
    assert planted.finds(refused.stdout, refused.stderr, failed.stdout, failed.stderr) == []


def test_a_crash_of_the_kit_itself_shows_no_credentials(planted: Planted) -> None:
    """An unexpected error: Python's own traceback, with the client on the stack."""
    program = (
        "import sys\n"
        "from build import cli\n"
        "from build.kaggle import responses\n"
        "def broken(answer): raise RuntimeError(f'planned crash {answer}')\n"
        "responses.pushed_kernel = broken\n"
        "sys.argv = ['build', 'push-inference', '--experiment', 'demo']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=planted.desk.folder, capture_output=True, text=True)
    assert done.returncode != 0 and "planned crash" in done.stderr
    assert planted.finds(done.stdout, done.stderr) == []


def test_ctrl_c_leaves_none_and_says_how_to_go_on(planted: Planted) -> None:
    planted.server.site.kernel_states = ["RUNNING"]  # for ever
    with planted.desk.start() as process:
        deadline = time.monotonic() + 60
        while "GetKernelSessionStatus" not in planted.server.names() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()  # leaving the block waits for it
    assert process.returncode == 130 and "continues" in err, out + err
    assert planted.finds(out, err) == []
    planted.server.site.kernels["kim/i2b-demo-infer"].states = ["COMPLETE"]
    assert planted.desk.shell().returncode == 0
    assert planted.server.names().count("SaveKernel") == 1


def test_wrong_credentials_are_explained_by_their_place(planted: Planted) -> None:
    planted.server.site.keys, planted.server.site.tokens = {"kim": "another"}, {}
    done = planted.desk.shell()
    assert done.returncode == 1 and "401" in done.stderr
    assert planted.finds(done.stdout, done.stderr) == []


def test_what_a_push_leaves_is_not_for_others_to_read(planted: Planted) -> None:
    """The journal names kernels and datasets; the notes of uploads hold addresses that are as good as passwords."""
    planted.server.fault("CreateDataset", drop="before")  # the uploads are whole, and may be used later
    assert planted.desk.shell().returncode == 1
    folder = planted.desk.folder / "out" / "push"
    notes = list((folder / "uploads").iterdir())
    assert notes, "the uploads should have been noted, to be gone on with"
    for path in (folder / "journal.db", *notes):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((folder / "uploads").stat().st_mode) == 0o700


def test_a_rehearsal_neither_sees_nor_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME"):
        monkeypatch.setenv(name, MARKER)
    home = tmp_path / "home" / ".kaggle"
    home.mkdir(parents=True)
    (home / "access_token").write_text(MARKER)
    monkeypatch.setenv("HOME", str(home.parent))
    snoop = (
        "print(dict(os.environ))\n"
        "for place in (Path.home(), Path(os.path.expanduser('~'))):\n"
        "    for file in place.glob('.kaggle/*'):\n"
        "        print(file.read_text())\n"
    )
    report = rehearse_toy(tmp_path / "toy", [snoop, "write(IDS)"])
    assert report.ok, report.problems
    written = [path for path in (tmp_path / "toy").rglob("*") if path.is_file()]
    assert any(path.suffix == ".ipynb" and b"KAGGLE_KERNEL_RUN_TYPE" in path.read_bytes() for path in written)
    assert [str(path) for path in written if holds(path.read_bytes())] == []


def test_the_search_itself_finds_a_marker(planted: Planted) -> None:
    (planted.desk.folder / "out" / "note.txt").write_text(f"Authorization: Basic {BASIC}")
    assert [Path(place).name for place in planted.finds("nothing", f"key {MARKER}")] != []
    assert len(planted.finds("nothing", f"key {MARKER}")) == 2
    with (
        watching_processes() as seen,
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.5)", MARKER]) as process,
    ):
        process.wait()
    assert seen


# What the sources must never do.

SOURCES = sorted((ROOT / "build").rglob("*.py"))
FORBIDDEN_NAMES = {"_create_unverified_context", "CERT_NONE", "disable_warnings", "InsecureRequestWarning"}


def switches_off(tree: ast.AST) -> list[str]:
    """Find what would switch the verification of certificates off."""
    found = []
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if name in FORBIDDEN_NAMES:
            found.append(name)
        if isinstance(node, ast.keyword) and node.arg == "verify" and not _is_true(node.value):
            found.append("verify=")
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Attribute) and t.attr in ("verify", "check_hostname", "verify_mode") for t in targets):
            found.append("an assignment to verify")
    return found


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def test_the_verification_of_certificates_is_never_switched_off() -> None:
    assert len(SOURCES) > 50
    assert {str(path): found for path in SOURCES if (found := switches_off(ast.parse(path.read_text())))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "requests.get(url, verify=False)",
        "session.verify = False",
        "ssl._create_unverified_context()",
        "urllib3.disable_warnings()",
        "context.check_hostname = False",
        "context.verify_mode = ssl.CERT_NONE",
        "get(url, verify=flag)",
    ],
)
def test_that_search_finds_each_way_of_switching_it_off(text: str) -> None:
    assert switches_off(ast.parse(text))


def test_kaggle_is_imported_in_one_place_only() -> None:
    importers = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name == "kaggle" or name.startswith("kaggle.") for name in names):
                importers.add(path.relative_to(ROOT).as_posix())
    assert importers <= {"build/kaggle/session.py", "build/kaggle/client.py"}


def test_no_credentials_reach_the_command_line_of_another_program() -> None:
    """Nothing under build/kaggle starts one: what it needs it does in its own process."""
    paths = list((ROOT / "build" / "kaggle").rglob("*.py"))
    assert len(paths) > 20
    for path in paths:
        text = path.read_text()
        assert "subprocess" not in text and "os.system" not in text, path


assert os.name == "posix", "these tests read /proc"
