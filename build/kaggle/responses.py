"""What Kaggle answers, as frozen records of our own: made from the client's types, which stay in here.

An error in the body of a 200 is found here, too.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from build.core.foreign_text import shown, shown_source
from build.kaggle.explain import BodyError

ABSENT = "ABSENT"  # the kernel does not exist, or not yet: Kaggle answers 403 as well as 404
FINAL_STATES = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")


@dataclass(frozen=True)
class PushedKernel:
    """A kernel's version that Kaggle accepted."""

    version: int
    url: str
    recovered: bool = False  # the response was lost; that it took effect was asked for afterwards


@dataclass(frozen=True)
class KernelState:
    """How far the newest run of a kernel is."""

    state: str  # as Kaggle names it: QUEUED, RUNNING, one of FINAL_STATES; or ABSENT
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


# Key of kernel-metadata.json → field of the response to GetKernel.
_METADATA = {
    "id": "ref",
    "title": "title",
    "language": "language",
    "kernel_type": "kernel_type",
    "is_private": "is_private",
    "enable_gpu": "enable_gpu",
    "enable_tpu": "enable_tpu",
    "enable_internet": "enable_internet",
    "machine_shape": "machine_shape",
    "dataset_sources": "dataset_data_sources",
    "competition_sources": "competition_data_sources",
    "kernel_sources": "kernel_data_sources",
    "model_sources": "model_data_sources",
    "keywords": "category_ids",
    "docker_image": "docker_image",
}
_DROPPED = {
    "invalid_dataset_sources": "dataset",
    "invalid_competition_sources": "competition",
    "invalid_kernel_sources": "notebook",
    "invalid_model_sources": "model",
}


def pushed_kernel(response: Any) -> PushedKernel:
    """Read the response to SaveKernel.

    Raises:
        BodyError: an error, sources that were dropped (Kaggle saves the kernel all the same), or no version.
    """
    dropped = [f"{kind} {name}" for field, kind in _DROPPED.items() for name in getattr(response, field) or []]
    if response.error:
        raise BodyError(response.error)
    if dropped:
        raise BodyError(
            f"it saved version {response.version_number} without {', '.join(dropped)}, so the run will not find them; "
            "each must exist, be ready, and be visible to this account"
        )
    if not response.version_number:
        raise BodyError("the response names no version, so nothing was saved")
    return PushedKernel(int(response.version_number), shown_source(str(response.url or "")))


def kernel_state(response: Any) -> KernelState:
    """Read the response to GetKernelSessionStatus."""
    return KernelState(str(response.status.name), shown(response.failure_message or ""))


def remote_kernel(response: Any) -> RemoteKernel:
    """Read the response to GetKernel."""
    found = response.metadata
    values = {key: getattr(found, field) for key, field in _METADATA.items()}
    values = {key: list(value) if isinstance(value, list | tuple) else value for key, value in values.items()}
    return RemoteKernel(values, str(response.blob.source or ""), found.current_version_number)


def saved_dataset(response: Any) -> bool:
    """Read the response to CreateDataset or CreateDatasetVersion.

    Raises:
        BodyError: the site says that it did not work.
    """
    if response.error or str(response.status or "").lower() not in ("", "ok"):
        raise BodyError(response.error or f"status {response.status}")
    return True


def listed_files(page: Any) -> dict[str, int]:
    """Read one page of ListDatasetFiles.

    Raises:
        BodyError: the site says that it did not work.
    """
    if page.error_message:
        raise BodyError(page.error_message)
    return {shown(file.name): int(file.total_bytes or 0) for file in page.dataset_files or []}


def submission_ref(response: Any) -> int | None:
    """Read the response to CreateCodeSubmission; a submission without a ref is looked for in the list afterwards.

    Raises:
        BodyError: neither a ref nor a word of success.
    """
    if response.ref:
        return int(response.ref)
    if not response.message or any(word in response.message.lower() for word in ("error", "fail", "not ", "limit")):
        raise BodyError(response.message or "the response is empty")
    return None


def submission(entry: Any) -> Submission:
    """Read one entry of ListSubmissions."""
    return Submission(
        ref=int(entry.ref),
        date=_utc(entry.date),
        status=str(entry.status.name),
        public=_score(entry.public_score),
        private=_score(entry.private_score),
        file=shown(entry.file_name or ""),
        description=shown(entry.description or ""),
        error=shown(entry.error_description or ""),
    )


def quota(response: Any) -> Quota:
    """Read the response to GetAcceleratorQuotaStatistics."""
    gpu = response.gpu_quota
    used, total = (_hours(getattr(gpu, name, None)) for name in ("time_used", "total_time_allowed"))
    return Quota(used, total, _utc(response.quota_refresh_time))


def _hours(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds() / 3600


def _utc(moment: datetime | None) -> datetime | None:
    """Say that a time is UTC: the client drops the Z."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _score(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
