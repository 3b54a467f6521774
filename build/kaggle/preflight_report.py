"""What a preflight reports of the image: read, held against what the kit assumes, taken over into `image.json`.

The report comes over the net, and whoever may edit the notebook on the site may write anything into it: so every value
is checked, and what is taken over is data.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from build.core.errors import CheckFailed, Problem
from build.core.image import IMAGE, IMPORTS, PYTHON, Observation, as_observation, find_faults, read_image
from kernel_src.competitions.biomass.constants import MEMORY_GB
from kernel_src.runtime.files import write_text

Verdict = Literal["ok", "differs", "learnt"]
GPUS = 2  # of machine_shape NvidiaTeslaT4, since P100 went
# Variables of which facts/kaggle-platform.md speaks: that must be set in such a run, and that must not.
SET, NOT_SET = ("KAGGLE_KERNEL_RUN_TYPE",), ("KAGGLE_IS_COMPETITION_RERUN",)
_CURE = "nothing is taken over from it; look at the notebook's log on the site, then run the preflight with --again"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One assumption beside what is there."""

    what: str
    assumed: str  # empty: nothing was known
    live: str
    verdict: Verdict


def read_seen(report: Mapping[str, Any], where: str, source: str = "the preflight") -> Observation:
    """Take from a preflight's report what is kept in `image.json`; `source` says which run it was.

    Raises:
        CheckFailed: with everything in it that is not what it should be.
    """
    problems: list[Problem] = []

    def add(what: str, cure: str = _CURE) -> None:
        problems.append(Problem(what=what, where=where, cure=cure))

    layout = _part(report, "mounts").get("layout")
    if layout not in ("new", "legacy"):
        cure = "attach the competition's data and run the preflight again"
        add(f"the mounts' layout is {str(layout)[:40]!r}", cure)
    versions = {}
    for name, providers in sorted(_part(report, "versions").items(), key=lambda item: str(item[0]).lower()):
        if name in IMPORTS and isinstance(providers, dict) and providers:
            found = sorted({str(version) for version in providers.values()})
            if len(found) > 1:
                cure = "write its version into build/core/image.json by hand"
                add(f"{name} comes from several packages: {', '.join(map(str, providers))}", cure)
            versions[name] = found[0].partition("+")[0]
    if not versions:
        add("it names no package that kernels may import")
    listed = _part(report, "machine").get("gpus")
    gpus = [
        f"{gpu.get('name')} {gpu.get('capability')}" if isinstance(gpu, dict) else gpu
        for gpu in (listed if isinstance(listed, list) else [])
    ]
    texts = {"time": report.get("time"), "source": source, "python": report.get("python")}
    value = {**texts, "layout": layout if not problems else "", "gpus": gpus, "versions": versions}
    for fault in find_faults(value):
        add(fault)
    if problems:
        raise CheckFailed(problems)
    return as_observation(value)


def accept_report(seen: Observation, path: Path = IMAGE) -> str:
    """Put what a preflight saw into `image.json` in place of the one before; return the diff, empty if nothing changed.

    Raises:
        CheckFailed: the file that is there is damaged.
    """
    read_image(path)
    before = path.read_text(encoding="utf-8")
    after = json.dumps(json.loads(before) | {"preflight": asdict(seen)}, indent=2) + "\n"
    if after != before:
        write_text(path, after)
    return "\n".join(difflib.unified_diff(before.split("\n"), after.split("\n"), "before", "after", lineterm="", n=2))


def compare(report: Mapping[str, Any]) -> list[Compared]:
    """Hold a report that `read_seen` has taken against build/core/image.py."""
    machine, mounts, python = report["machine"], report["mounts"], str(report["python"])
    gpus = [str(gpu.get("name")) for gpu in machine["gpus"]]
    memory_gb = float(machine.get("memory_gb") or 0)
    device = machine.get("device") or {}
    variables = set(map(str, report.get("environment") or ()))
    lines = [
        _line("Python", PYTHON, python, python == PYTHON or python.startswith(f"{PYTHON}.")),
        *(_package(name, report["versions"].get(name) or {}) for name in IMPORTS),
        _line(
            "GPUs",
            f"{GPUS} x T4",
            f"{len(gpus)}: {', '.join(gpus)}",
            len(gpus) == GPUS and all("T4" in g for g in gpus),
        ),
        _line("device", "cuda", str(device.get("fault") or device.get("kind")), device.get("kind") == "cuda"),
        _line("memory", f"{MEMORY_GB:.0f} GB", f"{memory_gb:.1f} GB", memory_gb >= MEMORY_GB),
        _line("mounts", "new or legacy", str(mounts.get("layout")), mounts.get("layout") in ("new", "legacy")),
    ]
    lines += [_line(name, "set", "set" if name in variables else "not set", name in variables) for name in SET]
    lines += [
        _line(name, "not set", "set" if name in variables else "not set", name not in variables) for name in NOT_SET
    ]
    return lines


def as_lines(compared: list[Compared]) -> list[str]:
    """Write the comparison as a table of text."""
    rows = [
        ("", "what", "assumed", "live"),
        *((one.verdict, one.what, one.assumed or "?", one.live) for one in compared),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]).rstrip() for row in rows]


def _package(name: str, providers: Mapping[str, Any]) -> Compared:
    assumed = IMPORTS[name].version or ""
    live = ", ".join(
        f"{version} ({package})" if package != name else str(version) for package, version in providers.items()
    )
    versions = {str(version).partition("+")[0] for version in providers.values()}
    if providers and not assumed:
        return Compared(what=name, assumed="", live=live, verdict="learnt")
    return _line(name, assumed, live or "not installed", assumed in versions)


def _line(what: str, assumed: str, live: str, holds: bool) -> Compared:
    return Compared(what=what, assumed=assumed, live=live, verdict="ok" if holds else "differs")


def _part(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = report.get(name)
    return value if isinstance(value, dict) else {}
