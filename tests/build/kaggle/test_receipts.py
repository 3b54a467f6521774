"""A rehearsal counts for exactly the sources and the weights that it ran with, and only if nothing was found."""

import json
from pathlib import Path
from typing import Any

import pytest

from build.kaggle import receipts

MANIFESTS = {"i2b-demo-weights": "bb"}
REPORT = {"ok": True, "rerun": True, "source_sha256": "aa", "manifests": MANIFESTS}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def leave(folder: Path, **changed: Any) -> None:
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(REPORT | changed))


def find() -> Path | None:
    return receipts.find_receipt("i2b-demo-infer", "aa", MANIFESTS)


def test_the_demos_own_rehearsal_counts() -> None:
    leave(receipts.DEMO_REHEARSAL)
    assert find() == receipts.DEMO_REHEARSAL / "report.json"


def test_make_rehearse_counts() -> None:
    leave(receipts.REHEARSALS / "i2b-demo-infer")
    assert find() == receipts.REHEARSALS / "i2b-demo-infer" / "report.json"


@pytest.mark.parametrize(
    "changed",
    [
        {"ok": False},
        {"rerun": False},
        {"edited": True},
        {"source_sha256": "other sources"},
        {"manifests": {"i2b-demo-weights": "other weights"}},
        {"manifests": {}},
        {"manifests": MANIFESTS | {"i2b-more": "cc"}},
    ],
)
def test_any_other_rehearsal_does_not_count(changed: dict[str, Any]) -> None:
    leave(receipts.DEMO_REHEARSAL, **changed)
    assert find() is None


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_damaged_report_does_not_count(text: str) -> None:
    leave(receipts.DEMO_REHEARSAL)
    (receipts.DEMO_REHEARSAL / "report.json").write_text(text)
    assert find() is None


def test_without_any_rehearsal_there_is_no_receipt() -> None:
    assert find() is None
