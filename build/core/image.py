"""What Kaggle's image holds, as far as it is known.

What was observed stands in `image.json`: the published lists of packages, and the last preflight that was accepted
(`python -m build preflight --accept` writes it), which counts for more. What the kit decides stands here.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem

IMAGE = Path(__file__).with_suffix(".json")
DATASET_FILES = 50  # that Kaggle takes side by side; facts/kaggle-platform.md, Limits
SOURCE_LIMIT_BYTES = 1_000_000  # Kaggle answers 400 to a notebook whose source is larger
# Gone from the standard library of the image's Python 3.13 (PEP 594, PEP 632 and lib2to3), though 3.11 still has them.
REMOVED_STDLIB = frozenset(
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib "
    "ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib".split()
)
_VERSION = re.compile(r"\d[0-9A-Za-z.+!_-]{0,40}")
_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()/-]{0,60} sm_\d{2,3}")
_TEXTS = {
    "time": re.compile(r"\d{4}-\d\d(-\d\dT\d\d:\d\d:\d\dZ)?"),
    "source": re.compile(r"[\w ,.'/-]{1,120}"),
    "python": _VERSION,
    "layout": re.compile(r"new|legacy|"),
}


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of the image at one time."""

    time: str  # UTC
    source: str  # the run, or the list
    python: str
    layout: str  # of the mounts: new, legacy, empty where it was not seen
    gpus: tuple[str, ...]  # "Tesla T4 sm_75", one per GPU
    versions: dict[str, str]  # name in `import` → version, without the local part (+cu128)


def find_faults(value: Mapping[str, Any]) -> list[str]:
    """Say which values of an observation, as JSON, are not of their form."""
    texts = [(name, value.get(name), form) for name, form in _TEXTS.items()]
    texts += [("a GPU", gpu, _GPU) for gpu in value["gpus"]]
    texts += [(f"the version of {name}", version, _VERSION) for name, version in value["versions"].items()]
    return [
        f"{name} is {str(text)[:80]!r}, which is not of the expected form"
        for name, text, form in texts
        if not (isinstance(text, str) and form.fullmatch(text))
    ]


def as_observation(value: Mapping[str, Any]) -> Observation:
    """Make an observation of JSON without faults."""
    texts = {name: value[name] for name in _TEXTS}
    return Observation(**texts, gpus=tuple(value["gpus"]), versions=dict(value["versions"]))


def read_image(path: Path = IMAGE) -> tuple[Observation, Observation | None]:
    """Read what the published lists say, and what the last accepted preflight saw; None before the first.

    Raises:
        CheckFailed: the file is missing, damaged, or holds a value that is not of its form.
    """
    cure = f"correct it; `git diff {path}` shows what was changed"
    try:
        content = json.loads(path.read_bytes())
        lists, preflight = content["lists"], content["preflight"]
        faults = [*find_faults(lists), *(find_faults(preflight) if preflight else ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        faults = [f"it cannot be read ({type(error).__name__}: {error})"]
    if faults:
        raise CheckFailed([Problem(what=fault, where=str(path), cure=cure) for fault in faults])
    return as_observation(lists), as_observation(preflight) if preflight else None


@dataclass(frozen=True, kw_only=True)
class ImagePackage:
    """One package of the image, under the name that installs it."""

    package: str
    version: str | None = None  # None: it is there, in which version is unknown until a preflight has run


LISTED, SEEN = read_image()
PYTHON = (SEEN or LISTED).python
_VERSIONS = LISTED.versions | (SEEN.versions if SEEN else {})
_IMPORTS = (
    "torch torchvision timm transformers albumentations numpy pandas sklearn safetensors accelerate cv2 matplotlib "
    "tqdm PIL scipy IPython"  # not in the published lists, but nothing above installs or runs without the last three
)
_PACKAGES = {"sklearn": "scikit-learn", "cv2": "opencv-python-headless", "PIL": "pillow", "IPython": "ipython"}
# Name in `import` → package. Kernels may import these and the standard library, nothing else.
IMPORTS: dict[str, ImagePackage] = {
    name: ImagePackage(package=_PACKAGES.get(name, name), version=_VERSIONS.get(name)) for name in _IMPORTS.split()
}
# Packages that ask the internet on import unless this variable is set before.
ASKS_THE_INTERNET = {"albumentations": "NO_ALBUMENTATIONS_UPDATE"}

# Pins that differ from the image on purpose: package → (pin, reason). Anything else that differs is a fault.
LOCAL_EXCEPTIONS: dict[str, tuple[str, str]] = {
    "torch": ("2.14.1", "this build installs from the registry alone; Kaggle's 2.11.0 is the cu128 one"),
    "torchvision": ("0.29.1", "belongs to torch 2.14.1"),
}

# `machine_shape` → what it is. From kaggle-cli docs/kernels.md (Feb 2026), its pull request 1198 (Sep 2026: T4 means
# two) and facts/kaggle-platform.md. Kaggle takes an unknown name without a word and gives another machine.
MACHINE_SHAPES: dict[str, str] = {
    "": "CPU, 4 cores",
    "NvidiaTeslaT4": "two T4, 15 GB each, sm_75, 4 cores, 29 GB of memory",
    "NvidiaL4": "L4; some competitions only",
    "NvidiaL4X1": "one L4; some competitions only",
    "NvidiaTeslaA100": "A100; some competitions only",
    "NvidiaH100": "H100; some competitions only",
    "NvidiaRtxPro6000": "RTX Pro 6000, 96 GB; some competitions only",
}
RETIRED_SHAPES: dict[str, str] = {
    "NvidiaTeslaP100": "retired in September 2026, silently gives T4; the image's torch has no kernels for its sm_60",
    "NvidiaTeslaT4Highmem": "for Kaggle's own staff",
}


def assumed_versions() -> dict[str, str]:
    """Return what the kit takes the image to hold: name in `import` → version, empty where it is not known."""
    return {name: known.version or "" for name, known in IMPORTS.items()}


@dataclass(frozen=True)
class PinReport:
    """How the local pins compare with the image."""

    problems: list[Problem]
    unknown: list[str]  # pinned here, version on Kaggle not known
    exceptions: list[str]  # differ on purpose, with the reason


def read_pins(pyproject: str) -> dict[str, str]:
    """Return package → version of the project's dependencies; a dependency that is not pinned has an empty version.

    Raises:
        tomllib.TOMLDecodeError: `pyproject` is not TOML.
    """
    pins = {}
    for line in tomllib.loads(pyproject).get("project", {}).get("dependencies", []):
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:==\s*([^\s;,]+)\s*(?:;.*)?$)?", line)
        if match:
            # PyPI's own rule for names: case and the kind of separator do not count.
            pins[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2] or ""
    return pins


def compare_pins(
    pyproject: str,
    imported: Iterable[str],
    *,
    where: str = "pyproject.toml",
    image: Mapping[str, ImagePackage] = IMPORTS,
    exceptions: Mapping[str, tuple[str, str]] = LOCAL_EXCEPTIONS,
) -> PinReport:
    """Compare the pins in the text of a pyproject.toml with the image, for the names that kernels import.

    Names that the image does not have are none of this function's business: the import check reports them.
    """
    report = PinReport([], [], [])
    pins = read_pins(pyproject)
    for name in sorted(set(imported) & set(image), key=str.lower):
        known = image[name]
        pin = pins.get(known.package)
        wanted, reason = exceptions.get(known.package, (known.version, ""))
        if not pin:
            what = f"kernels import {name}, but {known.package} is {'not pinned' if pin is None else 'without =='}"
            cure = f"add {known.package}=={wanted}" if wanted else f"add {known.package}==<the version installed here>"
            report.problems.append(Problem(what=what, where=where, cure=cure))
        elif wanted is None:
            report.unknown.append(f"{known.package}=={pin}: its version on Kaggle is unknown until a preflight has run")
        elif pin != wanted:
            said = f"the exception in build/core/image.py says {wanted}" if reason else f"Kaggle's image has {wanted}"
            cure = f"pin {known.package}=={wanted}, or correct build/core/image.{'py' if reason else 'json'}"
            report.problems.append(Problem(what=f"{known.package}=={pin}, but {said}", where=where, cure=cure))
        elif reason:
            report.exceptions.append(f"{known.package}=={pin}, on Kaggle {known.version}: {reason}")
    return report
