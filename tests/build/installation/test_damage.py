"""A package is whole if its RECORD was written last and every file is there; anything else is given up."""

from collections.abc import Callable
from pathlib import Path

import pytest

from build.installation.damage import give_up, half_made, site_packages

WHOLE = """a/__init__.py,sha256=x,4
a/__pycache__/__init__.cpython-311.pyc,,
../../../bin/a,sha256=x,2
a-1.dist-info/METADATA,sha256=x,3
a-1.dist-info/INSTALLER,sha256=x,4
a-1.dist-info/RECORD,,
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An environment with one package."""
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, content in {
        "a/__init__.py": "code",
        "../../../bin/a": "#!",
        "a-1.dist-info/METADATA": "met",
        "a-1.dist-info/INSTALLER": "pip\n",
        "a-1.dist-info/RECORD": WHOLE,
    }.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return site


def test_a_whole_package_is_left_alone(site: Path, tmp_path: Path) -> None:
    assert site_packages(tmp_path) == site
    assert half_made(site) == [] and give_up(site) == [] and (site / "a-1.dist-info").is_dir()


@pytest.mark.parametrize(
    "harm",
    [
        lambda site: (site / "a/__init__.py").unlink(),
        lambda site: (site / "a/__init__.py").write_text("co"),
        lambda site: (site / "../../../bin/a").unlink(),
        lambda site: (site / "a-1.dist-info/RECORD").unlink(),
        lambda site: (site / "a-1.dist-info/RECORD").write_text(WHOLE.replace("INSTALLER", "WHEEL")),
        lambda site: (site / "a-1.dist-info/RECORD").write_text(WHOLE.replace("x,4", "x,four")),
    ],
    ids=["a file is missing", "a file is cut off", "its program is missing", "no RECORD", "the wheel's RECORD", "torn"],
)
def test_a_half_made_package_no_longer_counts_as_installed(site: Path, harm: Callable[[Path], None]) -> None:
    harm(site)
    assert give_up(site) == ["a-1"]
    assert not (site / "a-1.dist-info").exists() and (site / "a").is_dir()


def test_what_pip_had_moved_aside_is_removed(site: Path) -> None:
    (site / "~rch").mkdir()
    (site / "~rch" / "__init__.py").touch()
    (site / "~one.py").touch()
    assert give_up(site) == [] and not list(site.glob("~*"))
