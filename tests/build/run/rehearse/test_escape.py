"""A stranger's notebook tries to get out: at credentials, the home, the repository, sockets, processes, privileges."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from build.run.mock import MockKaggle, tree_sha256
from build.run.rehearse.view import HERE, KIT, PLAN_INSIDE, bubblewrap_words, find_bubblewrap, view_of
from tests.build.run.rehearse.conftest import isolation_or_skip
from tests.build.run.rehearse.toys import WRITE, make_competition, rehearse_toy

ROOT = Path(__file__).parents[4]
MARKER = "marker51c0ffee7e57c0de"
ATTACK = Path(__file__).with_name("attack.py")
NOBODY = 65534
SECRETS = (".kaggle/kaggle.json", ".ssh/id_ed25519", ".netrc", ".aws/credentials", ".config/gh/hosts.yml", "notes.txt")


@dataclass
class Desk:
    """A machine with something to lose: secrets in the home, a listening socket of each kind, a competition."""

    folder: Path
    secrets: list[Path] = field(default_factory=list)
    port: int = 0

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def plan(self, *, given: str = "/kaggle/input/competitions/csiro-biomass", own: str = "/kaggle/working") -> dict:
        return {
            "marker": MARKER,
            "files": [*map(str, self.secrets), str(ROOT / ".git"), str(ROOT / "README.md"), "/etc/shadow"],
            "folders": [str(self.home), str(ROOT), str(self.folder), str(self.folder / "data")],
            "socket": str(self.home / "agent.sock"),
            "abstract": f"abstract-{MARKER}",
            "port": self.port,
            "input": given,
            # what the notebook itself brought along holds the marker, too
            "own": ["/rehearsal", "/tmp", "/var/tmp", "/kaggle/working"],
            "own_folders": ["/tmp", "/var/tmp", "/dev/shm", own],
            "programs": ["decoy-process"],
            "result": f"{own}/attack.json",
        }

    def cell(self) -> str:
        plan = self.plan()
        home = "ATTACK['own_folders'].append(os.environ['HOME'])"
        return f"ATTACK = {plan!r}\n{home}\n{ATTACK.read_text()}"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk(tmp_path / "desk")
    for name in SECRETS:
        made.secrets.append(made.home / name)
    monkeypatch.setenv("HOME", str(made.home))
    for variable, folder in (("KAGGLE_CONFIG_DIR", "elsewhere"), ("XDG_CONFIG_HOME", "settings")):
        monkeypatch.setenv(variable, str(made.folder / folder))
        inner = "kaggle" if variable == "XDG_CONFIG_HOME" else ""
        made.secrets.append(made.folder / folder / inner / "kaggle.json")
    for path in made.secrets:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"username": "kim", "key": MARKER}))
    for name in ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, MARKER)
    make_competition(made.folder / "data")
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as abstract, socket.socket() as tcp:
        unix.bind(str(made.home / "agent.sock"))
        abstract.bind(f"\0abstract-{MARKER}")
        tcp.bind(("127.0.0.1", 0))
        for server in (unix, abstract, tcp):
            server.listen(20)
        made.port = tcp.getsockname()[1]
        decoy = subprocess.Popen(["decoy-process", "600"], env={"TOKEN": MARKER}, executable="/bin/sleep")
        try:
            yield made
        finally:
            decoy.kill()
            decoy.wait()


def ways_out(found: list[str]) -> list[str]:
    """Leave out folders in /tmp, of which the notebook has one of its own: the host is searched for what reached it."""
    return [name for name in found if not name.startswith(("write to /tmp/", "write to /var/tmp/"))]


def test_nothing_that_a_notebook_tries_gets_it_out(desk: Desk, tmp_path: Path, sandboxed: str) -> None:
    before = tree_sha256(desk.home.parent / "data")
    report = rehearse_toy(tmp_path / "r", [WRITE, desk.cell()], data=desk.folder / "data", isolation=sandboxed)
    assert report.ok, report.as_lines()
    found = json.loads((tmp_path / "r/out/working/attack.json").read_text())
    assert ways_out(found) == []
    assert tree_sha256(desk.folder / "data") == before
    assert report.isolation["by"] == ("bubblewrap" if sandboxed == "bubblewrap" else "the kit's launcher")
    assert not [path for folder in (ROOT, desk.folder) for path in folder.glob("**/attack-*")]
    for path in desk.secrets:
        assert json.loads(path.read_text())["key"] == MARKER
    left = [
        path
        for path in (tmp_path / "r/out").rglob("*")
        if path.is_file() and MARKER in path.read_text(errors="replace")
    ]
    # the marker stands in the notebook's own source, and only there
    assert {path.suffix for path in left} <= {".ipynb", ".html"}


def test_the_guard_keeps_none_of_this_out_and_says_so_in_words(desk: Desk, tmp_path: Path) -> None:
    cell = f"assert Path({str(desk.secrets[0])!r}).read_text()"
    report = rehearse_toy(tmp_path / "r", [WRITE, cell], data=desk.folder / "data", isolation="guard")
    assert report.ok, "were it refused here, the report would have to say something else"
    assert report.isolation["files"].startswith("not kept out: the notebook can read and write whatever you can")
    assert any("your Kaggle key included" in line for line in report.as_lines())


def test_a_python_inside_the_home_is_seen_and_the_home_around_it_is_not(
    desk: Desk, tmp_path: Path, sandboxed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with pyenv, uv and conda; also one whose folder is a link, and one with a credential inside."""
    from build.run.rehearse import sandbox, view

    inner = desk.home / "envs" / "kit"
    inner.parent.mkdir()
    inner.symlink_to(Path(sys.prefix).resolve())
    monkeypatch.setattr(sys, "prefix", str(inner))
    monkeypatch.setattr(sys, "executable", str(inner / "bin" / Path(sys.executable).name))
    view._machine.cache_clear()
    sandbox.best_isolation.cache_clear()
    try:
        report = rehearse_toy(tmp_path / "r", [WRITE, desk.cell()], data=desk.folder / "data", isolation=sandboxed)
        assert report.ok, report.as_lines()
        found = json.loads((tmp_path / "r/out/working/attack.json").read_text())
        # the folders above what is shown are there inside
        assert [name for name in ways_out(found) if not name.startswith(f"write to {desk.folder}")] == []
        assert not list(desk.folder.rglob("attack-*"))
    finally:
        view._machine.cache_clear()
        sandbox.best_isolation.cache_clear()


def test_a_credential_inside_what_must_be_shown_is_covered(
    desk: Desk, tmp_path: Path, sandboxed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from build.run.rehearse import view

    library = desk.folder / "library"
    library.mkdir()
    (library / "libx.so").write_text("x")
    for name in ("kaggle.json", "access_token"):
        (library / name).write_text(MARKER)
    (library / ".ssh").mkdir()
    (library / ".ssh" / "id").write_text(MARKER)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(library))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    view._machine.cache_clear()
    cell = (
        f"shown = Path({str(library)!r})\nassert (shown / 'libx.so').read_text() == 'x'\n"
        "for name in ('kaggle.json', 'access_token'):\n    try:\n        assert not (shown / name).read_bytes()\n"
        "    except PermissionError:\n        pass"
    )
    try:
        report = rehearse_toy(tmp_path / "r", [WRITE, cell], data=desk.folder / "data", isolation=sandboxed)
    finally:
        view._machine.cache_clear()
    assert report.ok, report.as_lines()


@pytest.mark.full
@pytest.mark.parametrize("kind", ["bubblewrap", "namespace", "namespace without process ids"])
def test_a_plain_user_is_kept_in_as_well_as_root(kind: str) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.geteuid() != 0 or python is None:
        pytest.skip("to become a plain user it takes root, and a python that a plain user may run")
    isolation_or_skip(kind.split()[0])
    shared = Path("/tmp") / f"rehearse-plain-{os.getpid()}"
    try:
        mock = MockKaggle(shared / "mock")
        for folder in (mock.input, mock.working, shared / "box", shared / "rootfs", shared / "home"):
            folder.mkdir(parents=True)
        (mock.input / "test.csv").write_text("x")
        (shared / "home" / "kaggle.json").write_text(MARKER)
        view = view_of(mock, shared / "box", shared / "resolv.conf")
        home = str(Path.home())
        mounts = [mount for mount in view.mounts if not mount[0].startswith((home, str(HERE)))]
        kit = Path(shutil.copytree(HERE, shared / "kit", ignore=shutil.ignore_patterns("__pycache__")))
        view = replace(view, mounts=(*mounts, (str(kit), str(KIT), False)), devices=())
        desk = Desk(shared, [shared / "home" / "kaggle.json"], port=9)
        plan = desk.plan(given="/kaggle/input")
        plan["own_folders"] = ["/tmp", "/dev/shm", "/kaggle/working", "/rehearsal"]
        code = f"ATTACK = {plan!r}\n{ATTACK.read_text()}"
        report = os.open(shared / "report", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        bubblewrap = kind == "bubblewrap"
        plan_file = shared / "plan.json"
        plan_file.write_text(
            json.dumps(
                {
                    "namespace": True,
                    "enter": not bubblewrap,
                    "pid": "without" not in kind,
                    "parent": None if bubblewrap else os.getpid(),
                    "rootfs": str(shared / "rootfs"),
                    "cwd": "/kaggle/working",
                    "argv": [python, "-I", "-c", code],
                    "env": {"PATH": "/usr/bin:/bin"},
                    "report": report,
                    **{name: getattr(view, name) for name in ("mounts", "links", "devices", "closed")},
                }
            )
        )
        for path in [shared, *shared.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        words = [python, "-I", "-S", str(kit / "launcher.py"), str(plan_file)]
        if bubblewrap:
            inner = [python, "-I", "-S", str(KIT / "launcher.py"), str(PLAN_INSIDE)]
            words = [*bubblewrap_words(find_bubblewrap(), view, plan_file), *inner]
        done = subprocess.run(
            words,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            env={},
            pass_fds=[report],
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        os.close(report)
        assert done.returncode == 0, done.stderr + (shared / "report").read_text()
        found = json.loads((mock.working / "attack.json").read_text())
        if "without" in kind:  # what other processes there are can be seen then, and nothing can be done to them
            found = [name for name in found if not name.startswith("sees the process")]
        assert ways_out(found) == []
        assert (mock.working / "attack.json").stat().st_uid == NOBODY
    finally:
        shutil.rmtree(shared)
