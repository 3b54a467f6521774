"""The real Kaggle client, a stand-in of the site, and a home that is thrown away."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.build.kaggle.server import Server

if TYPE_CHECKING:
    from build.kaggle.client import Kaggle


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without any credentials."""
    (tmp_path / "home" / "tmp").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Nothing of the developer's own account, proxies or home."""
    import os

    for name in list(os.environ):
        if name.startswith(("KAGGLE_", "KIT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture
def server(clean_environment: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """A running stand-in; this process and those it starts talk to it."""
    import tempfile

    with Server() as running:
        for name, value in running.environment(home).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(tempfile, "tempdir", None)  # forget the one computed from the old TMPDIR
        yield running


@pytest.fixture
def site(server):
    """What the stand-in knows."""
    return server.site


@pytest.fixture
def kaggle(server) -> "Kaggle":
    """The kit's client, signed in as kim."""
    from build.kaggle.client import open_client

    return open_client()


@pytest.fixture(scope="session")
def mother() -> Iterator:
    """The process that has everything imported, and forks for each command (tests/build/kaggle/zygote.py)."""
    from tests.build.kaggle.zygote import Mother

    mother = Mother()
    yield mother
    mother.close()


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write files into a new folder."""

    def make(name: str, files: dict[str, bytes]) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        return folder

    return make
