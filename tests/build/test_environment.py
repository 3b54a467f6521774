"""Setting up: once per lock and interpreter, and again where it failed. `installation/` has it with the real pip."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from build import environment
from build.environment import ROOT, set_up
from build.installation.locks import KIT, LAB, LOCK, PYTHONS, Locked, lock_file, requirements

PYPROJECT = """
[project]
dependencies = ["a==1", "b==2"]
[dependency-groups]
dev = ["c==3"]
lab = ["d==4"]
lock = ["uv==5"]
"""
SHA = "ab" * 32


class Machine:
    """Stands in for the programs that are started, and remembers what was asked for."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.installed: list[str] = []
        self.fails = self.pip_missing = self.interrupts = False

    def run(self, command: list[object], **_: object) -> SimpleNamespace:
        words = [str(word) for word in command]
        self.commands.append(words)
        if "venv" in words:
            python = Path(words[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        return SimpleNamespace(returncode=int(self.pip_missing and words[1] == "-c"))

    def install(self, python: Path, lock: Path, packages: Sequence[Locked], *_: object) -> int:
        self.commands.append(["install"])
        if self.interrupts:
            raise KeyboardInterrupt
        self.installed = [f"{package.name}=={package.version}" for package in packages]
        return int(self.fails)

    def made_venv(self) -> bool:
        return any("venv" in words for words in self.commands)


def lock(folder: Path, *pins: str, group: str = KIT, pythons: Sequence[tuple[int, int]] = PYTHONS) -> None:
    folder.mkdir(exist_ok=True)
    for python in pythons:
        text = "".join(f"{pin} \\\n    --hash=sha256:{SHA}\n" for pin in pins)
        lock_file(group, python, folder).write_text(text)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    fake = Machine()
    monkeypatch.setattr(environment.subprocess, "run", fake.run)
    monkeypatch.setattr(environment, "install", fake.install)
    return fake


@pytest.fixture
def set_up_here(tmp_path: Path, machine: Machine) -> Callable[..., int]:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    lock(tmp_path / "locks", "a==1", "b==2", "c==3", "e==7")

    def go(group: str = KIT) -> int:
        machine.commands.clear()
        return set_up(group, tmp_path / ".venv", pyproject=tmp_path / "pyproject.toml", locks=tmp_path / "locks")

    return go


def test_the_requirements_are_those_of_the_kit_and_of_its_tests(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    assert requirements(tmp_path / "pyproject.toml") == ["a==1", "b==2", "c==3"]
    assert requirements(tmp_path / "pyproject.toml", LAB) == ["d==4"]


@pytest.mark.parametrize("group", [KIT, LAB, LOCK])
def test_every_real_requirement_is_pinned(group: str) -> None:
    loose = [line for line in requirements(group=group) if "==" not in line]
    assert not loose


def test_the_first_time_it_makes_the_environment_and_the_second_time_nothing(
    set_up_here: Callable[..., int], machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set_up_here() == 0
    assert machine.made_venv() and machine.installed == ["a==1", "b==2", "c==3", "e==7"]
    said = capsys.readouterr().out
    assert "creating" in said and f"py3{sys.version_info[1]}.txt → " in said
    assert set_up_here() == 0
    assert machine.commands == [] and capsys.readouterr().out == ""


def test_an_environment_that_exists_is_kept_and_filled(
    tmp_path: Path, set_up_here: Callable[..., int], machine: Machine
) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch()
    (tmp_path / ".venv/mine.txt").touch()
    assert set_up_here() == 0
    assert not machine.made_venv() and machine.installed and (tmp_path / ".venv/mine.txt").exists()


def test_an_environment_without_pip_or_of_another_python_is_made_anew(
    tmp_path: Path, set_up_here: Callable[..., int], machine: Machine
) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch()
    machine.pip_missing = True
    assert set_up_here() == 0 and machine.made_venv()


def test_a_half_made_pip_is_made_anew(tmp_path: Path, set_up_here: Callable[..., int], machine: Machine) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch()
    (tmp_path / ".venv/lib/python3.11/site-packages/pip-24.dist-info").mkdir(parents=True)
    assert set_up_here() == 0 and machine.made_venv()


def test_another_lock_or_another_python_installs_again(
    tmp_path: Path, set_up_here: Callable[..., int], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up_here()
    lock(tmp_path / "locks", "a==1", "b==2", "c==3", "e==8")
    set_up_here()
    assert machine.installed[-1] == "e==8" and not machine.made_venv()
    assert len(list((tmp_path / ".venv").glob(".kit-*"))) == 1, "the old stamp must not vouch for the old lock"
    version = tuple([3, 12 if sys.version_info[1] != 12 else 13, 0, "final", 0])
    monkeypatch.setattr(environment.sys, "version_info", version)
    set_up_here()
    assert ["install"] in machine.commands


def test_a_pin_that_was_changed_without_the_lock_stops_it(
    tmp_path: Path, set_up_here: Callable[..., int], machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_here()
    capsys.readouterr()
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace("b==2", "b==9"))
    assert set_up_here() == 2 and not machine.commands
    said = capsys.readouterr().out
    assert "is older than pyproject.toml: b==9 is 2 in the lock → make lock" in said


def test_the_program_that_writes_the_locks_comes_from_the_locks_of_before(
    tmp_path: Path, set_up_here: Callable[..., int], machine: Machine
) -> None:
    lock(tmp_path / "locks", "uv==4", group=LOCK)
    assert set_up_here(LOCK) == 0 and machine.installed == ["uv==4"]


def test_a_lock_that_is_missing_or_torn_stops_it(
    tmp_path: Path, set_up_here: Callable[..., int], machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    lock(tmp_path / "locks", "a>=1")
    assert set_up_here() == 2 and ":1: not a package with its version" in capsys.readouterr().out
    for path in (tmp_path / "locks").iterdir():
        path.unlink()
    assert set_up_here() == 2 and "→ make lock" in capsys.readouterr().out
    assert not machine.commands and not (tmp_path / ".venv").exists()


def test_a_failed_installation_is_tried_again(
    set_up_here: Callable[..., int], machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.fails = True
    assert set_up_here() == 1
    assert "the same command tries again" in capsys.readouterr().out
    machine.fails = False
    assert set_up_here() == 0 and machine.installed


def test_an_interrupted_installation_says_so_in_a_line_and_goes_on(
    set_up_here: Callable[..., int], machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.interrupts = True
    assert set_up_here() == 130
    assert capsys.readouterr().out.endswith("setup: interrupted; what has come is kept, and the same command goes on\n")
    machine.interrupts = False
    assert set_up_here() == 0 and machine.installed


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_is_refused_before_anything_is_made(
    tmp_path: Path,
    set_up_here: Callable[..., int],
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    version: tuple[int, int],
) -> None:
    monkeypatch.setattr(environment.sys, "version_info", (*version, 0, "final", 0))
    assert set_up_here() == 2
    assert "the kit needs 3.11 to 3.13 → make PYTHON=" in capsys.readouterr().out
    assert not machine.commands and not (tmp_path / ".venv").exists()


def test_it_needs_nothing_but_the_standard_library() -> None:
    """It comes first: -S keeps every installed package away."""
    code = "import build.environment"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
