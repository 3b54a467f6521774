"""A requirements file as packages are taken from it: names and versions, nothing that tells pip where to look.

One line is one requirement, as PEP 508 writes it; comments and blank lines are skipped. Options (`-r`, `--index-url`,
`--hash`), addresses and paths are refused: what is downloaded comes from the index that this machine is set to, alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.image import IMPORTS
from kernel_src.runtime.untrusted import quoted

LARGEST_BYTES = 1 << 20
SAME_AS_OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")  # each brings cv2
_CURE = "one package a line, e.g. einops==0.8.1"


@dataclass(frozen=True)
class Wanted:
    """One line of the file."""

    requirement: Requirement
    where: str  # file:line


def read_requirements(path: Path) -> list[Wanted]:
    """Read a requirements file.

    Raises:
        UsageError: there is no such file.
        CheckFailed: a line is more than a package and its versions; carries every such line.
    """
    if not path.is_file():
        raise UsageError(f"--wheels {path}: there is no such file")
    if path.stat().st_size > LARGEST_BYTES:
        raise UsageError(f"--wheels {path}: too large for a list of requirements")
    wanted: list[Wanted] = []
    problems: list[Problem] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        text, where = line.partition(" #")[0].strip(), f"{path}:{number}"
        if not text or text.startswith("#"):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            what = "an option of pip's" if text.startswith("-") else f"no requirement: {str(error).splitlines()[0]}"
            problems.append(Problem(what=f"{quoted(text)} is {what}", where=where, cure=_CURE))
            continue
        if requirement.url:
            problems.append(Problem(what=f"{quoted(text)} is an address or a path", where=where, cure=_CURE))
            continue
        wanted.append(Wanted(requirement, where))
    if not wanted and not problems:
        problems = [Problem(what="names no package", where=str(path), cure=_CURE)]
    if problems:
        raise CheckFailed(problems)
    return wanted


def image_versions() -> dict[str, str]:
    """Return the packages that Kaggle's image is known to have, by their normalised names; "" for no known version."""
    versions = {str(canonicalize_name(known.package)): known.version or "" for known in IMPORTS.values()}
    return versions | dict.fromkeys(SAME_AS_OPENCV, "")


def in_image(requirement: Requirement, image: Mapping[str, str]) -> bool:
    """Tell whether the image is known to have a package in a version that will do."""
    version = image.get(str(canonicalize_name(requirement.name)))
    if version is None:
        return False
    return requirement.specifier.contains(version, prereleases=True) if version else not requirement.specifier
