"""A person's desk: a copy of the kit in a folder of its own, with weights and a rehearsal, and a shell to push from."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core.bundle_files import file_entry
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed
from kernel_src.runtime.files import BUNDLE_FORMAT, sha256_of
from tests.build.kaggle.zygote import Command, Mother

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("build", "kernel_src", "notebooks", "datasets_meta", "pyproject.toml", "Makefile")
KERNEL, WEIGHTS = "kim/i2b-demo-infer", "kim/i2b-demo-weights"
GOOD = {"Dry_Green_g": 2.0, "Dry_Dead_g": 1.0, "Dry_Clover_g": 0.5, "GDM_g": 2.5, "Dry_Total_g": 3.5}


def submission_csv(*images: str, **other: float) -> bytes:
    """A submission of a few images."""
    rows = [f"{image}__{target},{(GOOD | other)[target]:.6f}" for image in images for target in TARGETS]
    return ("\n".join(["sample_id,target", *rows]) + "\n").encode()


def write_bundle(folder: Path, experiment: str = "demo", weights: bytes = b"some weights") -> Path:
    """A bundle whose weights nobody loads."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = changed(EXPERIMENTS["demo"], {"name": experiment}).as_json()
    oof = {"score": 0.6831, "images": 1, "formula": "official weighted R2"}
    config = {
        "format": BUNDLE_FORMAT,
        "experiment": settings,
        "folds": ["fold0.safetensors"],
        "oof": oof,
        "target_mean": GOOD,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "fold0.safetensors").write_bytes(weights)
    (folder / "oof.csv").write_text("image_id,fold," + ",".join(TARGETS) + "\nID1,0,2.0,1.0,0.5,2.5,3.5\n")
    slug = f"i2b-{experiment}-weights"
    files = {name: file_entry(folder / name) for name in ("config.json", "fold0.safetensors", "oof.csv")}
    manifest = {"format": 1, "dataset": slug, "experiment": experiment, "source_sha256": "aa", "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"versions": {}}))
    metadata = {"id": f"OWNER/{slug}", "title": slug.replace("-", " "), "licenses": [{"name": "other"}]}
    (folder / "dataset-metadata.json").write_text(json.dumps(metadata | {"isPrivate": True}))
    return folder


@dataclass
class Desk:
    """A copy of the kit, or what this checkout needs to push from; `shell` starts its commands as a user does."""

    folder: Path
    mother: Mother | None = None  # forks the commands of this checkout; without it each is started from nothing

    @property
    def notebook(self) -> Path:
        return self.folder / "notebooks" / "i2b-demo-infer" / "i2b-demo-infer.ipynb"

    def source_sha256(self) -> str:
        return json.loads(self.notebook.read_text())["metadata"]["stitch"]["source_sha256"]

    def rehearsed(self) -> None:
        """Leave the report of a rehearsal of the built notebook with the bundle at hand."""
        manifest = sha256_of(self.folder / "out" / "demo" / "bundle" / "manifest.json")
        report = {"ok": True, "rerun": True, "source_sha256": self.source_sha256()}
        report["manifests"] = {"i2b-demo-weights": manifest}
        place = self.folder / "out" / "demo" / "rehearsal"
        place.mkdir(parents=True, exist_ok=True)
        (place / "report.json").write_text(json.dumps(report))

    def change_sources(self, text: str = "\nAN_EDIT = 1\n") -> None:
        """Edit kernel_src, build, and rehearse."""
        path = self.folder / "kernel_src" / "competitions" / "biomass" / "constants.py"
        path.write_text(path.read_text() + text)
        built = subprocess.run([sys.executable, "-m", "build", "notebooks"], cwd=self.folder, capture_output=True)
        assert built.returncode == 0, built.stderr.decode()
        self.rehearsed()

    def start(
        self, *arguments: str, verb: str = "push-inference", experiment: str = "demo"
    ) -> "subprocess.Popen[str] | Command":
        arguments = (verb, "--experiment", experiment, *arguments)
        if self.mother:
            return self.mother.start(*arguments, folder=self.folder)
        command, pipe = [sys.executable, "-m", "build", *arguments], subprocess.PIPE
        environment = dict(os.environ) | {"COLUMNS": "120"}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=pipe,
            stderr=pipe,
            text=True,
            # SIGINT is ignored where the tests run in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def shell(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a push to its end."""
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode or 0, out, err)

    def copy(self, folder: Path, mother: Mother | None = None) -> "Desk":
        """The same in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Desk(folder, mother)

    def forget(self) -> None:
        """Lose the journal and all else that pushes have left here, but for the note that `make check` was run."""
        shutil.rmtree(self.folder / "out" / "push")
        _note_check(self.folder)

    def scores(self) -> list[dict[str, Any]]:
        import csv

        path = self.folder / "docs" / "scores.csv"
        if not path.exists():
            return []
        with path.open(newline="") as handle:
            return list(csv.DictReader(handle))


def copy_kit(folder: Path) -> Path:
    """Copy the kit; compiled modules go along, so that a command starts as fast as in the original."""
    folder.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part)
        else:
            shutil.copy2(source, folder / part)
    return folder


def set_desk(folder: Path) -> Desk:
    """Copy the kit, and lay out what a push needs."""
    copy_kit(folder)
    write_bundle(folder / "out" / "demo" / "bundle")
    # Built and checked once: every push from a copy of this desk finds it so.
    script = (
        "from build.core.progress import Steps; from build.kaggle import preparation;"
        "from build.kaggle.journal import Journal;"
        "from build.kaggle.pushed_values import Given;"
        "preparation.build_and_check('demo', 'infer', Steps(2, True), Journal(preparation.JOURNAL), Given())"
    )
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=120)
    desk = Desk(folder)
    desk.rehearsed()
    return desk


def lay_desk(folder: Path) -> Desk:
    """Lay out what a command of this very checkout needs to push from: no copy of the kit, so it changes no sources."""
    folder.mkdir()
    (folder / "notebooks").symlink_to(ROOT / "notebooks")
    write_bundle(folder / "out" / "demo" / "bundle")
    _note_check(folder)
    desk = Desk(folder)
    desk.rehearsed()
    return desk


def _note_check(folder: Path) -> None:
    from build.kaggle.journal import Journal
    from build.kaggle.preparation import JOURNAL, _digest

    journal = Journal(folder / JOURNAL)
    for kernel in ("infer", "train"):
        journal.record("check", {"notebook": f"i2b-demo-{kernel}", "sha256": _digest()})
    journal.close()
