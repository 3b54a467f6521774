"""A dataset gets onto Kaggle once: skipped when these very bytes are there, and there only when every file is.

1. What does the site have? The list of files with their sizes, and its manifest, which names the sha256 of each.
2. Different, or nothing: upload, then one request that makes a version of exactly these files.
3. Wait until the site says READY *and* lists every file of the new version with its size. READY alone lies: a notebook
   that starts then finds an empty folder.

The journal notes a version before it is asked for. So a run that was killed between question and answer is gone on
with: the site is given time to show what it may have taken, before anything is sent again.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from build.problems import CheckFailed, Problem
from build.progress import watching
from build.push.client import Kaggle
from build.push.dataset_folders import StagedDataset, same_manifest, stage_dataset
from build.push.explain import is_lost, is_taken
from build.push.journal import Journal
from build.push.polling import Tell, pause

READY, DEAD = "READY", ("FAILED", "DELETED")
LOOKS = 3  # at what a killed run may have left, before anything is sent again
PATIENT_LOOKS = 10  # READY, and yet files are missing: Kaggle may be late, up to here
READY_LIMIT_S = 2 * 3600.0  # a dataset of many gigabytes is processed for a long time


@dataclass(frozen=True, kw_only=True)
class PushedDataset:
    """A dataset that is on Kaggle, whole."""

    ref: str
    url: str
    version: int
    files: int
    bytes: int
    outcome: str  # "created", "new version" or "already there"

    def __str__(self) -> str:
        """Say it in one line."""
        size = f"{self.files} files, {self.bytes / 1e6:.1f} MB"
        return f"{self.outcome}: {self.ref} version {self.version}, ready with {size}, {self.url}"


def push_folder(slug: str, folder: Path, client: Kaggle, journal: Journal) -> str:
    """Bring a folder onto Kaggle as the dataset `slug`, and return a line on what became of it.

    Raises:
        CheckFailed: it may not be uploaded as it is, or did not arrive whole.
    """
    return str(push_dataset(stage_dataset(slug, folder, client.username), client, journal))


def push_dataset(
    staged: StagedDataset, client: Kaggle, journal: Journal, *, limit_s: float = READY_LIMIT_S
) -> PushedDataset:
    """Bring a staged folder onto Kaggle unless it is there, and wait until it is there whole.

    Raises:
        CheckFailed: it did not arrive whole, in time, or at all.
    """
    with watching(f"dataset {staged.slug}", quiet=not sys.stdout.isatty()) as tell:
        begun = journal.unanswered("dataset", staged.inputs)
        if begun and begun.state == "failed" and not begun.result.get("lost"):
            begun = None  # Kaggle said no, so there is nothing to look for
        state = client.dataset_state(staged.owner, staged.slug)
        for look in range(LOOKS if begun else 1):
            if look:
                pause()
                state = client.dataset_state(staged.owner, staged.slug)
            if state not in (None, READY, *DEAD):  # this, or another version, is being processed
                state = _until_processed(staged, client, tell, limit_s)
            if state == READY and not find_differences(
                staged, client, client.dataset_version(staged.owner, staged.slug)
            ):
                return _there(staged, client, journal, "already there", note=begun is not None)
        if state == "DELETED":
            cure = "a deleted slug cannot be used again: choose another"
            raise CheckFailed([Problem(what="Kaggle has this dataset as deleted", where=staged.url, cure=cure)])
        before = client.dataset_version(staged.owner, staged.slug) or 0 if state is not None else 0
        tell("uploading")
        uploaded = client.upload(staged.folder)
        with journal.attempt("dataset", staged.inputs, version_before=before) as result:
            try:
                if state is None:
                    client.create_dataset(staged.folder, uploaded)
                else:
                    note = f"manifest {staged.inputs['manifest_sha256'][:12]}"
                    client.new_dataset_version(staged.folder, note, uploaded)
            except CheckFailed as failed:
                result["lost"] = is_lost(failed)
                # Begun by a run that was killed, and not shown so far: the name is taken, by us.
                if not (begun and state is None and is_taken(failed)):
                    raise
            result["version"] = wait_until_there(staged, client, before, tell, limit_s=limit_s)
    return _there(staged, client, journal, "new version" if before else "created", version=result["version"])


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
    staged: StagedDataset, client: Kaggle, before: int, tell: Tell, *, limit_s: float = READY_LIMIT_S
) -> int:
    """Wait for a version above `before` that is READY and lists every file with its size; return its number.

    Raises:
        CheckFailed: Kaggle could not process it, lacks files although it calls itself ready, or takes too long.
    """
    start, looks, found = time.monotonic(), 0, ["nothing is listed yet"]
    while True:
        state = client.dataset_state(staged.owner, staged.slug)
        if state in DEAD:
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
            tell(f"ready, but {found[0]}")
        else:
            tell(f"{state or 'not shown yet'}")
        if time.monotonic() - start > limit_s:
            what = f"still {state or 'not shown'} after {limit_s / 60:.0f} minutes"
            raise CheckFailed(
                [Problem(what=what, where=staged.url, cure="run the same command again: it goes on waiting")]
            )
        pause()


def _until_processed(staged: StagedDataset, client: Kaggle, tell: Tell, limit_s: float) -> str | None:
    start = time.monotonic()
    while (state := client.dataset_state(staged.owner, staged.slug)) not in (None, READY, *DEAD):
        tell(str(state))
        if time.monotonic() - start > limit_s:
            what = f"an earlier version is still {state} after {limit_s / 60:.0f} minutes"
            raise CheckFailed([Problem(what=what, where=staged.url, cure="run the same command later")])
        pause()
    return state


def _there(
    staged: StagedDataset, client: Kaggle, journal: Journal, outcome: str, *, version: int = 0, note: bool = False
) -> PushedDataset:
    version = version or client.dataset_version(staged.owner, staged.slug) or 0
    if note:
        journal.record("dataset", staged.inputs, version=version)
    sizes = staged.sizes
    return PushedDataset(
        ref=staged.ref,
        url=staged.url,
        version=version,
        files=len(sizes),
        bytes=sum(sizes.values()),
        outcome=outcome,
    )


def _incomplete(staged: StagedDataset, found: list[str]) -> Problem:
    return Problem(
        what=f"Kaggle calls the dataset ready, but {'; '.join(found)}: no notebook may start with it",
        where=staged.url,
        cure="run the same command again: it makes a new version, whole",
    )
