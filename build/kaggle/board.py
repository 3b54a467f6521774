"""What runs on Kaggle now, and what is left of this week's GPU hours and today's submissions: for `make status`.

Kaggle's API lists no sessions, so what is counted are the newest versions of this kit's notebooks. It does not say
either when a run began: the minutes are those since its push, time in the queue included, and known only where it was
pushed from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from build.core.errors import CheckFailed
from build.kaggle.journal_steps import Step

if TYPE_CHECKING:
    from build.kaggle.client import Kaggle

GPU_SESSIONS = 2  # at once, by Kaggle's message to the third
GOING_ON = ("QUEUED", "RUNNING")


@dataclass(frozen=True, kw_only=True)
class Running:
    """One run that has not ended."""

    kernel: str  # owner/slug
    version: int
    state: str  # QUEUED or RUNNING
    gpu: bool
    minutes: int | None  # since it was pushed; None where that was not from here
    limit_minutes: int

    def as_line(self) -> str:
        """Write it out."""
        passed = "pushed elsewhere" if self.minutes is None else f"{self.minutes} min since its push"
        return f"{self.state.lower()}: {self.kernel} v{self.version}, {passed}, of {self.limit_minutes} allowed"


@dataclass(frozen=True, kw_only=True)
class Left:
    """What may still be used; None where Kaggle does not say."""

    gpu_left_h: float | None = None
    gpu_total_h: float | None = None
    gpu_resets: str | None = None  # UTC, ISO
    submissions_today: int | None = None
    submissions_left: int | None = None
    unknown: tuple[str, ...] = ()  # what Kaggle did not say, and why

    def as_lines(self) -> list[str]:
        """Write it out, without what is not known."""
        lines = []
        if self.gpu_left_h is not None:
            until = f", until {self.gpu_resets[:16].replace('T', ' ')} UTC" if self.gpu_resets else ""
            lines.append(f"GPU: {self.gpu_left_h:.1f} of {self.gpu_total_h:.0f} h left this week{until}")
        if self.submissions_left is not None:
            lines.append(f"submissions: {self.submissions_today} made today, {self.submissions_left} left")
        return [*lines, *self.unknown]


def running(kernel: str, version: int, state: str, steps: Sequence[Step], *, gpu: bool, limit_s: float) -> Running:
    """Describe a run that has not ended; `limit_s` is what it may take."""
    pushed = next(
        (
            step.begun
            for step in steps
            if step.step == "kernel" and step.subject == kernel and step.result.get("version") == version
        ),
        None,
    )
    passed = datetime.now(UTC) - datetime.fromisoformat(pushed) if pushed else None
    return Running(
        kernel=kernel,
        version=version,
        state=state,
        gpu=gpu,
        minutes=max(0, int(passed.total_seconds() // 60)) if passed else None,
        limit_minutes=int(limit_s) // 60,
    )


def what_is_left(client: "Kaggle", slug: str) -> Left:
    """Ask for the GPU hours, and for the submissions to the competition of this slug."""
    left, unknown = Left(), []
    try:
        quota = client.quota()
        left = replace(
            left,
            gpu_left_h=quota.gpu_left_h,
            gpu_total_h=quota.gpu_total_h,
            gpu_resets=quota.resets.isoformat() if quota.resets else None,
        )
    except CheckFailed as failed:
        unknown.append(f"GPU hours left: Kaggle did not say ({failed.problems[0].what})")
    try:
        limits = client.submission_limits(slug)
        if limits is None:
            unknown.append(f"submissions left for {slug}: Kaggle does not say")
        else:
            left = replace(left, submissions_today=limits.today, submissions_left=limits.left_now)
    except CheckFailed as failed:
        unknown.append(f"submissions left for {slug}: Kaggle did not say ({failed.problems[0].what})")
    return replace(left, unknown=tuple(unknown))


def other_sessions(client: "Kaggle", own: str) -> str:
    """Say which other notebooks of this account take a GPU session now, before a push meets the limit.

    Looked at are those that ran last, whoever pushed them; a session that is edited in the browser is not listed.
    `own` is the kernel that is going to be pushed. Nothing is returned where none goes on.
    """
    try:
        going_on = [ref for ref in client.recent_kernels() if ref != own and _on_gpu(client, ref)]
    except CheckFailed as failed:
        return f"GPU sessions: Kaggle did not say what else runs ({failed.problems[0].what})"
    if not going_on:
        return ""
    more = "this one waits until one has ended" if len(going_on) >= GPU_SESSIONS else "this one is the second"
    return f"GPU sessions: {len(going_on)} of {GPU_SESSIONS} taken by {', '.join(going_on)}; {more}"


def _on_gpu(client: "Kaggle", ref: str) -> bool:
    """Whether the newest version of a kernel is queued or runs, on a GPU."""
    owner, _, slug = ref.partition("/")
    if client.kernel_state(owner, slug).state not in GOING_ON:
        return False
    remote = client.pull_kernel(owner, slug)
    return remote is not None and bool(remote.metadata.get("enable_gpu"))


def session_line(runs: Sequence[Running]) -> str:
    """Say how many GPU sessions are taken, before a push meets the limit; nothing where none is."""
    taken = sum(run.gpu for run in runs)
    if not taken:
        return ""
    more = (
        "the next push waits until one has ended" if taken >= GPU_SESSIONS else f"{GPU_SESSIONS - taken} more can run"
    )
    return f"GPU sessions: {taken} of {GPU_SESSIONS} taken by this kit's notebooks; {more}"
