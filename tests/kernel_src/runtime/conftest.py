"""Kaggle's inputs, in a root of their own."""

from pathlib import Path

import pytest


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KIT_KAGGLE_ROOT", str(tmp_path))
    (tmp_path / "kaggle" / "input").mkdir(parents=True)
    return tmp_path / "kaggle" / "input"
