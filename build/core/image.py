"""What Kaggle's image holds, as far as it is known: the one file of such constants.

The versions were read from the image's published lists in May and August 2026 (facts/kaggle-platform.md, "Runtime
image"). `None` means: it is there, in which version is unknown until a preflight on the live site has printed it.
What the last accepted preflight saw stands between the two lines "preflight: …" and counts for more than the lists.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from build.core.errors import Problem

SOURCE_LIMIT_BYTES = 1_000_000  # Kaggle answers 400 to a notebook whose source is larger
PYTHON_MAY_2026, PYTHON_AUG_2026 = "3.12.13", "3.13"
# Gone from the standard library of the image's Python 3.13 (PEP 594, PEP 632 and lib2to3), though 3.11 still has them.
REMOVED_STDLIB = frozenset(
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib "
    "ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib".split()
)

# preflight: begin (written by `python -m build preflight --accept`, never by hand)
SEEN_ON = ""
SEEN_PYTHON = ""
SEEN_LAYOUT = ""
SEEN_GPUS: tuple[str, ...] = ()
SEEN_VERSIONS: dict[str, str] = {}
# preflight: end


@dataclass(frozen=True, kw_only=True)
class ImagePackage:
    """One package of the image, under the name that installs it."""

    package: str
    may_2026: str | None = None
    aug_2026: str | None = None
    live: str | None = None  # seen by the last accepted preflight
    note: str = "in the image, version unknown until a preflight has run"

    @property
    def version(self) -> str | None:
        """The version of the newest image known."""
        return self.live or self.aug_2026


_LISTED = "facts/kaggle-platform.md, runtime image"
# Name in `import` → package. Kernels may import these and the standard library, nothing else.
IMPORTS: dict[str, ImagePackage] = {
    "torch": ImagePackage(package="torch", may_2026="2.10.0", aug_2026="2.11.0", note=f"{_LISTED}, cu128"),
    "torchvision": ImagePackage(package="torchvision", may_2026="0.25.0", aug_2026="0.26.0", note=f"{_LISTED}, cu128"),
    "timm": ImagePackage(package="timm", may_2026="1.0.26", aug_2026="1.0.28", note=_LISTED),
    "transformers": ImagePackage(package="transformers", may_2026="5.0.0", aug_2026="5.15.0", note=_LISTED),
    "albumentations": ImagePackage(package="albumentations", may_2026="2.0.8", aug_2026="2.0.8", note=_LISTED),
    "numpy": ImagePackage(package="numpy", may_2026="2.0.2", aug_2026="2.1.3", note=_LISTED),
    "pandas": ImagePackage(package="pandas", may_2026="2.2.2", aug_2026="2.2.3", note=_LISTED),
    "sklearn": ImagePackage(package="scikit-learn", may_2026="1.6.1", aug_2026="1.6.1", note=_LISTED),
    "safetensors": ImagePackage(package="safetensors"),
    "accelerate": ImagePackage(package="accelerate"),
    "cv2": ImagePackage(package="opencv-python-headless"),
    "matplotlib": ImagePackage(package="matplotlib"),
    "tqdm": ImagePackage(package="tqdm"),
    # Not in the fact sheet, but nothing above installs or runs without them.
    "PIL": ImagePackage(package="pillow", note="torchvision needs it; version unknown until a preflight has run"),
    "scipy": ImagePackage(package="scipy", note="scikit-learn needs it; version unknown until a preflight has run"),
    "IPython": ImagePackage(package="ipython", note="runs the notebook; version unknown until a preflight has run"),
}
for _name, _live in SEEN_VERSIONS.items():
    if _name in IMPORTS:
        IMPORTS[_name] = replace(IMPORTS[_name], live=_live, note=f"seen by the preflight of {SEEN_ON}")
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
            report.unknown.append(f"{known.package}=={pin}: {known.note}")
        elif pin != wanted:
            said = f"the exception in build/core/image.py says {wanted}" if reason else f"Kaggle's image has {wanted}"
            cure = f"pin {known.package}=={wanted}, or correct build/core/image.py"
            report.problems.append(Problem(what=f"{known.package}=={pin}, but {said}", where=where, cure=cure))
        elif reason:
            report.exceptions.append(f"{known.package}=={pin}, on Kaggle {known.version}: {reason}")
    return report
