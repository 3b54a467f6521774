"""`make lock`: what uv finds becomes the locks; they are written all together or not at all."""

import json
import stat
import sys
from pathlib import Path

import pytest

from build.installation.locks import GROUPS, PYTHONS, Locked, lock_file, read_lock
from build.installation.resolution import changes, refresh, without_what_holds

SHA = "ab" * 32
PYPROJECT = """
[project]
dependencies = ["torch==2"]
[dependency-groups]
dev = ["pytest==9"]
lab = ["jupyterlab==4"]
lock = ["uv==0.13.9"]
"""
# It answers each line of requirements.in with a package, and notes how it was called.
UV = f"""#!{sys.executable}
import json, pathlib, sys
here = pathlib.Path.cwd()
before = (here / "lock.txt").read_text() if (here / "lock.txt").exists() else ""
with open({{log!r}}, "a") as log:
    log.write(json.dumps([sys.argv[1:], (here / "pyproject.toml").read_text(), before]) + "\\n")
wanted = (here / "requirements.in").read_text().split()
if {{fails_at!r}} in wanted:
    sys.exit("error: no version of it fits")
for line in wanted:
    print(line + " \\\\\\n    --hash=sha256:{SHA}")
"""


class Desk:
    """A pyproject.toml, a folder for locks, and a stand-in for uv."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.locks, self.log = folder, folder / "locks", folder / "log"
        self.want()

    def want(self, old: str = "", new: str = "") -> None:
        (self.folder / "pyproject.toml").write_text(PYPROJECT.replace(old, new) if old else PYPROJECT)

    def refresh(self, upgrade: bool = False, fails_at: str = "") -> int:
        uv = self.folder / "uv"
        uv.write_text(UV.format(log=str(self.log), fails_at=fails_at))
        uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
        self.log.unlink(missing_ok=True)
        return refresh(uv, upgrade, self.folder / "pyproject.toml", self.locks)

    def calls(self) -> list[tuple[list[str], str, str]]:
        return [tuple(json.loads(line)) for line in self.log.read_text().splitlines()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_each_environment_gets_a_lock_for_each_python(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.refresh() == 0
    assert {path.name for path in desk.locks.iterdir()} == {
        lock_file(group, python).name for group in GROUPS for python in PYTHONS
    }
    assert read_lock(desk.locks / "py312.txt") == [
        Locked("torch", "2", "", (SHA,)),
        Locked("pytest", "9", "", (SHA,)),
    ]
    assert [package.name for package in read_lock(desk.locks / "lab-py313.txt")] == ["jupyterlab"]
    words, project, _ = desk.calls()[1]
    assert "--generate-hashes" in words and words[words.index("--python-version") + 1] == "3.12"
    assert "python_full_version < '3.13'" in project and "sys_platform == 'darwin'" in project
    assert "lock: py311.txt: 2 packages, new" in capsys.readouterr().out


def test_versions_that_still_fit_are_kept_unless_it_is_to_take_the_newest(desk: Desk) -> None:
    desk.refresh()
    assert {before for _, _, before in desk.calls()} == {""}
    desk.refresh()
    assert all(SHA in before for _, _, before in desk.calls())
    desk.refresh(upgrade=True)
    assert {before for _, _, before in desk.calls()} == {""}


def test_what_changed_is_said(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.refresh()
    desk.want("torch==2", "torch==3")
    capsys.readouterr()
    assert desk.refresh() == 0
    said = capsys.readouterr().out
    assert "lock: py311.txt: 2 packages, torch 2 → 3" in said and "lock: lab-py311.txt: 1 packages, unchanged" in said


def test_where_one_cannot_be_resolved_none_is_written(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.refresh()
    before = {path.name: path.read_text() for path in desk.locks.iterdir()}
    desk.want("torch==2", "torch==3")
    capsys.readouterr()
    assert desk.refresh(fails_at="jupyterlab==4") == 1
    assert {path.name: path.read_text() for path in desk.locks.iterdir()} == before
    said = capsys.readouterr().out
    assert "lab-py311.txt: uv finds no set of versions; nothing is written" in said and "no version of it fits" in said


@pytest.mark.parametrize(
    ("uv", "ours"),
    [
        ("a==1 ; python_full_version < '3.13' and implementation_name == 'cpython' and PLATFORMS \\", "a==1 \\"),
        (
            "a==1 ; python_full_version < '3.13' and implementation_name == 'cpython' and sys_platform == 'linux' \\",
            "a==1 ; sys_platform == 'linux' \\",
        ),
        (
            "a==1 ; python_full_version >= '3.12.5' and python_full_version < '3.13' "
            "and implementation_name == 'cpython' and PLATFORMS \\",
            "a==1 ; python_full_version >= '3.12.5' \\",
        ),
    ],
)
def test_markers_that_hold_anyway_are_left_out(uv: str, ours: str) -> None:
    uv = uv.replace("PLATFORMS", "(sys_platform == 'darwin' or sys_platform == 'linux')")
    assert without_what_holds(uv, (3, 12)) == ours


def test_a_new_file_of_a_version_is_a_change() -> None:
    assert (
        changes([Locked("a", "1", "", (SHA,))], [Locked("a", "1", "", (SHA, SHA))])
        == "1 packages, other files or markers"
    )
