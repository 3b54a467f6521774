"""What a preflight saw, held against what the kit assumes: one line per assumption."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from build.core.image import IMPORTS, PYTHON_AUG_2026, SEEN_PYTHON
from kernel_src.competition.constants import MEMORY_GB

Verdict = Literal["ok", "differs", "learnt"]
GPUS = 2  # of machine_shape NvidiaTeslaT4, since P100 went
# Variables of which facts/kaggle-platform.md speaks: that must be set in such a run, and that must not.
SET, NOT_SET = ("KAGGLE_KERNEL_RUN_TYPE",), ("KAGGLE_IS_COMPETITION_RERUN",)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One assumption beside what is there."""

    what: str
    assumed: str  # empty: nothing was known
    live: str
    verdict: Verdict


def compare(report: Mapping[str, Any]) -> list[Compared]:
    """Hold a report that `accept.read_seen` has taken against the constants of build/core/image.py."""
    machine, mounts = report["machine"], report["mounts"]
    gpus = [str(gpu.get("name")) for gpu in machine["gpus"]]
    memory_gb = float(machine.get("memory_gb") or 0)
    device = machine.get("device") or {}
    variables = set(map(str, report.get("environment") or ()))
    lines = [
        _python(str(report["python"])),
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


def _python(live: str) -> Compared:
    assumed = SEEN_PYTHON or PYTHON_AUG_2026
    return _line("Python", assumed, live, live == assumed or live.startswith(f"{assumed}."))


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
