"""The report of one rehearsal, as a dataclass, as report.json and as lines for a terminal."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from build.core.errors import Problem
from build.core.foreign_text import shown, shown_value
from build.run.rehearse.failure import Failure

REPORT_FILE = "report.json"


@dataclass(frozen=True, kw_only=True)
class CellTime:
    """How long one code cell took."""

    cell: int  # n of In[n]
    title: str
    source: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class NetworkAttempt:
    """One try to leave the machine."""

    target: str  # host:port, or the command
    source: str  # kernel_src file:line, or the cell, as far as it is known


@dataclass(frozen=True, kw_only=True)
class SubmissionCheck:
    """What the validator said of submission.csv."""

    rows: int
    valid: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a rehearsal found out; `ok` means nothing stands against submitting this notebook."""

    notebook: str
    source_sha256: str = ""  # of the sources it was stitched from, as the notebook says
    manifests: dict[str, str] = field(default_factory=dict)  # mounted dataset's slug → sha256 of its manifest.json
    out: str
    rerun: bool
    layout: str
    seconds: float  # wall time of the sandbox
    limit_s: float
    peak_rss_gb: float  # sum of PSS over all its processes, GB of 1024³ bytes
    memory_gb: float  # the limit
    isolation: dict[str, str]
    network_attempts: int
    network: tuple[NetworkAttempt, ...] = ()
    cell_seconds: tuple[CellTime, ...] = ()
    edited: bool = False  # since it was built: its sources are not what ran
    images: int | None = None  # test images of an inference, train images of a training
    projected_seconds_800: float | None = None  # of an inference on 800 test images
    projection: str = ""  # how that number came about
    device: dict[str, Any] = field(default_factory=dict)
    submission: SubmissionCheck | None = None
    failure: Failure | None = None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Say whether nothing was found."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return what report.json holds."""
        return {"ok": self.ok, **shown_value(asdict(self))}

    def write(self, path: Path) -> None:
        """Write report.json."""
        path.write_text(json.dumps(self.as_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def as_lines(self) -> list[str]:
        """Write the result out, a line that sums it up last."""
        lines = [f"note: {note}" for note in self.notes]
        if self.failure:
            lines += self.failure.as_text().splitlines()
        lines += [f"problem: {problem}" for problem in self.problems]
        isolation = ", ".join(f"{what}: {how}" for what, how in self.isolation.items())
        lines.append(f"isolation: {isolation}; network attempts: {self.network_attempts}")
        if self.device:
            lines.append("device: " + ", ".join(f"{key} {value}" for key, value in self.device.items() if value))
        if self.projected_seconds_800 is not None:
            lines.append(f"800 images would take about {self.projected_seconds_800:.0f} s ({self.projection})")
        verdict = "rehearsal ok" if self.ok else f"rehearsal failed: {len(self.problems)} problem(s)"
        rows = f", {self.submission.rows} valid rows" if self.submission and self.submission.valid else ""
        usage = f"{self.seconds:.1f} s of {self.limit_s:g}, {self.peak_rss_gb:.2f} GB of {self.memory_gb:g}"
        return [*map(shown, lines), f"{verdict} ({usage}{rows}) → {Path(self.out, REPORT_FILE)}"]
