"""What Kaggle says, in our own words: one frozen record per kind of answer, free of the client's types."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

ABSENT = "ABSENT"  # the kernel does not exist, or not yet: Kaggle answers 403 as well as 404
WAITING_STATES = ("QUEUED", "RUNNING", "NEW_SCRIPT", "CANCEL_REQUESTED")
FINAL_STATES = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")


@dataclass(frozen=True)
class PushedKernel:
    """A kernel's version that Kaggle accepted."""

    version: int
    url: str
    recovered: bool = False  # the answer was lost; that it took effect was asked for afterwards


@dataclass(frozen=True)
class KernelState:
    """How far the newest run of a kernel is."""

    state: str  # one of WAITING_STATES, FINAL_STATES, ABSENT
    failure: str = ""

    @property
    def is_final(self) -> bool:
        """True when waiting longer changes nothing."""
        return self.state in FINAL_STATES


@dataclass(frozen=True)
class RemoteKernel:
    """A kernel as the site has it: keys of kernel-metadata.json, the source text, the newest version."""

    metadata: dict[str, Any]
    source: str
    version: int | None


@dataclass(frozen=True)
class KernelOutput:
    """What a run left behind, downloaded."""

    files: dict[str, int] = field(default_factory=dict)  # name relative to the folder → bytes
    log: str = ""
    of_newest: bool = False  # not asked for by its version, or Kaggle knows no label: whichever version is the newest


@dataclass(frozen=True)
class Submission:
    """One line of the competition's list of submissions."""

    ref: int
    date: datetime | None
    status: str  # PENDING, COMPLETE or ERROR
    public: float | None
    private: float | None
    file: str
    description: str
    error: str = ""


@dataclass(frozen=True)
class SubmissionLimits:
    """How many submissions were made and are left."""

    today: int
    total: int
    left_now: int


@dataclass(frozen=True)
class Quota:
    """GPU hours of this week; None where Kaggle does not say."""

    gpu_used_h: float | None
    gpu_total_h: float | None
    resets: datetime | None  # UTC

    @property
    def gpu_left_h(self) -> float | None:
        """Hours left, never below zero."""
        if self.gpu_used_h is None or self.gpu_total_h is None:
            return None
        return max(0.0, self.gpu_total_h - self.gpu_used_h)
