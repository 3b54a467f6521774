"""A folder becomes ready to be a dataset: looked through, described, listed with sizes and hashes, and staged.

What Kaggle would change or drop without a word is refused here with the reason: it unpacks archives, drops folders,
and shows at most 50 files.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core.bundle_files import file_entry, verify_manifest
from build.core.errors import CheckFailed, Problem, UsageError
from build.core.image import DATASET_FILES
from build.core.secret_scan import WITHDRAW, find_secret, holds_secret, is_credential_file, is_credential_name
from build.notebooks.builder import DATASETS_META, ROOT
from build.notebooks.metadata import DATASET_METADATA, OWN_WEIGHTS_LICENCE, OWNER, dataset_metadata, dataset_problems
from build.notebooks.seal import dump_metadata, read_object
from build.run.mock import ARCHIVES, NOT_UPLOADED
from kernel_src.runtime.files import BUNDLE_FORMAT, sha256_of, write_json
from kernel_src.runtime.manifest import MANIFEST_FILE, BundleError

STAGING = Path("out", "push", "staging", "datasets")
OWN_MANIFEST = "kit-manifest.json"  # for a folder whose own manifest is missing or something else
MAX_BYTES = 200 * 10**9  # facts/kaggle-platform.md, Limits
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._()+=@-]{0,199}")


@dataclass(frozen=True, kw_only=True)
class StagedDataset:
    """A dataset as it is sent."""

    owner: str
    slug: str
    folder: Path  # in out/push/staging: links to the files, and the description with the owner filled in
    manifest: str  # the name of the file that lists the others
    sizes: dict[str, int]  # name → bytes of every file that is uploaded, the manifest too
    left_out: tuple[str, ...]  # hidden files of the source folder

    @property
    def ref(self) -> str:
        """The name on Kaggle, owner/slug."""
        return f"{self.owner}/{self.slug}"

    @property
    def url(self) -> str:
        """The page on Kaggle."""
        return f"https://www.kaggle.com/datasets/{self.ref}"

    @property
    def inputs(self) -> dict[str, Any]:
        """The journal's key: the name and, by way of the manifest's hash, every byte."""
        return {"dataset": self.ref, "manifest_sha256": sha256_of(self.folder / self.manifest)}


def stage_dataset(slug: str, source: Path, owner: str, *, root: Path = ROOT) -> StagedDataset:
    """Look a folder through and lay it out under `STAGING` as it will be uploaded.

    Raises:
        UsageError: no such folder.
        CheckFailed: something in it would not arrive as it is, or Kaggle would refuse its description.
    """
    if not source.is_dir():
        raise UsageError(f"{source} is not a folder")
    entries = sorted(source.iterdir())
    left_out = tuple(entry.name for entry in entries if entry.name.startswith("."))
    files = [entry for entry in entries if entry.name not in left_out and entry.name != DATASET_METADATA]
    metadata, where = describe(slug, source, owner, root)
    problems = find_problems(files, source) + dataset_problems(metadata, where)
    if holds_secret(json.dumps(metadata)):
        problems.append(Problem(what="its description holds a credential of this machine", where=where, cure=WITHDRAW))
    if problems:
        raise CheckFailed(problems)
    manifest = _manifest_of(source, {file.name for file in files})
    folder = STAGING / slug
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        _link(file, folder / file.name)
    if manifest == OWN_MANIFEST:
        entries_by_name = {file.name: file_entry(file) for file in files if file.name != OWN_MANIFEST}
        (folder / OWN_MANIFEST).unlink(missing_ok=True)
        write_json(folder / OWN_MANIFEST, {"format": BUNDLE_FORMAT, "dataset": slug, "files": entries_by_name})
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    (folder / DATASET_METADATA).write_bytes(dump_metadata(metadata))
    return StagedDataset(owner=owner, slug=slug, folder=folder, manifest=manifest, sizes=sizes, left_out=left_out)


def describe(slug: str, source: Path, owner: str, root: Path = ROOT) -> tuple[dict[str, Any], str]:
    """Return the content of dataset-metadata.json with the owner filled in, and where it came from.

    The committed datasets_meta/<slug>/ comes first: title and licence there are a person's.

    Raises:
        CheckFailed: it describes another dataset, or that of another account.
    """
    places = (root / DATASETS_META / slug / DATASET_METADATA, source / DATASET_METADATA)
    found = next((place for place in places if place.is_file()), None)
    if found is not None and found.is_symlink():
        what = f"a link, to {os.readlink(found)}: a description is a file of its own"
        raise CheckFailed([Problem(what=what, where=str(found), cure="put a copy in its place")])
    if found is None:
        value = dataset_metadata(slug, licence=OWN_WEIGHTS_LICENCE)
        return value | {"id": f"{owner}/{slug}"}, f"{source} as {slug}"
    value = read_object(found.read_bytes())
    if not isinstance(value.get("id"), str):
        return value, str(found)  # dataset_problems says what is missing
    named_owner, _, named_slug = value["id"].rpartition("/")
    problems = []
    if named_slug != slug:
        cure = f"SLUG={named_slug}, or correct its id"
        problems.append(Problem(what=f"it describes the dataset {named_slug}, not {slug}", where=str(found), cure=cure))
    if named_owner not in (OWNER, owner, ""):
        what = f"the dataset belongs to {named_owner}, and you are signed in as {owner}"
        problems.append(
            Problem(what=what, where=str(found), cure=f'"id": "{OWNER}/{slug}" lets everybody push their own')
        )
    if problems:
        raise CheckFailed(problems)
    return value | {"id": f"{owner}/{slug}"}, str(found)


def find_problems(files: list[Path], source: Path) -> list[Problem]:
    """List what would not arrive on Kaggle as it is here."""
    problems = []

    def add(file: Path, what: str, cure: str) -> None:
        problems.append(Problem(what=what, where=str(file), cure=cure))

    for file in files:
        if file.is_symlink():
            target = os.readlink(file)
            add(file, f"a link, to {target}: only files in the folder itself are sent", "put a copy in its place")
        elif file.is_dir():
            add(
                file,
                "a folder: Kaggle's client leaves folders out",
                "put its files beside the others, under flat names",
            )
        elif not file.is_file():
            add(file, "not a regular file", "remove it")
        elif is_credential_name(file.name) or is_credential_file(file):
            add(file, "a file of credentials: it never leaves this machine", "take it out of this folder")
        elif file.name in NOT_UPLOADED:
            add(file, "Kaggle's client never uploads a file of this name", "rename it")
        elif file.name.lower().endswith(ARCHIVES):
            add(file, "an archive: Kaggle unpacks it, and the notebook finds other files", "ship its content as files")
        elif not _NAME.fullmatch(file.name):
            cure = "letters, digits and . _ - are safe"
            add(file, "a name with characters that Kaggle may change", cure)
        elif file.stat().st_size == 0:
            add(file, "empty: a file without bytes does not arrive", "remove it")
        elif place := _secret_in(file):
            add(file, f"holds a credential of this machine ({place}): it was not sent", WITHDRAW)
    if not files:
        add(source, "there is nothing to upload", "name another folder")
    folded: dict[str, str] = {}
    for file in files:
        if (other := folded.setdefault(file.name.lower(), file.name)) != file.name:
            add(file, f"differs from {other} only in upper and lower case", "rename one of them")
    if len(files) > DATASET_FILES:
        add(source, f"{len(files)} files; Kaggle takes {DATASET_FILES} side by side", "pack them into fewer, e.g. .npz")
    if (size := sum(file.lstat().st_size for file in files if file.is_file())) > MAX_BYTES:
        add(source, f"{size / 1e9:.0f} GB; a dataset may have {MAX_BYTES / 1e9:.0f}", "split it")
    return problems


def _secret_in(file: Path) -> str:
    try:
        return find_secret(file)
    except OSError as error:
        return f"perhaps: it cannot be read, {error.strerror}"


def manifest_faults(manifest: Mapping[str, Any], names: set[str]) -> list[str]:
    """List the files that a verified manifest does not speak of."""
    return sorted(names - set(manifest["files"]) - {MANIFEST_FILE})


def _manifest_of(source: Path, names: set[str]) -> str:
    """Return the name of the file that lists all others with their hashes: the folder's own, or one that we write.

    Raises:
        CheckFailed: a manifest of this kit that its own files contradict.
    """
    if MANIFEST_FILE not in names:
        return OWN_MANIFEST
    text = read_object((source / MANIFEST_FILE).read_bytes())
    if not isinstance(text.get("format"), int) or not isinstance(text.get("files"), dict):
        return OWN_MANIFEST  # somebody else's idea of a manifest
    try:
        manifest = verify_manifest(source)
    except BundleError as error:
        cure = "make the bundle again; nothing was uploaded"
        raise CheckFailed([Problem(what=str(error), where=str(source), cure=cure)]) from None
    if unlisted := manifest_faults(manifest, names):
        what = f"its manifest does not list {', '.join(unlisted)}"
        raise CheckFailed([Problem(what=what, where=str(source), cure="remove them, or make the bundle again")])
    return MANIFEST_FILE


def _link(source: Path, place: Path) -> None:
    """Put a file into the staging folder without copying gigabytes."""
    try:
        os.link(source.resolve(), place)
    except OSError:  # another disk
        place.symlink_to(source.resolve())


def read_manifest(text: bytes | None) -> dict[str, Any]:
    """Parse a manifest from the site; whatever else it is gives an empty one."""
    return read_object(text) if text is not None else {}


def same_manifest(ours: Path, theirs: bytes | None) -> bool:
    """Return whether the site's manifest is this very one."""
    if theirs is None:
        return False
    local = ours.read_bytes()
    return local == theirs or (bool(json.loads(local)) and read_manifest(theirs) == json.loads(local))
