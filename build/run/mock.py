"""Lay out a fake Kaggle: `kaggle/input` in either layout and an empty `kaggle/working`, from given data and bundles.

The notebook under rehearsal must see plain files. With `protected=True` the tree will be mounted read-only, and files
on the same disk are hard links, which cost nothing; otherwise every file is a copy, because a write through a hard link
would reach the original.
"""

import csv
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.submission_file import read_column
from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competitions.biomass.constants import (
    ID_COLUMN,
    NAME_COLUMN,
    SAMPLE_CSV,
    TARGET_COLUMN,
    TEST_CSV,
    TEST_FOLDER,
    TRAIN_CSV,
    sample_id,
)
from kernel_src.runtime.manifest import checked_slug
from kernel_src.runtime.untrusted import parsed_json

Layout = Literal["new", "legacy"]
MOCK_OWNER = "owner"  # of a dataset that is named without one
HIDDEN_IMAGES = 37  # of a hidden test that is made up: unlike any public test, so that no count can be right by chance
# Kaggle's client does not upload these, and the site unpacks archives.
NOT_UPLOADED = {"dataset-metadata.json", "datapackage.json", "kernel-metadata.json", "model-metadata.json"}
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


@dataclass(frozen=True)
class MockKaggle:
    """A folder that stands in for the `/` of a Kaggle session."""

    root: Path  # contains kaggle/input and kaggle/working
    notes: tuple[str, ...] = ()  # what the user should know of how it was made

    @property
    def input(self) -> Path:
        """What becomes `/kaggle/input`."""
        return self.root / "kaggle" / "input"

    @property
    def working(self) -> Path:
        """What becomes `/kaggle/working`."""
        return self.root / "kaggle" / "working"

    def remove(self) -> None:
        """Delete what `lay_out` made, also where its folders are read-only; nothing else below `root`."""
        tree = self.root / "kaggle"
        for folder in _folders(tree):
            folder.chmod(0o755)
        shutil.rmtree(tree)
        if not any(self.root.iterdir()):
            self.root.rmdir()


def lay_out(
    out: Path,
    *,
    competition_slug: str | None,
    data: Path,
    datasets: Mapping[str, Path],
    models: Mapping[str, Path] | None = None,
    layout: Layout,
    rerun: bool = False,
    hidden: Path | None = None,
    protected: bool = False,
    subfolders: bool = False,
) -> MockKaggle:
    """Build `out/kaggle/{input,working}`; what an earlier call left there is removed first.

    `data` is a folder in the competition's layout, `datasets` maps `slug` or `owner/slug` to folders. `rerun` replaces
    the public test by `hidden` (its test.csv, sample submission and test/), as Kaggle does; without `hidden`, train
    images stand in for it.
    `competition_slug=None` mounts no competition. `protected` promises that the tree will be mounted read-only.
    `subfolders` keeps the folders in a dataset, which Kaggle's client leaves out unless it is told otherwise.
    `models` maps the handles of Kaggle Models to folders with what Kaggle holds, which is mounted as it is.

    Raises:
        UsageError: a folder is missing or is not in the competition's layout.
        CheckFailed: a dataset or Model holds what Kaggle would not mount as it is.
    """
    models = models or {}
    if hidden is not None and not rerun:
        raise UsageError("a hidden test takes the place of the public one in a rerun only: add --rerun")
    _check(data, [*datasets.values(), *models.values()], hidden)
    mock, notes = MockKaggle(out), []
    if (mock.root / "kaggle").is_dir():
        mock.remove()
    mock.working.mkdir(parents=True)
    (mock.root / "kaggle" / "temp").mkdir()
    mock.input.mkdir()
    if competition_slug is not None:
        mount = competition_folder(mock, competition_slug, layout)
        public = {TEST_CSV, SAMPLE_CSV, TEST_FOLDER} if rerun else set()
        _place_tree(data, mount, without=public, protected=protected)
        if rerun and hidden is not None:
            for name in (TEST_CSV, SAMPLE_CSV, TEST_FOLDER):
                _place_tree(hidden / name, mount / name, protected=protected)
        elif rerun:
            notes.append(_make_hidden_test(data, mount, protected=protected))
    for name, folder in sorted(datasets.items()):
        own, _, slug = name.rpartition("/")
        mount = mock.input / "datasets" / (own or MOCK_OWNER) / slug if layout == "new" else mock.input / slug
        mount.mkdir(parents=True)
        left_out = []
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and subfolders:
                _place_tree(entry, mount / entry.name, protected=protected)
            elif entry.is_dir():
                left_out.append(entry.name + "/")
            elif entry.name not in NOT_UPLOADED:
                _place(entry, mount / entry.name, protected=protected)
        if left_out:
            notes.append(f"{slug}: {', '.join(left_out)} left out, as Kaggle's upload does; ship flat files")
    for handle, folder in sorted(models.items()):
        _place_tree(folder, model_folder(mock, handle, layout), without=NOT_UPLOADED, protected=protected)
    if not protected:
        for folder in _folders(mock.input):
            folder.chmod(0o555)
    return MockKaggle(out, tuple(notes))


def competition_folder(mock: MockKaggle, slug: str, layout: Layout) -> Path:
    """Name where a competition is mounted."""
    return mock.input / ("competitions" if layout == "new" else "") / slug


def model_folder(mock: MockKaggle, handle: str, layout: Layout) -> Path:
    """Name where a Kaggle Model is mounted.

    Metadata writes the framework as pyTorch, PyTorch or pytorch; public notebooks read it from a folder in lower case.
    That it is so for every framework is not certain, so the notebook's resolver does not depend on it.
    """
    owner, model, framework, variation, version = handle.split("/")
    above = mock.input / "models" / owner if layout == "new" else mock.input
    return above / model / framework.lower() / variation / version


def dataset_slug(folder: Path) -> str:
    """Name the dataset in a folder: its dataset-metadata.json, else its manifest.json, else the folder's own name."""
    for name, key in (("dataset-metadata.json", "id"), ("manifest.json", "dataset")):
        if (folder / name).is_file():
            try:
                value = parsed_json((folder / name).read_bytes())
                named = value.get(key) if isinstance(value, dict) else None
                if named:
                    return checked_slug(named.rpartition("/")[2] if isinstance(named, str) else named)
            except ValueError as error:
                what = f"names no dataset by {key!r} ({error})"
                raise CheckFailed(
                    [Problem(what=what, where=str(folder / name), cure="make the folder again")]
                ) from None
    return folder.resolve().name


def tree_sha256(root: Path) -> dict[str, str]:
    """Map every file and folder below `root` to its sha256 (folders to an empty text): before and after a run."""
    found = {}
    for folder, _, files in os.walk(root):
        found[str(Path(folder).relative_to(root))] = ""
        for name in files:
            path = Path(folder, name)
            with path.open("rb") as handle:
                found[str(path.relative_to(root))] = hashlib.file_digest(handle, "sha256").hexdigest()
    return found


def _check(data: Path, mounted: Sequence[Path], hidden: Path | None) -> None:
    reasons = [
        f"{folder} does not exist: {cure}"
        for folder, cure in [
            (data, "pass the competition's folder with --data"),
            *((folder, "pass the bundle's folder with --weights") for folder in mounted),
            *([(hidden, "pass the hidden test's folder with --hidden")] if hidden else []),
        ]
        if not folder.is_dir()
    ]
    needed = [(data, name) for name in (TRAIN_CSV, TEST_CSV, SAMPLE_CSV)]
    needed += [(hidden, name) for name in (TEST_CSV, SAMPLE_CSV, TEST_FOLDER)] if hidden else []
    reasons += [
        f"{folder}: no {name}: the competition's layout has {TRAIN_CSV}, {TEST_CSV}, {SAMPLE_CSV}, train/ and test/"
        for folder, name in needed
        if folder.is_dir() and not (folder / name).exists()
    ]
    if reasons:
        raise UsageError("\n".join(reasons))
    archives = [
        Problem(
            what="Kaggle unpacks archives on upload: the notebook would not find this file there",
            where=str(path),
            cure="ship its content as flat files",
        )
        for folder in mounted
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name.lower().endswith(ARCHIVES)
    ]
    if archives:
        raise CheckFailed(archives)


def _make_hidden_test(data: Path, mount: Path, *, protected: bool) -> str:
    """Turn train images, under ids of their own, into a hidden test; return a sentence that says so."""
    try:
        images, names = (read_column(data / TRAIN_CSV, column) for column in (IMAGE_COLUMN, NAME_COLUMN))
        public = len(set(read_column(data / TEST_CSV, IMAGE_COLUMN)))
    except ValueError as error:
        raise CheckFailed([Problem(what=str(error), cure="give the competition's data as it was downloaded")]) from None
    targets_of: dict[str, list[str]] = {}
    for image, name in zip(images, names, strict=True):
        targets_of.setdefault(image, []).append(name)
    there = [image for image in sorted(targets_of) if (data / image).is_file()]
    chosen = there[: HIDDEN_IMAGES if public != HIDDEN_IMAGES else HIDDEN_IMAGES + 1]
    if len(chosen) == public:
        chosen = chosen[:-1]
    if not chosen:
        raise UsageError(f"{data}: no train images to make a hidden test of: pass one with --hidden")
    (mount / TEST_FOLDER).mkdir(parents=True, exist_ok=True)
    test, sample = [[ID_COLUMN, IMAGE_COLUMN, NAME_COLUMN]], [[ID_COLUMN, TARGET_COLUMN]]
    for image in chosen:
        image_id = f"ID{int(hashlib.sha256(image.encode()).hexdigest()[:12], 16) % 10**10:010d}"
        path = f"{TEST_FOLDER}/{image_id}{Path(image).suffix}"
        _place(data / image, mount / path, protected=protected)
        for target in targets_of[image]:
            test.append([sample_id(image_id, target), path, target])
            sample.append([sample_id(image_id, target), "0.0"])
    for name, rows in ((TEST_CSV, test), (SAMPLE_CSV, sample)):
        with (mount / name).open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows(rows)
    return (
        f"no --hidden given: {len(chosen)} train images under new ids stand in for the hidden test; "
        f"the public test has {public}"
    )


def _place_tree(source: Path, target: Path, *, without: set[str] | None = None, protected: bool) -> None:
    """Place a file or a whole tree; `without` names entries at its top that stay out. Symbolic links are followed."""
    if source.is_file():
        _place(source, target, protected=protected)
        return
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        if entry.name not in (without or ()):
            _place_tree(entry, target / entry.name, protected=protected)


def _place(source: Path, target: Path, *, protected: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if protected:
        try:
            os.link(source.resolve(), target)
        except OSError:  # another disk, or a file system or user without the right to link: a copy serves as well
            shutil.copyfile(source, target)
        return
    shutil.copyfile(source, target)
    target.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)


def _folders(root: Path) -> Iterator[Path]:
    """Walk from the top, so that a folder can be unlocked before it is read."""
    yield root
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            yield from _folders(entry)
