"""A foreign script, and a copy of the kit that adopts it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.build.kaggle.conftest import clean_environment, home, make_folder, server, site  # noqa: F401  the stand-in of Kaggle
from tests.build.kaggle.desk import copy_kit
from tests.conftest import write_competition

# The mean of each target over the training photographs, for every photograph of the test.
FOREIGN = {
    "train.py": '''"""A baseline that somebody wrote elsewhere."""

import csv
from pathlib import Path

from mylib.means import means_of

folder = next(path.parent for path in sorted(Path("/kaggle/input").rglob("sample_submission.csv")))
grams = means_of(folder / "train.csv")
with open(folder / "test.csv") as handle:
    wanted = [row["sample_id"] for row in csv.DictReader(handle)]
with open("submission.csv", "w") as handle:
    handle.write("sample_id,target\\n")
    handle.writelines(f"{name},{grams[name.split('__')[1]]}\\n" for name in wanted)
print(len(wanted), "rows")
''',
    "mylib/__init__.py": "",
    "mylib/means.py": '''import csv


def means_of(table):
    """Return the mean grams of each target, with sums that agree."""
    grams = {}
    with open(table) as handle:
        for row in csv.DictReader(handle):
            grams.setdefault(row["target_name"], []).append(float(row["target"]))
    means = {name: sum(values) / len(values) for name, values in grams.items()}
    means["GDM_g"] = means["Dry_Green_g"] + means["Dry_Clover_g"]
    means["Dry_Total_g"] = means["GDM_g"] + means["Dry_Dead_g"]
    return means
''',
}


def write_foreign(folder: Path, files: dict[str, str] | None = None) -> Path:
    """Write the sources of a foreign script."""
    for name, text in (FOREIGN if files is None else files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@dataclass
class Kit:
    """A copy of the kit with the competition's data, and a shell in it."""

    folder: Path
    foreign: Path

    def shell(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command as a user types it."""
        done = subprocess.run(
            [sys.executable, "-m", "build", *words],
            cwd=self.folder,
            env=dict(os.environ) | {"COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def adopt(self, *words: str, slug: str = "my-baseline", code: int = 0) -> subprocess.CompletedProcess[str]:
        """Adopt the foreign script."""
        return self.shell("adopt", "train.py", "--root", str(self.foreign), "--slug", slug, *words, code=code)

    def notebook(self, slug: str = "my-baseline") -> Path:
        """Where the notebook of an adopted kernel lies."""
        return self.folder / "notebooks" / slug / f"{slug}.ipynb"


@pytest.fixture(scope="session")
def bare_kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that nothing was adopted in."""
    kit = copy_kit(tmp_path_factory.mktemp("adopt") / "kit")
    write_competition(kit / "data" / "csiro-biomass")
    return kit


@pytest.fixture
def kit(bare_kit: Path, tmp_path: Path) -> Kit:
    """A copy of its own, beside the foreign script."""
    return Kit(Path(shutil.copytree(bare_kit, tmp_path / "kit", symlinks=True)), write_foreign(tmp_path / "foreign"))
