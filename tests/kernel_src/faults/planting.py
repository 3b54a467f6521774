"""A tiny competition, tiny bundles and the built inference notebook, with a fault planted into any of them.

What hits files is planted into the files. What needs other code (a memory that is too small, a worker that crashes) is
planted by one more cell of the notebook; the sources stay as they are.
"""

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import numpy as np

from build.core.bundle_files import file_entry
from build.run.rehearse import Report, rehearse
from build.run.rehearse.executed_cells import read_cells
from build.stitch import stitch
from build.weights.bundle import make_bundle
from build.weights.random_weights import random_run
from kernel_src.competitions.biomass.constants import SLUG, TARGETS
from kernel_src.recipes.changes import changed
from kernel_src.runtime.manifest import MANIFEST_FILE
from tests.conftest import write_competition
from tests.kernel_src.faults.forking import start_forked
from tests.kernel_src.tiny import TINY
from tests.tiny_depth import TINY_DEPTH, write_tiny_depth

ROOT = Path(__file__).resolve().parents[3]
NAME = "i2b-tiny-infer"
ALONE, FIRST, SECOND, WITH_DEPTH = "i2b-alone-weights", "i2b-first-weights", "i2b-second-weights", "i2b-depth-weights"
SEEDS = {ALONE: 1, FIRST: 1, SECOND: 5, WITH_DEPTH: 9}
IMAGES = 19
IDS = tuple(f"ID{9000 + 11 * number}" for number in range(IMAGES))  # as write_competition names them

# The cell before which code is planted, by the first words below its source line.
BEFORE_ALL = "RESERVE_S = "
BEFORE_LIBRARIES = "import matplotlib.pyplot as plt"  # the first of the third-party imports
BEFORE_PREDICTION = "deadline_s = "
BEFORE_REPORT = "report_json = "


class Stage:
    """The healthy competition and bundles, made once; copied by whoever plants a fault into them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def competition(self) -> Path:
        return write_competition(self.folder / "competition", visits=(("Tas", "2015/5/4", 1),), test_images=IMAGES)

    def bundle(self, slug: str) -> Path:
        """A bundle of two folds with random weights."""
        out = self.folder / slug
        if not out.exists():
            experiment = changed(TINY_DEPTH, {"data.split.folds": 2}) if slug == WITH_DEPTH else TINY
            depth = write_tiny_depth(self.folder / "depth-model") if experiment.depth else None
            run = random_run(self.folder / f"{slug}-run", experiment, depth, seed=SEEDS[slug], settled=True)
            make_bundle(run, out, slug=slug)
        return out


@dataclass(frozen=True, kw_only=True)
class Plant:
    """What is done to the healthy files and to the notebook, and how it is then run."""

    photographs: Mapping[str, Callable[[Path], object]] = field(default_factory=dict)  # image id → what spoils its file
    tables: Callable[[Path], object] | None = None  # is given the competition's folder
    bundles: tuple[str, ...] = (ALONE,)
    spoil: Callable[[Mapping[str, Path]], object] | None = None  # is given the bundles' folders by slug
    cell: str = ""
    before: str = BEFORE_PREDICTION
    cells: tuple[tuple[str, str], ...] = ()  # further ones: before what, and the code
    parameters: Mapping[str, object] = field(default_factory=dict)
    device: str = "real"
    whole: bool = False  # Jupyter and the sandbox too, in place of a forked process

    def and_also(self, other: "Plant") -> "Plant":
        """Plant both; the other's parameters win."""
        tables, spoils = ([f for f in pair if f] for pair in ((self.tables, other.tables), (self.spoil, other.spoil)))
        return replace(
            other,
            photographs={**self.photographs, **other.photographs},
            tables=lambda folder: [f(folder) for f in tables],
            spoil=lambda folders: [f(folders) for f in spoils],
            cells=(*self.cells, (self.before, self.cell), *other.cells),
            parameters={**self.parameters, **other.parameters},
        )


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """What came of a rehearsal."""

    report: Report
    working: Path
    data: Path

    @property
    def said(self) -> dict:
        """inference_report.json"""
        return json.loads((self.working / "inference_report.json").read_text())

    @property
    def survived(self) -> bool:
        """Whether nothing stands against it but what the rerun contained, which every rehearsal holds against it."""
        unforeseen = [problem for problem in self.report.problems if "the rerun contained" not in problem.what]
        return not unforeseen and not self.report.failure

    @property
    def last_cell(self) -> str:
        """What the notebook's last cell printed."""
        outputs = read_cells(next(self.working.parent.glob("*.executed.ipynb"))).cells[-1].outputs
        return "".join("".join(output.get("text", "")) for output in outputs)

    @property
    def grams(self) -> np.ndarray:
        """The submission, (images, 5), in the order of IDS."""
        with (self.working / "submission.csv").open() as handle:
            by_id = {row["sample_id"]: float(row["target"]) for row in csv.DictReader(handle)}
        names = dict.fromkeys(name.rpartition("__")[0] for name in by_id)
        return np.array([[by_id[f"{name}__{target}"] for target in TARGETS] for name in IDS if name in names])


def stitched(parameters: Mapping[str, object], known: dict[str, bytes] = {}) -> bytes:  # noqa: B006 a cache
    """Build the inference notebook with these parameters; each once."""
    key = json.dumps(parameters, sort_keys=True)
    if key not in known:
        known[key] = stitch(ROOT / "kernel_src/kernels/infer.py", ROOT, parameters).notebook
    return known[key]


def planted_notebook(plant: Plant) -> dict:
    """The notebook as built, with the planted cell in it."""
    shares = dict.fromkeys(plant.bundles, 1.0)
    content = json.loads(stitched({"BUNDLES": shares, "BATCH_SIZE": 4, **plant.parameters}))
    for number, (before, code) in enumerate([*plant.cells, (plant.before, plant.cell)]):
        if code.strip():
            first_words = ["".join(cell["source"]).partition("\n")[2] for cell in content["cells"]]
            (at,) = [i for i, words in enumerate(first_words) if words.startswith(before)]
            cell = {"cell_type": "code", "id": f"planted{number}", "metadata": {}, "source": code}
            content["cells"].insert(at, cell | {"execution_count": None, "outputs": []})
    return content


def plant_files(stage: Stage, plant: Plant, home: Path) -> tuple[Path, dict[str, Path]]:
    """Copy what is healthy and spoil it; return the competition's folder and those of the bundles that are left."""
    data = stage.competition
    if plant.photographs or plant.tables:
        data = Path(shutil.copytree(data, home / "competition"))
        for name, spoil in plant.photographs.items():
            spoil(data / "test" / f"{name}.jpg")
        if plant.tables:
            plant.tables(data)
    bundles = {slug: stage.bundle(slug) for slug in plant.bundles}
    if plant.spoil:
        bundles = {slug: Path(shutil.copytree(folder, home / slug)) for slug, folder in bundles.items()}
        plant.spoil(bundles)
        bundles = {slug: folder for slug, folder in bundles.items() if folder.is_dir()}
    return data, bundles


def rehearse_planted(stage: Stage, plant: Plant, home: Path, *, rerun: bool, limit_s: float = 120.0) -> Rehearsed:
    """Rehearse the notebook with the fault in it."""
    data, bundles = plant_files(stage, plant, home)
    folder = home / NAME
    folder.mkdir(parents=True)
    notebook = folder / f"{NAME}.ipynb"
    notebook.write_text(json.dumps(planted_notebook(plant)))
    metadata = {
        "id": f"OWNER/{NAME}",
        "title": NAME,
        "code_file": notebook.name,
        "dataset_sources": [f"OWNER/{slug}" for slug in bundles],
        "competition_sources": [SLUG],
    }
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata))
    with nullcontext() if plant.whole else patch("build.run.rehearse.rehearsal.start_notebook", start_forked):
        report = rehearse(
            notebook,
            data=data,
            hidden=data if rerun else None,
            weights=list(bundles.values()),
            rerun=rerun,
            limit_s=limit_s,
            memory_gb=8,
            out=home / "rehearsal",
            device=plant.device,  # type: ignore[arg-type]
            isolation="auto" if plant.whole else "guard",
        )
    return Rehearsed(report=report, working=home / "rehearsal" / "working", data=data)


def rewrite_manifest(folder: Path) -> None:
    """Let a bundle's manifest agree with its files again: what is wrong with them is then not found by its hash."""
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["files"] = {name: file_entry(folder / name) for name in manifest["files"]}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


def flip_byte(path: Path, at: int = -1) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
