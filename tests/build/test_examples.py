"""Every example of `--help` is run, as it is printed, by a shell, and ends with exit code 0.

Each runs in a copy of the kit of its own, in which lies what `make demo` and a few trainings leave (tiny, and quickly
made), with a stand-in of Kaggle on loopback and a home that is thrown away. None is left out: what would take long or
needs an account has less to do here, or talks to the stand-in.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from build.weights.bundle import make_bundle
from build.weights.pretrained import lite0_dataset
from kernel_src.competitions.biomass.tables import read_train
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed
from kernel_src.runtime.files import write_json
from kernel_src.runtime.provenance import note_sources
from tests.build.adopt.conftest import write_foreign
from tests.build.kaggle.desk import Desk, copy_kit, submission_csv
from tests.build.kaggle.preflight_report import AS_ASSUMED
from tests.build.kaggle.server import Server
from tests.build.kaggle.test_pull_kernel import as_kaggle_keeps_it, put
from tests.build.kaggle.test_training import training_outputs
from tests.build.kaggle.weeks import furnish
from tests.build.new import layouts
from tests.build.report.desk import TABLE, group_folds, predicted, write_oof, write_run, write_train
from tests.build.sync.lab_server import need_lab
from tests.build.test_cli import ROOT, VERBS, examples
from tests.kernel_src.competitions.biomass.test_external import write_grassclover
from tests.kernel_src.kernels.twins import tiny_twin
from tests.kernel_src.tiny import CPU, train_tiny

EXAMPLES = [one for name in VERBS for one in examples(name)]
# Verbs that take more than about three seconds.
LONG = set(
    "check new experiments describe demo rehearse infer notebook-run weights augment train tune pseudo-label features "
    "regress bundle push-training queue push-inference lab report".split()
)
# They serve until they are stopped: what they print once they are ready.
SERVING = {"watch": rb"watching", "lab": rb"http://127\.0\.0\.1:\d+/lab\S*token="}
QUESTIONS = b"[y/N] ", b"(y/[n])? "  # ours, and JupyterLab's after Ctrl-C
LIMIT_S = 900
DEMO, DATA = Path("out/demo"), Path("data/csiro-biomass")


@pytest.fixture(scope="session")
def furnished(tiny_competition: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit in which everything lies that the examples name; read it, never write it."""
    import timm
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("examples")
    kit, downloads = copy_kit(root / "kit"), root / "home/Downloads"
    shutil.copytree(ROOT / "docs", kit / "docs")
    (kit / ".venv").symlink_to(ROOT / ".venv")
    (kit / ".venv-lab").symlink_to(ROOT / ".venv-lab")
    (root / "home/tmp").mkdir(parents=True)
    furnish_demo(kit / DEMO, tiny_competition)
    shutil.copytree(tiny_competition, kit / DATA)
    layouts.aptos(kit / "data/aptos2019-blindness-detection")
    write_train(kit / DATA / "train.csv", TABLE)
    shutil.copyfile(next((kit / DATA / "train").iterdir()), kit / DATA / "train/ID1011485656.jpg")
    for number, name in enumerate(("v5", "v7"), 1):
        run = write_run(kit / "out/bundles" / name, predicted(TABLE, number))
        config = json.loads((run / "config.json").read_text())
        write_json(run / "config.json", config | {"experiment": EXPERIMENTS[name].as_json()})
    write_oof(kit / "out/v5.csv", TABLE, predicted(TABLE, 1), group_folds(TABLE))
    (kit / "out/push").mkdir()
    write_json(kit / "out/push/preflight.json", AS_ASSUMED)
    write_grassclover(downloads / "unpacked")
    write_foreign(root / "my-repo")
    (downloads / "resnet34").mkdir()
    save_file(timm.create_model("resnet34").state_dict(), downloads / "resnet34/model.safetensors")
    (kit / "out/features").mkdir()
    images = read_train(tiny_competition / "train.csv")["image_id"]
    features = np.random.default_rng(0).normal(size=(len(images), 4)).astype(np.float32)
    np.savez(kit / "out/features/demo.npz", image_id=images.to_numpy(str), features=features)
    return root


def furnish_demo(demo: Path, competition: Path) -> None:
    """Lay out what `make demo` leaves, with a network of 0.1 M parameters."""
    from kernel_src.training.runs import finish_run, predict_out_of_fold

    shutil.copytree(competition, demo / "competition")
    lite0_dataset(demo / "pretrained")
    experiment = changed(
        EXPERIMENTS["demo"], tiny_twin(EXPERIMENTS["demo"]) | {"data.split.folds": EXPERIMENTS["demo"].data.split.folds}
    )
    run, train = demo / "rehearsal-train/working/run", read_train(competition / "train.csv")
    note_sources(run, "ab" * 32)
    train_tiny(experiment, train, competition, run)
    oof = predict_out_of_fold(experiment, train, competition, run, run.parent / "cache", CPU)
    finish_run(experiment, train, oof, run)
    make_bundle(run, demo / "bundle", slug="i2b-demo-weights")
    Desk(demo.parents[1]).rehearsed()


@pytest.fixture
def world(furnished: Path, tmp_path: Path) -> Path:
    """The kit and the home of one example."""
    return Path(shutil.copytree(furnished, tmp_path / "world", symlinks=True))


@pytest.fixture
def server(world: Path) -> Iterator[Server]:
    """A site whose runs leave what they should."""
    with Server() as server:
        site = server.site
        site.competitions["csiro-biomass"] = {"train.csv": b"a\n", "train/ID1.jpg": b"jpg"}
        outputs = world / "outputs"
        outputs.mkdir()
        site.outputs = {
            "i2b-demo-infer": {"submission.csv": submission_csv("ID7", "ID8")},
            "i2b-demo-train": training_outputs(outputs),
            "i2b-preflight": {"preflight.json": json.dumps(AS_ASSUMED).encode(), "i2b-preflight.log": b"[]"},
        }
        yield server


@pytest.fixture
def environment(world: Path, server: Server) -> dict[str, str]:
    """What the shell of a user has, but for accounts and proxies."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KAGGLE_", "KIT_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | server.environment(world / "home") | {"PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def run(example: str, kit: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Type an example into a terminal's shell; return its exit code and what it printed.

    What it asks is answered with yes. What serves is stopped by Ctrl-C.
    """
    ready = SERVING.get(example.split()[3])
    printed, terminal = b"", os.openpty()
    process = subprocess.Popen(
        ["bash", "-c", f"exec {example}"],
        cwd=kit,
        env=environment,
        stdin=terminal[1],
        stdout=terminal[1],
        stderr=terminal[1],
        start_new_session=True,
        # SIGINT is ignored where the tests run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(terminal[1])
    deadline = time.monotonic() + LIMIT_S
    try:
        while time.monotonic() < deadline and (process.poll() is None or select.select(terminal[:1], (), (), 0)[0]):
            if select.select(terminal[:1], (), (), 0.1)[0]:
                try:
                    printed += os.read(terminal[0], 1 << 16)
                except OSError:  # EIO: the other end is closed
                    break
            if printed.endswith(QUESTIONS):
                os.write(terminal[0], b"y\n")
                printed += b"y"
            if ready and re.search(ready, printed):
                ready = None
                os.killpg(process.pid, signal.SIGINT)
        return process.wait(max(1, deadline - time.monotonic())), printed.decode()
    finally:
        os.close(terminal[0])
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize(
    "example",
    [pytest.param(one, marks=pytest.mark.full if one.split()[3] in LONG else ()) for one in EXAMPLES],
    ids=lambda one: one.removeprefix("python -m build "),
)
def test_the_example_runs_to_its_end(example: str, world: Path, server: Server, environment: dict[str, str]) -> None:
    verb = example.split()[3]
    if verb == "lab":
        need_lab()
    if verb == "demo":  # which replaces only what it has painted itself
        shutil.rmtree(world / "kit" / DEMO)
    if verb == "pull-kernel":  # which is there for what somebody has edited on the site
        notebook = json.loads(Desk(world / "kit").notebook.read_text())
        put(server.site, "i2b-demo-infer", as_kaggle_keeps_it(notebook, "TREE_LINES = 60", "TREE_LINES = 61"))
    if verb == "queue":
        furnish(server.site)
        shutil.rmtree(world / "kit/out/bundles/v7")  # a run is there, for `compare`, which no bundle replaces
    if verb == "logs":
        put(server.site, "i2b-demo-infer", Desk(world / "kit").notebook.read_text())
    code, printed = run(example, world / "kit", environment)
    assert code == 0, printed
    assert "Traceback" not in printed, printed
