"""The locks: each says exactly what an environment holds, and pyproject.toml and the locks never disagree."""

import importlib.metadata
import sys
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from build.installation.locks import (
    GROUPS,
    KIT,
    PYTHONS,
    Locked,
    canonical,
    differences,
    lock_file,
    read_lock,
    requirements,
)

SHA = "0123456789abcdef" * 4
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}
MACHINES = [LINUX, LINUX | {"platform_machine": "aarch64"}, {"sys_platform": "darwin", "platform_machine": "arm64"}]
LOCKS = pytest.mark.parametrize(
    ("group", "python"),
    [(group, python) for group in GROUPS for python in PYTHONS],
    ids=[f"{group}-{major}.{minor}" for group in GROUPS for major, minor in PYTHONS],
)


def applying(packages: list[Locked], python: tuple[int, int], machine: dict[str, str]) -> list[Locked]:
    """Return the packages that a machine gets."""
    about = {
        "python_full_version": f"{python[0]}.{python[1]}.7",
        "platform_python_implementation": "CPython",
        **machine,
    }
    return [one for one in packages if not one.marker or Marker(one.marker).evaluate(about)]


@LOCKS
def test_a_lock_holds_every_direct_dependency_at_the_version_of_pyproject(group: str, python: tuple[int, int]) -> None:
    assert differences(requirements(group=group), read_lock(lock_file(group, python))) == []


@LOCKS
def test_every_package_is_pinned_and_every_file_has_a_hash(group: str, python: tuple[int, int]) -> None:
    """Reading refuses a line that is anything else."""
    packages = read_lock(lock_file(group, python))
    assert packages and all(package.hashes for package in packages)


@LOCKS
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: "-".join(machine.values()))
def test_a_machine_gets_each_package_once(group: str, python: tuple[int, int], machine: dict[str, str]) -> None:
    names = [package.name for package in applying(read_lock(lock_file(group, python)), python, machine)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("python", PYTHONS)
def test_a_mac_gets_torch_without_the_packages_for_nvidia(python: tuple[int, int]) -> None:
    packages = read_lock(lock_file(KIT, python))
    mac = {package.name for package in applying(packages, python, MACHINES[2])}
    linux = {package.name for package in applying(packages, python, LINUX)}
    assert "torch" in mac and not [name for name in mac if name.startswith(("nvidia-", "triton", "cuda-"))]
    assert {"torch", "triton", "nvidia-cublas"} <= linux


def test_the_environment_that_runs_this_test_is_the_locked_one() -> None:
    """If it fails after a merge: `make setup`."""
    python = (sys.version_info[0], sys.version_info[1])
    for package in applying(read_lock(lock_file(KIT, python)), python, {}):
        assert importlib.metadata.version(package.name) == package.version, f"{package.name} → make setup"


def test_no_dependency_of_a_dependency_is_missing() -> None:
    """What each package of the lock says that it needs here is in the lock, at a version that it takes."""
    python = (sys.version_info[0], sys.version_info[1])
    held = {package.name: package.version for package in applying(read_lock(lock_file(KIT, python)), python, {})}
    asked = 0
    for name in held:
        for line in importlib.metadata.requires(name) or []:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert need.specifier.contains(held[canonical(need.name)], prereleases=True), f"{name} needs {line}"
                asked += 1
    assert asked > 100


# -- reading -------------------------------------------------------------------------------------------------------


def read(tmp_path: Path, text: str) -> list[Locked]:
    (tmp_path / "lock.txt").write_text(text)
    return read_lock(tmp_path / "lock.txt")


def test_a_package_is_read_with_its_marker_and_hashes(tmp_path: Path) -> None:
    text = f"""# a comment
Some_Package==1.2.post1 ; sys_platform == 'darwin' \\
    --hash=sha256:{SHA} \\
    --hash=sha256:{SHA[::-1]}
"""
    assert read(tmp_path, text) == [
        Locked("some-package", "1.2.post1", "sys_platform == 'darwin'", (SHA, SHA[::-1])),
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a==1\n", "lock.txt:1: not a package with its version and hashes: 'a==1'"),
        (f"a>=1 \\\n    --hash=sha256:{SHA}\n", "lock.txt:1: not a package with its version"),
        (f"a==1 \\\n    --hash=md5:{SHA}\n", "lock.txt:2: not the sha256 of a file"),
        ("a==1 \\\nb==2 \\\n", "lock.txt:2: not the sha256 of a file: 'b==2 "),
        ("a==1 \\\n", "lock.txt: ends within a"),
        ("--index-url https://example.org\n", "lock.txt:1: not a package"),
    ],
)
def test_anything_else_in_a_lock_is_refused_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ValueError) as refused:
        read(tmp_path, text)
    assert fault in str(refused.value) and "→ make lock" in str(refused.value)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("a==1", []),
        ("A[extra]==1", []),
        ("a==2", ["a==2 is 1 in the lock"]),
        ("c==1", ["c==1 is not there in the lock"]),
        ("a>=1", ["a>=1 is not pinned: write NAME==VERSION"]),
    ],
)
def test_a_direct_dependency_that_the_lock_does_not_hold_is_named(wanted: str, said: list[str]) -> None:
    assert differences([wanted], [Locked("a", "1", "", (SHA,)), Locked("b", "1", "", (SHA,))]) == said
