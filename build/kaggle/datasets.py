"""A dataset is pushed to Kaggle once: skipped when these very bytes are there, and done only when every file is.

1. What does the site have? The list of files with their sizes, and its manifest, which names the sha256 of each.
2. Different, or nothing: upload, then one request that makes a version of exactly these files.
3. Wait until the site says READY *and* lists every file of the new version with its size. READY alone lies: a notebook
   that starts then finds an empty folder.

Where a response was lost, or a run was killed in between, nothing is sent again before the site has had time to show
what it may have taken (effects.py).
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.core.progress import ShowState, watching
from build.kaggle.client import Kaggle
from build.kaggle.dataset_folders import StagedDataset, same_manifest, stage_dataset
from build.kaggle.dataset_requests import READY, UNUSABLE
from build.kaggle.effects import look_until, settles_at, was_sent
from build.kaggle.explain import ResponseLost, is_taken
from build.kaggle.journal import Entry, Journal
from build.kaggle.retry import pause

PATIENT_LOOKS = 20  # READY, and yet files or the version are missing: Kaggle may be late, up to here
READY_LIMIT_S = 2 * 3600.0  # a dataset of many gigabytes is processed for a long time


@dataclass(frozen=True, kw_only=True)
class PushedDataset:
    """A dataset that is on Kaggle, complete."""

    ref: str
    url: str
    version: int
    files: int
    bytes: int
    outcome: str  # "created", "new version" or "already there"
    sent_before: int = 0  # bytes that an earlier run had sent, and this one did not

    def __str__(self) -> str:
        """Say it in one line."""
        size = f"{self.files} files, {self.bytes / 1e6:.1f} MB"
        resumed = f" ({self.sent_before / 1e6:.1f} MB of them sent by an earlier run)" if self.sent_before else ""
        return f"{self.outcome}: {self.ref} version {self.version}, ready with {size}{resumed}, {self.url}"


def push_folder(slug: str, folder: Path, client: Kaggle, journal: Journal) -> str:
    """Push a folder to Kaggle as the dataset `slug`; return a status line.

    Raises:
        CheckFailed: it may not be uploaded as it is, or did not arrive whole.
    """
    return str(push_dataset(stage_dataset(slug, folder, client.username), client, journal))


def push_dataset(
    staged: StagedDataset, client: Kaggle, journal: Journal, *, limit_s: float = READY_LIMIT_S
) -> PushedDataset:
    """Push a staged folder to Kaggle unless it is there, and wait until it is complete.

    Raises:
        CheckFailed: it did not arrive whole, in time, or at all.
    """
    with watching(f"dataset {staged.slug}", quiet=not sys.stdout.isatty()) as show_state:
        earlier = journal.unanswered("dataset", staged.inputs)
        version, state = _find(staged, earlier, client, show_state, limit_s)
        if version:
            if earlier:
                version = _go_on(staged, earlier, version, client, journal, show_state, limit_s)
                client.forget_uploads(staged.folder)
            return _pushed(staged, version, "already there")
        if state == "DELETED":
            cure = "a deleted slug cannot be used again: choose another"
            raise CheckFailed([Problem(what="this dataset was deleted on Kaggle", where=staged.url, cure=cure)])
        before = client.dataset_version(staged.owner, staged.slug) or 0 if state is not None else 0
        show_state("uploading")
        uploaded = client.upload(staged.folder)
        if uploaded.sent_before:
            show_state(f"upload resumed: {uploaded.sent_before / 1e6:.1f} MB had come before")
        with journal.attempt("dataset", staged.inputs, version_before=before) as result:
            try:
                if state is None:
                    client.create_dataset(staged.folder, uploaded, result.sending)
                else:
                    note = f"manifest {staged.inputs['manifest_sha256'][:12]}"
                    client.new_dataset_version(staged.folder, note, uploaded, result.sending)
            except CheckFailed as failed:
                # Sent before, by this run or one that was killed, and hidden so far: the name is taken, by us.
                ours = was_sent(earlier) or isinstance(failed, ResponseLost)
                if not (ours and state is None and is_taken(failed)):
                    raise
            result.taken()
            result["version"] = wait_until_there(staged, client, before, show_state, limit_s=limit_s)
    return _pushed(staged, result["version"], "new version" if before else "created", uploaded.sent_before)


def _find(
    staged: StagedDataset, earlier: Entry | None, client: Kaggle, show_state: ShowState, limit_s: float
) -> tuple[int | None, str | None]:
    """Look for a version that is this folder, or that an earlier run has made, complete or not; return the state, too.

    Where that run's request may still be on its way, this looks until it must have shown (effects.py, 7).
    """
    state: str | None = None
    asked_for = earlier if was_sent(earlier) else None

    def look() -> int | None:
        nonlocal state
        state = _settled_state(staged, client, show_state, limit_s)
        if state in UNUSABLE and asked_for is None:
            return 0
        version = client.dataset_version(staged.owner, staged.slug) or 0 if state == READY else 0
        if version and asked_for and version > asked_for.result["version_before"]:
            return version
        if version and not find_differences(staged, client, version):
            return version
        if asked_for:
            show_state("an earlier run may have sent it: looking for it")
        return None

    return look_until(look, settles_at(earlier)), state


def _go_on(
    staged: StagedDataset,
    earlier: Entry,
    version: int,
    client: Kaggle,
    journal: Journal,
    show_state: ShowState,
    limit_s: float,
) -> int:
    """Finish what an earlier run has begun, and return the version."""
    before = earlier.result["version_before"] if was_sent(earlier) else version - 1
    with journal.attempt("dataset", staged.inputs, version_before=before) as result:
        result.taken(sent=earlier.result.get("sent", 0.0))
        result["version"] = wait_until_there(staged, client, before, show_state, limit_s=limit_s)
    return int(result["version"])


def find_differences(staged: StagedDataset, client: Kaggle, version: int | None) -> list[str]:
    """List in what the site's newest version is not this folder; empty: every size and, by manifest, every hash."""
    listed = client.dataset_files(staged.owner, staged.slug, version)
    found = compare_sizes(staged.sizes, listed)
    if not found:
        theirs = client.dataset_file(staged.owner, staged.slug, staged.manifest)
        if not same_manifest(staged.folder / staged.manifest, theirs):
            found.append(f"{staged.manifest} names other hashes")
    return found


def compare_sizes(wanted: dict[str, int], listed: dict[str, int]) -> list[str]:
    """List the files that are missing, of another size, or too many."""
    found = [f"{name} is missing" for name in wanted if name not in listed]
    found += [
        f"{name} has {listed[name]:,} bytes, not {size:,}"
        for name, size in wanted.items()
        if name in listed and listed[name] != size
    ]
    return found + [f"{name} is there and should not be" for name in sorted(set(listed) - set(wanted))]


def wait_until_there(
    staged: StagedDataset, client: Kaggle, before: int, show_state: ShowState, *, limit_s: float = READY_LIMIT_S
) -> int:
    """Wait for a version above `before` that is READY and lists every file with its size; return its number.

    Raises:
        CheckFailed: Kaggle could not process it, lacks files although it calls itself ready, or takes too long.
    """
    start, looks, found = time.monotonic(), 0, ["nothing is listed yet"]
    while True:
        state = client.dataset_state(staged.owner, staged.slug)
        if state in UNUSABLE:
            what = f"Kaggle could not process the upload (state {state})"
            raise CheckFailed([Problem(what=what, where=staged.url, cure="run the same command again")])
        if state == READY:
            version = client.dataset_version(staged.owner, staged.slug) or 0
            if version > before:
                found = find_differences(staged, client, version)
                if not found:
                    return version
            looks += 1
            if looks >= PATIENT_LOOKS:
                if version <= before:
                    found = [f"the newest version is still {version}"]
                raise CheckFailed([_incomplete(staged, found)])
            show_state(f"ready, but {found[0]}")
        else:
            show_state(f"{state or 'not shown yet'}")
        if time.monotonic() - start > limit_s:
            what = f"still {state or 'not shown'} after {limit_s / 60:.0f} minutes"
            raise CheckFailed(
                [Problem(what=what, where=staged.url, cure="run the same command again: it continues to wait")]
            )
        pause()


def _settled_state(staged: StagedDataset, client: Kaggle, show_state: ShowState, limit_s: float) -> str | None:
    """Return the state once nothing is being processed, this version or another."""
    start = time.monotonic()
    while (state := client.dataset_state(staged.owner, staged.slug)) not in (None, READY, *UNUSABLE):
        show_state(str(state))
        if time.monotonic() - start > limit_s:
            what = f"an earlier version is still {state} after {limit_s / 60:.0f} minutes"
            raise CheckFailed([Problem(what=what, where=staged.url, cure="run the same command later")])
        pause()
    return state


def _pushed(staged: StagedDataset, version: int, outcome: str, sent_before: int = 0) -> PushedDataset:
    sizes = staged.sizes
    return PushedDataset(
        ref=staged.ref,
        url=staged.url,
        version=version,
        files=len(sizes),
        bytes=sum(sizes.values()),
        outcome=outcome,
        sent_before=sent_before,
    )


def _incomplete(staged: StagedDataset, found: list[str]) -> Problem:
    return Problem(
        what=f"Kaggle calls the dataset ready, but {'; '.join(found)}: no notebook may start with it",
        where=staged.url,
        cure="run the same command again: it makes a new, complete version",
    )
