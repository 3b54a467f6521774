"""`push-training` of an experiment whose features are frozen: onto Kaggle's GPUs, and the features brought home."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from build.core.errors import CheckFailed
from build.kaggle.outputs import verify_features
from kernel_src.competitions.held_recipes import EXPERIMENTS
from tests.build.kaggle.desk import Desk, lay_desk, write_bundle

NAME, SLUG, WEIGHTS = "frozen_dinov2", "i2b-frozen-dinov2-features", "i2b-vit-base-patch14-dinov2"


@pytest.fixture(scope="session")
def first_desk(mother, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    from build.kaggle.journal import Journal
    from build.kaggle.preparation import JOURNAL, _digest
    from build.notebooks.builder import all_cards, build, choose_cards

    build(choose_cards(NAME, all_cards()))
    desk = lay_desk(tmp_path_factory.mktemp("desk") / "kit")
    journal = Journal(desk.folder / JOURNAL)
    journal.record("check", {"notebook": SLUG, "sha256": _digest()})
    journal.close()
    pretrained = write_bundle(desk.folder / "out/weights" / WEIGHTS)
    manifest = json.loads((pretrained / "manifest.json").read_text()) | {"dataset": WEIGHTS}
    (pretrained / "manifest.json").write_text(json.dumps(manifest))
    (pretrained / "dataset-metadata.json").unlink()
    return desk


def features_file(compressed: bool = False, **changed: object) -> bytes:
    """What the features notebook leaves of two photographs; a name given here replaces an entry."""
    said = {"experiment": EXPERIMENTS[NAME].as_json(), "images": 2}
    entries: dict[str, object] = {
        "image_id": np.array(["ID1", "ID2"]),
        "features": np.ones((2, 3), np.float32),
        "provenance": np.array(json.dumps(said | changed.pop("said", {}))),  # type: ignore[operator]
    }
    written = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(written, **entries | changed)  # type: ignore[arg-type]
    return written.getvalue()


@pytest.fixture
def desk(first_desk: Desk, mother, server, site, tmp_path: Path) -> Desk:
    site.outputs = {SLUG: {"run/features.npz": features_file(), "run/features_log.csv": b"chunk\n0\n"}}
    return first_desk.copy(tmp_path / "kit", mother)


def push(desk: Desk, *arguments: str):
    return desk.shell(*arguments, verb="push-training", experiment=NAME)


def test_features_made_on_kaggle_come_home_once_and_the_next_command_is_named(desk: Desk, server, site) -> None:
    done = push(desk)
    assert done.returncode == 0, done.stderr
    assert site.summary() == {"datasets": {f"kim/{WEIGHTS}": 1}, "kernels": {f"kim/{SLUG}": 1}, "submissions": []}
    home = desk.folder / "out/features" / f"{NAME}.npz"
    assert home.read_bytes() == features_file()
    (last,) = re.findall(r"`(python -m build regress [^`]*)` is next", " ".join(done.stdout.split()))
    assert f"--features out/features/{NAME}.npz" in last and last.endswith(f"--experiment {NAME}")
    before = server.names()
    home.write_bytes(b"spoilt")
    again = push(desk)
    assert again.returncode == 0 and home.read_bytes() == features_file(), again.stderr
    assert not {"SaveKernel", "CreateDataset", "GetKernelSessionStatus"} & set(server.names()[len(before) :])
    assert "already of this version" in push(desk).stdout


@pytest.mark.full
def test_wait_0_pushes_and_goes_and_the_next_run_fetches(desk: Desk, site) -> None:
    done = push(desk, "--no-wait")
    assert done.returncode == 0 and f"`make push-training EXPERIMENT={NAME}` continues" in done.stdout, done.stderr
    assert push(desk).returncode == 0
    assert site.summary()["kernels"] == {f"kim/{SLUG}": 1}


@pytest.mark.full
def test_killed_right_after_the_push_it_is_not_pushed_twice(desk: Desk, server, site) -> None:
    command = desk.start(verb="push-training", experiment=NAME)

    def strike(phase: str, n: int, name: str) -> None:
        if phase == "after" and name == "SaveKernel":
            command.kill()

    server.hook = strike
    command.wait()
    server.hook = lambda phase, n, name: None
    done = push(desk)
    assert done.returncode == 0, done.stderr
    assert site.summary()["kernels"] == {f"kim/{SLUG}": 1}
    assert (desk.folder / "out/features" / f"{NAME}.npz").is_file()


def test_what_is_not_the_features_of_this_experiment_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()

    def fault(content: bytes) -> str:
        (run / "features.npz").write_bytes(content)
        with pytest.raises(CheckFailed) as failed:
            verify_features(tmp_path, NAME)
        return str(failed.value.problems[0])

    with pytest.raises(CheckFailed, match="the run did not finish"):
        verify_features(tmp_path, NAME)
    (run / "chunk0000.safetensors").write_bytes(b"")
    with pytest.raises(CheckFailed, match=r"there are 1 chunks of them.*attach this notebook's own output"):
        verify_features(tmp_path, NAME)
    assert "not of 'frozen_dinov2'" in fault(features_file(said={"experiment": {"name": "v1"}}))
    assert "holds 2 photographs, and says 3" in fault(features_file(said={"images": 3}))
    assert "NaN or infinite" in fault(features_file(features=np.full((2, 3), np.nan)))
    assert "compressed" in fault(features_file(compressed=True))
    assert "cannot be read" in fault(b"no archive")
    assert "Python objects" in fault(features_file(image_id=np.array([None, 1], object)))
    (run / "features.npz").write_bytes(features_file())
    assert verify_features(tmp_path, NAME) == run
