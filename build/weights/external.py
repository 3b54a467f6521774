"""Other people's photographs become a dataset that an upload carries whole, from the download as it was unpacked.

`python -m build external --from DOWNLOAD` fills out/external/<dataset>/ with the table's CSV, its photographs in a few
packs, `manifest.json` and `dataset-metadata.json`. A dataset may have 50 files at its top and loses folders on
the way, so 261 photographs go neither flat nor in images/. The folder is read by the training's own reader, and must
give the very rows that the download gives.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules

EXTERNAL_FOLDER = Path("out/external")
PACK_BYTES = 500_000_000  # of photographs in one pack, about: it is held in memory while it is written
SUSPICIOUS_FACTOR = 4  # between the means, either way: other places differ by less, other units by more


@dataclass(frozen=True, kw_only=True)
class ExternalDataset:
    """What was made."""

    ok: bool
    dataset: str
    folder: str
    files: int  # beside the manifest and the description
    bytes: int
    photographs: int  # all that the table names and the download has, whatever becomes of their rows
    read: Any  # the report of what the training's reader makes of it

    @property
    def mean_total_g(self) -> float:
        """The mean of the target that stands for all, in our unit and per our area."""
        return [*self.read.mean_g.values()][review().main]

    @property
    def warning(self) -> str:
        """Say that the targets are of another order of magnitude than the competition's; empty where they are not."""
        known = review().external_mean
        if not known or known / SUSPICIOUS_FACTOR < self.mean_total_g < known * SUSPICIOUS_FACTOR:
            return ""
        return (
            f"a mean of {self.mean_total_g:.1f} g is of another order than the competition's {known} g: "
            "see whether the columns are dry grams per sample, and area_factor in kernel_src/competitions/"
            f"{rules().competition}/external_table.py"
        )

    def as_json(self) -> dict[str, object]:
        """Return what `--json` prints."""
        return asdict(self) | {"mean_total_g": self.mean_total_g, "warning": self.warning}

    def as_lines(self) -> list[str]:
        """Write it out for a person."""
        lines = [
            f"{self.folder}: {self.photographs} photographs in {self.files} files, {self.bytes / 1e6:.1f} MB",
            str(self.read),
            f"mean total {self.mean_total_g:.1f} g {review().external_area} (the competition's photographs: "
            f"{review().external_mean} g)",
        ]
        if self.warning:
            lines.append(f"WARNING: {self.warning}")
        lines.append(f"upload it as the dataset {self.dataset}; before that, rehearse --weights {self.folder}")
        return lines


def make_external(slug: str, source: Path, out: Path | None = None) -> ExternalDataset:
    """Make the dataset of an external table from the folder of its download, whole or not at all.

    Raises:
        UsageError: no table has such a name, there is no such folder, or `out` is a folder with something else in it.
        CheckFailed: the reader cannot use the download, or does not get the same out of the dataset.
    """
    import kernel_src.competitions.held_external  # noqa: F401
    from kernel_src.runtime.manifest import MANIFEST_FILE
    from kernel_src.runtime.parts import optional_part

    if not review().external:
        raise UsageError(f"{rules().competition} has no table of other people's photographs: nothing reads one there")
    slug, reader = slug or review().external, optional_part("external")
    try:
        table = reader.external_table_for(slug)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not source.is_dir():
        raise UsageError(f"{source} is not a folder: unpack the download and name its folder")
    out = (out or EXTERNAL_FOLDER / slug).resolve()
    if out == source.resolve() or out in source.resolve().parents or source.resolve() in out.parents:
        raise UsageError(f"{out} and the download's folder {source} lie in each other: name another --out")
    if out.exists() and not (out / MANIFEST_FILE).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there and is not a dataset of this kit, so it is not replaced: name another --out")
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        csv = reader.find_external_csv(source, table)
        names = reader.photograph_names(reader.read_external_texts(csv, table), table)
        root, paths = reader.find_photographs(csv, table, names)
        found = {
            name: path for name, path in zip(names, paths, strict=True) if path.is_relative_to(root) and path.is_file()
        }
        shutil.copyfile(csv, draft / csv.name)
        packs = _pack(found, draft)
        _describe(slug, draft, [csv.name, *packs])
        read = _read_alike(source, draft, table, reader.read_external)
        shutil.rmtree(out, ignore_errors=True)
        draft.rename(out)
    except (FileNotFoundError, ValueError) as error:  # the reader's own, which say what was looked for
        raise CheckFailed([Problem(what=str(error), where=str(source))]) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ExternalDataset(
        ok=True,
        dataset=slug,
        folder=str(out),
        files=1 + len(packs),
        bytes=sum(path.stat().st_size for path in out.iterdir()),
        photographs=len(found),
        read=read,
    )


def _pack(found: Mapping[str, Path], folder: Path) -> list[str]:
    """Write the photographs' bytes into packs, in the order of their names, and return the packs' names."""
    import numpy as np
    from safetensors.numpy import save_file

    from kernel_src.data.packed_photographs import PACK_NAME

    packs: list[str] = []
    held: dict[str, np.ndarray] = {}
    for number, name in enumerate(sorted(found), start=1):
        held[name] = np.fromfile(found[name], np.uint8)
        if number == len(found) or sum(photograph.nbytes for photograph in held.values()) >= PACK_BYTES:
            packs.append(PACK_NAME.format(len(packs)))
            save_file(held, folder / packs[-1])
            held = {}
    return packs


def _describe(slug: str, folder: Path, files: list[str]) -> None:
    from build.core.bundle_files import file_entry
    from build.notebooks.metadata import dataset_metadata
    from kernel_src.runtime.files import BUNDLE_FORMAT, write_json
    from kernel_src.runtime.manifest import MANIFEST_FILE

    write_json(folder / "dataset-metadata.json", dataset_metadata(slug))
    entries = {name: file_entry(folder / name) for name in files}
    write_json(folder / MANIFEST_FILE, {"format": BUNDLE_FORMAT, "dataset": slug, "files": entries})


def _read_alike(source: Path, made: Path, table: Any, read_external: Callable[..., Any]) -> Any:
    """Read the download and the dataset with the training's reader, and return what it says of both alike.

    Raises:
        CheckFailed: they differ, which is a fault of this kit.
    """
    from kernel_src.competition.facts import IMAGE_COLUMN
    from kernel_src.data.packed_photographs import packs_in, unpack_photographs

    try:
        before, of_download = read_external(source, table)
        after, of_dataset = read_external(made, table)
        same_bytes = all(
            Path(one).read_bytes() == Path(other).read_bytes()
            for one, other in zip(before[IMAGE_COLUMN], after[IMAGE_COLUMN], strict=False)
        )
    finally:
        if packs := packs_in(made):
            shutil.rmtree(unpack_photographs(packs))
    same_rows = before.drop(columns=IMAGE_COLUMN).equals(after.drop(columns=IMAGE_COLUMN))
    if not (same_rows and same_bytes and of_download == of_dataset):
        what = f"the dataset reads unlike the download ({of_dataset} against {of_download})"
        raise CheckFailed(
            [Problem(what=what, where=str(source), cure="a fault of this kit: report it with both lines")]
        )
    return of_dataset
