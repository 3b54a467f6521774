"""Setting up: once per set of pins and interpreter, and again where it failed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from build import environment
from build.environment import ROOT, requirements, set_up

PYPROJECT = """
[project]
dependencies = ["a==1", "b==2"]
[dependency-groups]
dev = ["c==3"]
"""


class Machine:
    """Stands in for subprocess.run and remembers what was asked for."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.installed: list[str] = []
        self.pip_fails = self.pip_missing = False

    def run(self, command: list[object], **_: object) -> SimpleNamespace:
        words = [str(word) for word in command]
        self.commands.append(words)
        if "venv" in words:
            python = Path(words[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        if "install" in words:
            self.installed = Path(words[-1]).read_text().splitlines()
            return SimpleNamespace(returncode=int(self.pip_fails))
        return SimpleNamespace(returncode=int(self.pip_missing and words[1:] == ["-c", "import pip"]))

    def made_venv(self) -> bool:
        return any("venv" in words for words in self.commands)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    fake = Machine()
    monkeypatch.setattr(environment.subprocess, "run", fake.run)
    return fake


@pytest.fixture
def set_up_here(tmp_path: Path, machine: Machine) -> Callable[[], int]:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)

    def go() -> int:
        machine.commands.clear()
        return set_up(tmp_path / "pyproject.toml", tmp_path / ".venv")

    return go


def test_the_requirements_are_those_of_the_kit_and_of_its_tests(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    assert requirements(tmp_path / "pyproject.toml") == ["a==1", "b==2", "c==3"]


def test_every_real_requirement_is_pinned() -> None:
    loose = [line for line in requirements(ROOT / "pyproject.toml") if "==" not in line]
    assert not loose


def test_the_first_time_it_makes_the_environment_and_the_second_time_nothing(
    set_up_here: Callable[[], int], machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set_up_here() == 0
    assert machine.made_venv() and machine.installed == ["a==1", "b==2", "c==3"]
    said = capsys.readouterr().out
    assert "creating" in said and "installing 3 pinned packages" in said
    assert set_up_here() == 0
    assert machine.commands == [] and capsys.readouterr().out == ""


def test_an_environment_that_exists_is_kept_and_filled(
    tmp_path: Path, set_up_here: Callable[[], int], machine: Machine
) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch()
    (tmp_path / ".venv/mine.txt").touch()
    assert set_up_here() == 0
    assert not machine.made_venv() and machine.installed and (tmp_path / ".venv/mine.txt").exists()


def test_an_environment_without_pip_is_made_anew(
    tmp_path: Path, set_up_here: Callable[[], int], machine: Machine
) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch()
    machine.pip_missing = True
    assert set_up_here() == 0 and machine.made_venv()


def test_other_pins_or_another_python_install_again(
    tmp_path: Path, set_up_here: Callable[[], int], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up_here()
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace("b==2", "b==9"))
    set_up_here()
    assert machine.installed == ["a==1", "b==9", "c==3"] and not machine.made_venv()
    assert len(list((tmp_path / ".venv").glob(".kit-*"))) == 1, "the old stamp must not vouch for the old pins"
    version = tuple([3, 12 if sys.version_info[1] != 12 else 13, 0, "final", 0])
    monkeypatch.setattr(environment.sys, "version_info", version)
    set_up_here()
    assert any("install" in words for words in machine.commands)


def test_a_failed_installation_is_tried_again(
    set_up_here: Callable[[], int], machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.pip_fails = True
    assert set_up_here() == 1
    assert "the same command tries again" in capsys.readouterr().out
    machine.pip_fails = False
    assert set_up_here() == 0 and machine.installed


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_is_refused_before_anything_is_made(
    tmp_path: Path,
    set_up_here: Callable[[], int],
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
