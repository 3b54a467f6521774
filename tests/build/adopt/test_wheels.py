"""Packages that Kaggle's image lacks: chosen for its Python, noted by hash, installed from their dataset alone."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from build.adopt.adoption import Wishes, adopt
from build.adopt.requirements import in_image, read_requirements
from build.adopt.wheels import HERE, fetch_wheels, keep_wheels
from build.core.bundle_files import verify_manifest
from build.core.errors import CheckFailed, UsageError
from build.notebooks.adopted import adopted_cards
from build.notebooks.check.command import check
from build.notebooks.notebook_file import read_notebook
from build.notebooks.wheels_cell import wheels_cell
from kernel_src.competitions.biomass.constants import SLUG
from tests.build.adopt.conftest import write_foreign

ANY = "py3-none-any"


def compiled(python: str) -> str:
    """The tag of a wheel with a compiled part."""
    short = f"cp{python.replace('.', '')}"
    return f"{short}-{short}-manylinux_2_17_x86_64.manylinux2014_x86_64"


def write_wheel(folder: Path, name: str, version: str, tag: str = ANY, *requires: str) -> Path:
    """A wheel of one module that says its version."""
    folder.mkdir(exist_ok=True)
    path, info = folder / f"{name}-{version}-{tag}.whl", f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag.partition('.')[0]}\n")
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    return tmp_path / "requirements.txt"


def fetched(requirements: Path, root: Path, *pythons: str) -> tuple[dict[str, list[str]], list[str]]:
    """The names of what was chosen, by Python, and what was said."""
    wheels = fetch_wheels("my-baseline", read_requirements(requirements), pythons, root)
    return {python: sorted(files) for python, files in wheels.files.items()}, wheels.notes


@pytest.mark.full
def test_each_python_gets_its_own_and_pip_is_told_of_no_other(index: Path, requirements: Path, tmp_path: Path) -> None:
    write_wheel(index, "purely", "1.0", ANY, 'older; python_version < "3.12"', 'newer; python_version >= "3.12"')
    for name in ("older", "newer"):
        write_wheel(index, name, "1.0")
    for python in ("3.12", "3.13"):
        write_wheel(index, "made", "2.0", compiled(python))
    requirements.write_text("purely  # a comment\n\nmade>=1\n")
    files, notes = fetched(requirements, tmp_path, "3.12", "3.13")
    newer = ["newer-1.0-py3-none-any.whl", "purely-1.0-py3-none-any.whl"]
    assert files["3.12"] == [f"made-2.0-{compiled('3.12')}.whl", *newer], "3.12's marker, though this Python is older"
    assert files["3.13"] == [f"made-2.0-{compiled('3.13')}.whl", *newer]
    assert HERE in files or any(
        f"no rehearsal with this machine's Python {HERE}: made has no" in note for note in notes
    )
    folder = keep_wheels("my-baseline", tmp_path)
    assert verify_manifest(folder)["dataset"] == "my-baseline-wheels"


@pytest.mark.full
def test_what_the_image_has_is_left_out_also_where_others_need_it(
    index: Path, requirements: Path, tmp_path: Path
) -> None:
    write_wheel(index, "purely", "1.0", ANY, "torch>=2", "tqdm>=4", "numpy", "made[fast]")
    write_wheel(index, "made", "1.0", ANY, "rapid; extra == 'fast'", "slow; extra == 'other'")
    write_wheel(index, "rapid", "1.0")
    write_wheel(index, "numpy", "9.9")
    requirements.write_text("purely\nnumpy>=2\n")
    files, notes = fetched(requirements, tmp_path, "3.12")
    assert files["3.12"] == [f"{name}-1.0-py3-none-any.whl" for name in ("made", "purely", "rapid")]
    assert notes == ["numpy: left out, Kaggle's image has 2.1.3"]
    requirements.write_text("numpy>=9\n")
    files, notes = fetched(requirements, tmp_path, "3.12")
    assert files["3.12"] == ["numpy-9.9-py3-none-any.whl"]
    assert notes == ["numpy>=9: carried along, Kaggle's image has 2.1.3, which is not enough"]


@pytest.mark.full
def test_a_package_without_a_fitting_wheel_is_an_error_here(index: Path, requirements: Path, tmp_path: Path) -> None:
    write_wheel(index, "made", "1.0", compiled("3.12"))
    requirements.write_text("# first line\nmade==2.0\n")
    with pytest.raises(CheckFailed, match=r"requirements.txt:2: made has no wheel for Python 3.12 .*one: 1.0 →"):
        fetched(requirements, tmp_path, "3.12")
    requirements.write_text("made\n")
    with pytest.raises(CheckFailed, match="made has no wheel for Python 3.13"):
        fetched(requirements, tmp_path, "3.12", "3.13")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "line",
    [
        "-r other.txt",
        "--index-url https://example.org/simple",
        "-e .",
        "purely @ https://example.org/purely.whl",
        "purely @ file:///etc/passwd",
        "./purely.whl",
        "../purely",
        "git+https://example.org/purely",
        "purely==1.0 --hash=sha256:00",
        "purely; --index-url=https://example.org",
    ],
)
def test_nothing_in_requirements_tells_pip_where_to_look(requirements: Path, line: str) -> None:
    requirements.write_text(f"einops\n{line}\n")
    with pytest.raises(CheckFailed, match=r"requirements.txt:2: .* → one package a line"):
        read_requirements(requirements)


def test_a_file_that_is_none_or_names_nothing_is_refused(requirements: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        read_requirements(requirements)
    requirements.write_text("# nothing\n")
    with pytest.raises(CheckFailed, match="names no package"):
        read_requirements(requirements)


def test_a_version_that_is_not_known_satisfies_no_bound(requirements: Path) -> None:
    requirements.write_text("scipy\nscipy>=1\ntimm>=1\ntimm>=2\neinops\n")
    known = {"scipy": "", "timm": "1.0.28"}
    lines = read_requirements(requirements)
    assert [in_image(one.requirement, known) for one in lines] == [True, False, True, False, False]


def run_cell(text: str, kaggle: Path, after: str) -> subprocess.CompletedProcess[str]:
    """Run the cell as Kaggle would, then a line of the script."""
    return subprocess.run(
        [sys.executable, "-c", f"{text}\n{after}"],
        env=os.environ | {"KIT_KAGGLE_ROOT": str(kaggle)},
        capture_output=True,
        text=True,
    )


def test_the_cell_installs_each_file_once_its_hash_is_right(tmp_path: Path) -> None:
    folder = tmp_path / "kaggle/input/datasets/kim/my-baseline-wheels"
    folder.mkdir(parents=True)
    wheel = write_wheel(folder, "purely", "1.0")
    cell = wheels_cell("my-baseline-wheels", {HERE: {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest()}})
    child = 'import subprocess, sys; subprocess.run([sys.executable, "-c", "import purely; print(purely.VERSION)"])'
    done = run_cell(cell.source, tmp_path, f"import purely; print(purely.__file__)\n{child}")
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stdout.splitlines()[-2] and done.stdout.endswith("1.0\n"), "processes have it, too"
    write_wheel(folder, "purely", "1.0", ANY, "other")
    done = run_cell(cell.source, tmp_path, "import purely")
    assert "is not the file that was chosen: push the dataset my-baseline-wheels again" in done.stderr
    folder.rename(folder.with_name("elsewhere"))
    assert "the dataset my-baseline-wheels is not mounted" in run_cell(cell.source, tmp_path, "").stderr
    other = wheels_cell("my-baseline-wheels", {"3.99": {wheel.name: "0" * 64}})
    assert (
        f"no wheels for Python {HERE} in my-baseline-wheels: there are some for 3.99"
        in run_cell(other.source, tmp_path, "").stderr
    )


@pytest.mark.full
@pytest.mark.parametrize("mode", ["inline", "files"])
def test_the_cell_comes_first_and_check_knows_it(index: Path, requirements: Path, tmp_path: Path, mode: str) -> None:
    write_wheel(index, "purely", "1.0")
    requirements.write_text("purely\n")
    (root := tmp_path / "kit").mkdir()
    foreign = write_foreign(tmp_path / "foreign", {"train.py": "import purely\n\nprint(purely.VERSION)\n"})
    wishes = Wishes(main=Path("train.py"), root=foreign, slug="my-baseline", competition=SLUG)
    adopt(replace(wishes, requirements=requirements, mode=mode), root)
    notebook = read_notebook((root / "notebooks/my-baseline/my-baseline.ipynb").read_bytes())
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert "--no-index" in first["source"] and "purely-1.0-py3-none-any.whl" in first["source"]
    verdict = check(adopted_cards(root), root)
    assert not verdict.problems and not [note for note in verdict.notes if "pip" in note or "purely" in note]
    metadata = json.loads((root / "notebooks/my-baseline/kernel-metadata.json").read_text())
    assert metadata["dataset_sources"] == ["OWNER/my-baseline-wheels"]
    before = (root / "out/wheels/my-baseline-wheels/manifest.json").read_bytes()
    write_wheel(index, "purely", "2.0")
    with pytest.raises(UsageError, match=r"(?s)\+ .*purely-2.0.*nothing was written"):
        adopt(replace(wishes, requirements=requirements, mode=mode), root)
    assert (root / "out/wheels/my-baseline-wheels/manifest.json").read_bytes() == before
