"""`--wheels requirements.txt`: packages that Kaggle's image lacks, as a dataset of wheels that are checked by hash.

1. The requirements are read; what the image has in a version that will do is left out, and so are its packages where
   others depend on them: a stub of each stands in for it, so pip's own resolver takes it for installed.
2. pip resolves for each Python that Kaggle may have, for wheels of Linux on x86-64 alone, and names file and sha256.
   pip judges the markers of dependencies by the Python that it runs in, so they are judged again for the other.
3. The files are downloaded by these hashes into `out/wheels/<slug>-wheels/`, with a manifest, whole or not at all.
4. The same for the Python of this machine, so that the rehearsal can install them; where that cannot be had it is said.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from build.adopt.requirements import Wanted, image_versions, in_image
from build.core.bundle_files import file_entry
from build.core.errors import CheckFailed, Problem
from build.core.image import DATASET_FILES
from build.notebooks.adopted_card import wheels_slug
from build.notebooks.builder import ROOT
from build.notebooks.wheels_cell import WHEEL_NAME
from kernel_src.runtime.files import BUNDLE_FORMAT, sha256_of, write_json
from kernel_src.runtime.manifest import MANIFEST_FILE, checked_sha256

WHEELS_FOLDER = Path("out", "wheels")  # <slug>-wheels/
PYTHONS = ("3.12", "3.13")  # of Kaggle's image: which of them it is is not settled (facts/kaggle-platform.md)
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
NEWEST_GLIBC = 28  # manylinux_2_28; the image's own is newer
ROUNDS = 10  # of resolving, each with the dependencies that the one before left out
_IMAGE = "image"  # local part of a stub's version: it counts as that version, and as newer than the index's
_NONE_FITS = re.compile(r"No matching distribution found for ([A-Za-z0-9][A-Za-z0-9._-]*)")
_VERSIONS = re.compile(r"\(from versions: ([^)]*)\)")


@dataclass(frozen=True, kw_only=True)
class Wheels:
    """What was chosen, and what is worth saying of it."""

    files: dict[str, dict[str, str]]  # Python → name → sha256
    notes: list[str]


@dataclass(frozen=True)
class _Chosen:
    """One wheel that pip's resolver has chosen."""

    name: str  # of the package, normalised
    version: str
    file: str
    sha256: str
    requires: tuple[str, ...]


def fetch_wheels(slug: str, wanted: Sequence[Wanted], pythons: Sequence[str], root: Path) -> Wheels:
    """Choose the wheels for an adopted kernel and download them into the folder of their dataset.

    Raises:
        CheckFailed: a package has no wheel for one of the Pythons; names it, and the versions that there are.
    """
    image = image_versions()
    left_out = [one for one in wanted if in_image(one.requirement, image)]
    needed = [one for one in wanted if one not in left_out]
    notes = [f"{one.requirement.name}: left out, Kaggle's image has {_known(one, image)}" for one in left_out]
    for one in needed:
        if (version := image.get(_plain(one.requirement.name))) is not None:
            there = f"{version}, which is not enough" if version else "a version that is not known"
            notes.append(f"{one.requirement}: carried along, Kaggle's image has {there}")
    fresh = _fresh(slug, root)
    files: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="kit-wheels-") as name:
        scratch = Path(name)
        stubs = _write_stubs(scratch / "stubs", {n: v for n, v in image.items() if n not in _names(needed)})
        with ThreadPoolExecutor() as pool:  # pip mostly waits for the index
            targets = dict.fromkeys([*pythons, HERE])
            runs = {python: pool.submit(_fetch, needed, python, stubs, scratch / python) for python in targets}
        for python, run in runs.items():
            try:
                files[python] = {one.file: one.sha256 for one in run.result()}
            except CheckFailed as failed:
                if python in pythons:
                    raise
                notes.append(f"no rehearsal with this machine's Python {python}: {failed.problems[0].what}")
        _lay_out(slug, scratch, files, fresh)
    return Wheels(files={python: of for python, of in files.items() if of}, notes=notes)


def keep_wheels(slug: str, root: Path) -> Path:
    """Put what was fetched in the place of what was fetched before; return the dataset's folder."""
    folder, fresh = root / WHEELS_FOLDER / wheels_slug(slug), _fresh(slug, root)
    if fresh.is_dir():
        before = folder.with_name(f"{folder.name}.before")
        shutil.rmtree(before, ignore_errors=True)
        if folder.is_dir():
            folder.rename(before)
        fresh.rename(folder)
        shutil.rmtree(before, ignore_errors=True)
    return folder


def wheels_to_mount(slug: str, given: Sequence[Path], root: Path = ROOT) -> list[Path]:
    """Return the folder of an adopted kernel's wheels where it has some and the folder was not given."""
    folder = root / WHEELS_FOLDER / wheels_slug(slug)
    return [folder] if folder.is_dir() and folder.resolve() not in [one.resolve() for one in given] else []


def _fresh(slug: str, root: Path) -> Path:
    return root / WHEELS_FOLDER / f"{wheels_slug(slug)}.new"


def _known(one: Wanted, image: Mapping[str, str]) -> str:
    return image[_plain(one.requirement.name)] or "it (the version is not known)"


def _plain(name: str) -> str:
    return str(canonicalize_name(name))


def _names(wanted: Sequence[Wanted]) -> set[str]:
    return {_plain(one.requirement.name) for one in wanted}


def _write_stubs(folder: Path, image: Mapping[str, str]) -> Path:
    """Write an empty wheel for each package of the image, without dependencies, and constraints to these."""
    from importlib.metadata import PackageNotFoundError, version

    folder.mkdir(parents=True)
    pins = []
    for name, known in sorted(image.items()):
        try:
            stub = f"{known or version(name)}+{_IMAGE}"
        except PackageNotFoundError:  # no version known there nor here
            continue
        plain = name.replace("-", "_")
        info = f"{plain}-{stub}.dist-info"
        with zipfile.ZipFile(folder / f"{plain}-{stub}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {stub}\n")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: kit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
        pins.append(f"{name}=={stub}\n")
    (folder / "constraints.txt").write_text("".join(pins))
    return folder


def _target(python: str) -> list[str]:
    """Return pip's words for wheels of another Python on Linux."""
    words = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    for minor in range(NEWEST_GLIBC, 4, -1):
        words += ["--platform", f"manylinux_2_{minor}_x86_64"]
    return [*words, "--platform", "manylinux2014_x86_64", "--platform", "manylinux2010_x86_64"]


def environment_of(python: str) -> dict[str, str]:
    """Return the values of markers on Kaggle with this Python."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


def _applies(requirement: Requirement, python: str, extras: Collection[str] = ()) -> bool:
    """Tell whether a requirement's marker holds there, with any of the extras that were asked for, or none."""
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**environment_of(python), "extra": extra}) for extra in sorted({"", *extras})
    )


def _bare(requirement: Requirement) -> str:
    """Write a requirement without its marker, which was judged already."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _fetch(needed: Sequence[Wanted], python: str, stubs: Path, scratch: Path) -> list[_Chosen]:
    """Choose and download the wheels for one Python, into `scratch`."""
    scratch.mkdir()
    chosen = _resolve(needed, python, stubs, scratch)
    _download(chosen, python, scratch)
    return chosen


def _resolve(needed: Sequence[Wanted], python: str, stubs: Path, scratch: Path) -> list[_Chosen]:
    """Let pip choose the wheels for a Python, and add what it left out by the markers of its own."""
    asked = {_bare(one.requirement): one.where for one in needed if _applies(one.requirement, python)}
    for _ in range(ROUNDS):
        every = {one.name: one for one in _pip_resolves(asked, python, stubs, scratch)} if asked else {}
        reached, missing = _reached(every, asked, python)
        if not missing:
            return [one for one in reached if not one.version.endswith(f"+{_IMAGE}")]
        asked |= dict.fromkeys(missing, "")
    what = f"the dependencies for Python {python} do not come to an end"
    raise CheckFailed([Problem(what=what, cure="name fewer packages")])


def _reached(every: Mapping[str, _Chosen], asked: Iterable[str], python: str) -> tuple[list[_Chosen], list[str]]:
    """Return what is needed for a Python of what pip has chosen, and the requirements that it has left out."""
    reached: dict[str, _Chosen] = {}
    extras: dict[str, set[str]] = {}  # that anybody has asked for, by package
    missing: list[str] = []
    waiting = [Requirement(one) for one in asked]
    while waiting:
        requirement = waiting.pop()
        name = _plain(requirement.name)
        if name not in every:
            missing.append(_bare(requirement))
        elif name not in reached or requirement.extras - extras[name]:
            one = reached[name] = every[name]
            extras.setdefault(name, set()).update(requirement.extras)
            waiting += [more for more in map(Requirement, one.requires) if _applies(more, python, extras[name])]
    return sorted(reached.values(), key=lambda one: one.name), missing


def _pip_resolves(asked: Mapping[str, str], python: str, stubs: Path, scratch: Path) -> list[_Chosen]:
    report, lines = scratch / "report.json", scratch / "asked.txt"
    lines.write_text("".join(f"{one}\n" for one in asked))
    words = ["install", "--dry-run", "--ignore-installed", "--quiet", "--report", str(report)]
    words += ["--target", str(scratch / "nowhere"), "--find-links", str(stubs), *_target(python)]
    done = _pip([*words, "--constraint", str(stubs / "constraints.txt"), "--requirement", str(lines)])
    if done.returncode:
        raise CheckFailed([_no_wheel(done.stderr, asked, python)])
    chosen = []
    for one in json.loads(report.read_bytes())["install"]:
        metadata, file = one["metadata"], one["download_info"]["url"].rpartition("/")[2]
        name, version = _plain(metadata["name"]), str(metadata["version"])
        if not version.endswith(f"+{_IMAGE}") and not WHEEL_NAME.fullmatch(file):
            raise CheckFailed([Problem(what=f"the index has {file} for {name}, which is no wheel's name")])
        requires = tuple(metadata.get("requires_dist") or ())
        chosen.append(_Chosen(name, version, file, _sha256_in(one), requires))
    if unnamed := [one.file for one in chosen if not one.sha256 and not one.version.endswith(f"+{_IMAGE}")]:
        what = f"the index gives no hash for {', '.join(unnamed)}"
        raise CheckFailed([Problem(what=what, cure="take another index: what has no hash cannot be checked")])
    return chosen


def _sha256_in(entry: Mapping[str, Any]) -> str:
    """Return the hash that the index gives for a file, "" for a stub of ours."""
    info = entry["download_info"].get("archive_info", {})
    sha256 = info.get("hashes", {}).get("sha256") or info.get("hash", "").removeprefix("sha256=")
    return checked_sha256(sha256) if sha256 else ""


def _no_wheel(said: str, asked: Mapping[str, str], python: str) -> Problem:
    """Say which package has no wheel for a Python, and which versions of it there are."""
    found = _NONE_FITS.search(said)
    if found is None:
        lines = [line for line in said.splitlines() if line.strip() and not line.startswith("WARNING")]
        what = f"pip cannot choose wheels for Python {python}: {' '.join(lines)[-1500:]}"
        return Problem(what=what, cure="other versions in the requirements may fit each other and Kaggle's image")
    name = found[1]
    where = next((at for one, at in asked.items() if _plain(Requirement(one).name) == _plain(name)), "")
    fitting = _VERSIONS.search(said)
    there = fitting[1].strip() if fitting else "none"
    if there == "none":
        index = _pip(["index", "versions", name])
        every = re.search(r"Available versions: (.*)", index.stdout)
        there = f"none; the index has {every[1][:300]} without one" if every else "none, nor is it in the index"
    what = f"{name} has no wheel for Python {python} on Linux that fits; versions that have one: {there[-600:]}"
    return Problem(what=what, where=where, cure="ask for one of these, or do without it: nothing is compiled on Kaggle")


def _download(chosen: Sequence[_Chosen], python: str, folder: Path) -> None:
    """Download the files that were chosen, each compared with its hash."""
    lines = folder / "pinned.txt"
    lines.write_text("".join(f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in chosen))
    if chosen:
        words = ["download", "--quiet", "--no-deps", "--require-hashes", "--dest", str(folder), *_target(python)]
        done = _pip([*words, "--requirement", str(lines)])
        if done.returncode:
            what = f"the wheels cannot be downloaded: {done.stderr.strip()[-1500:]}"
            raise CheckFailed([Problem(what=what, cure="run the same command again")])
    for one in chosen:
        if not (folder / one.file).is_file() or sha256_of(folder / one.file) != one.sha256:
            raise CheckFailed([Problem(what=f"{one.file} is not the file that was chosen", cure="run it again")])


def _lay_out(slug: str, scratch: Path, of: Mapping[str, Mapping[str, str]], fresh: Path) -> None:
    """Lay the files out with a manifest; `scratch` has a folder for each Python."""
    shutil.rmtree(fresh, ignore_errors=True)
    names = {name: scratch / python / name for python, files in of.items() for name in sorted(files)}
    if not names:
        return
    if len(names) + 1 > DATASET_FILES:
        what = f"{len(names)} wheels; Kaggle takes {DATASET_FILES} files side by side"
        raise CheckFailed([Problem(what=what, cure="give one --python, or fewer packages")])
    fresh.mkdir(parents=True)
    for name, path in names.items():
        shutil.copyfile(path, fresh / name)
    entries = {name: file_entry(fresh / name) for name in names}
    write_json(fresh / MANIFEST_FILE, {"format": BUNDLE_FORMAT, "dataset": wheels_slug(slug), "files": entries})


def _pip(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words],
        capture_output=True,
        text=True,
    )
