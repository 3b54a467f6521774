"""What the verbs `data` and `push-data` move: the competition's files down, bundles and flat folders up.

The competition's files are downloaded once, checked against Kaggle's list, and unpacked safely. What is there with the
right size is not fetched again. A broken download goes on at the byte; files that are already in the folder and that
Kaggle does not name are left alone.
"""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.progress import Steps, counting
from build.kaggle.archives import unpack
from build.kaggle.client import Kaggle, open_client
from build.kaggle.dataset_folders import read_manifest, stage_dataset
from build.kaggle.datasets import PushedDataset, push_dataset
from build.kaggle.downloads import safe_path
from build.kaggle.preparation import one_push
from build.kaggle.weights import find_bundles
from build.notebooks.metadata import TITLE_CHARS, slugify
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug, kernel_card
from kernel_src.runtime.manifest import MANIFEST_FILE

SPARE_BYTES = 10**8  # of the disk that are left free


def bundles_of(experiment: str, bundle: Path | None) -> dict[str, Path]:
    """Map the dataset of each bundle that an experiment's inference mounts to its folder; `bundle` names another one.

    Raises:
        UsageError: no such experiment, or it has no bundle on this machine.
        CheckFailed: the folder that was named is not this experiment's bundle.
    """
    if experiment not in {**EXPERIMENTS, **ENSEMBLES}:
        raise UsageError(f"no experiment {experiment!r}; there are {', '.join(sorted({**EXPERIMENTS, **ENSEMBLES}))}")
    if bundle is None:
        return find_bundles(kernel_card(experiment, "infer"))
    slug = bundle_slug(experiment)
    if problem := _another_bundle(slug, bundle):
        raise CheckFailed([problem])
    return {slug: bundle}


def any_folder(folder: Path, slug: str) -> dict[str, Path]:
    """Map the dataset `slug` to a folder that may become it.

    Raises:
        UsageError: no such folder, or Kaggle accepts no slug like this.
    """
    if not folder.is_dir():
        raise UsageError(f"DIR={folder} is not a folder")
    check_dataset_slug(slug)
    return {slug: folder}


def check_dataset_slug(slug: str) -> None:
    """Make sure that a dataset of one's own can have this name.

    Raises:
        UsageError: it cannot; names the rule, and the nearest slug that follows it.
    """
    shortest, longest = TITLE_CHARS["dataset"]
    if slugify(slug) != slug or not shortest <= len(slug) <= longest:
        near = slugify(slug.rpartition("/")[2])[:longest].strip("-")
        hint = f", e.g. SLUG={near}" if len(near) >= shortest else ""
        rule = f"lower-case letters, digits and single hyphens, {shortest} to {longest} characters"
        raise UsageError(f"SLUG={slug!r} is not the slug of a dataset of yours: {rule}, without the owner{hint}")


def push_folders(folders: Mapping[str, Path], again: str, *, quiet: bool) -> list[PushedDataset]:
    """Upload folders as private datasets, by slug; `again` is the command that resumes it.

    Raises:
        UsageError: another push is running.
        CheckFailed: no credentials, a folder that cannot be a dataset, or Kaggle refuses it.
    """
    steps = Steps(total=1 + len(folders), quiet=quiet)
    pushed = []
    with one_push(again) as journal:
        client = sign_in(steps)
        for slug, folder in folders.items():
            url = f"https://www.kaggle.com/datasets/{client.username}/{slug}"
            with steps.step("dataset", f"{folder} → {url}") as note:
                staged = stage_dataset(slug, folder, client.username)
                if staged.left_out and not quiet:
                    print(f"      hidden files are not uploaded: {', '.join(staged.left_out)}")
                pushed.append(push_dataset(staged, client, journal))
                note(str(pushed[-1]))
    return pushed


def sign_in(steps: Steps) -> Kaggle:
    """Sign in, as a step of its own.

    Raises:
        CheckFailed: no credentials, or Kaggle does not accept them.
    """
    with steps.step("account", "signing in") as note:
        client = open_client()
        note(f"{client.username}, client {client.client_version}")
    return client


def _another_bundle(slug: str, folder: Path) -> Problem | None:
    """Find out that a bundle belongs to another dataset than the one it would be pushed to."""
    path = folder / MANIFEST_FILE
    named = read_manifest(path.read_bytes()).get("dataset") if path.is_file() else None
    if named == slug:
        return None
    what = f"it is the bundle of {named}, not of {slug}" if named else "it is not a bundle of this kit"
    return Problem(what=what, where=str(path), cure="name the folder that `python -m build bundle` made")


@dataclass(frozen=True, kw_only=True)
class Data:
    """The competition's files on this machine."""

    folder: str
    files: int
    bytes: int
    outcome: str  # "downloaded" or "already there"
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in one line, and a line per note."""
        lines = (f"{self.outcome}: {self.folder}, {self.files} files, {self.bytes / 1e6:.1f} MB", *self.notes)
        return "\n".join(lines)


def fetch_data(client: Kaggle, competition: str, folder: Path, *, limit_bytes: int) -> Data:
    """Download the competition's files into a folder, unless they are there.

    Raises:
        CheckFailed: rules not accepted, no room, or an archive that is damaged, unsafe, or not what Kaggle lists.
    """
    listed = client.competition_files(competition)
    for name in listed:
        safe_path(folder, name)
    if listed and not find_missing(listed, folder):
        return _data(folder, listed, "already there")
    total = sum(listed.values())
    _check_room(folder, total, limit_bytes)
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder.with_name(f".{folder.name}.zip")
    quiet = not sys.stdout.isatty()
    if not archive.is_file():  # whole, from a run that was stopped while it unpacked
        with counting("downloading, bytes", quiet) as advance:
            client.download_competition(competition, archive, limit_bytes=limit_bytes, advance=advance)
    with counting("unpacking, files", quiet) as advance:
        try:
            unpacked = unpack(archive, folder, limit_bytes=limit_bytes, advance=advance)
        finally:
            # A stop by Ctrl-C keeps it, too; an archive that was refused or is damaged would be so again.
            if not isinstance(sys.exc_info()[1], KeyboardInterrupt):
                archive.unlink(missing_ok=True)
    if lost := sorted(set(listed) - set(unpacked)):
        what = f"the archive lacks {len(lost)} of the {len(listed)} files that Kaggle lists, e.g. {lost[0]}"
        raise CheckFailed([Problem(what=what, where=str(folder), cure="run the same command again")])
    # The archive's CRC-32 vouches for the bytes; a listed size that differs is worth a line, not a refusal.
    other = [name for name, size in listed.items() if size and unpacked[name] != size]
    notes = (f"{len(other)} files are of another size than Kaggle lists, e.g. {other[0]}",) if other else ()
    return _data(folder, unpacked, "downloaded", notes)


def find_missing(listed: Mapping[str, int], folder: Path) -> list[str]:
    """Name the listed files that are not there, or of another size."""
    places = {name: folder / name for name in listed}
    return [name for name, place in places.items() if not place.is_file() or place.stat().st_size != listed[name]]


def _check_room(folder: Path, total: int, limit_bytes: int) -> None:
    """Stop before the first byte where there is no room for the archive and what comes out of it."""
    there = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if total > limit_bytes:
        what, cure = f"the data are {total / 1e9:.1f} GB; the limit is {limit_bytes / 1e9:.1f}", "raise it: --limit-gb"
    elif 2 * total + SPARE_BYTES > free:
        what = f"the data are {total / 1e9:.1f} GB, once packed and once unpacked; the disk has {free / 1e9:.1f}"
        cure = "make room, or name another disk with --folder"
    else:
        return
    raise CheckFailed([Problem(what=what, where=str(folder), cure=cure)])


def _data(folder: Path, files: Mapping[str, int], outcome: str, notes: tuple[str, ...] = ()) -> Data:
    return Data(folder=str(folder), files=len(files), bytes=sum(files.values()), outcome=outcome, notes=notes)
