"""A training that one session cannot finish: its checkpoints go on in the next, until everything is there."""

import contextlib
import copy
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from build.core.bundle_files import verify_manifest
from build.kaggle import sessions
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed
from tests.build.kaggle.desk import Desk
from tests.build.kaggle.session_runs import CLOCK, CRASH, RUN, SLUG, needed, unfinished
from tests.build.kaggle.test_kill import LOST, SAMPLED, SHARDS, UNANSWERED, Executioner
from tests.build.kaggle.test_training import KERNEL, STARTING, first_desk, training_outputs  # noqa: F401
from tests.kernel_src.kernels.running import lay_out_kaggle

FIRST, SECOND = {"steps": {0: 12, 1: 5}}, {"folds": 1, "steps": {1: 30}}
MOST_REQUESTS = 150


@pytest.fixture
def desk(first_desk: Desk, mother, server, site, tmp_path: Path) -> Desk:  # noqa: F811
    """A training of which the first two sessions do not finish."""
    (tmp_path / "made").mkdir()
    site.outputs = {SLUG: training_outputs(tmp_path / "made")}
    site.version_outputs = {(SLUG, 1): unfinished(**FIRST), (SLUG, 2): unfinished(**SECOND)}
    return first_desk.copy(tmp_path / "kit", mother)


def push(desk: Desk, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return desk.shell(*arguments, verb="push-training")


def sources(site: Any) -> list[list[str]]:
    """The datasets that each version of the notebook mounts."""
    return [version["datasetDataSources"] for version in site.kernels[KERNEL].versions]


def without_manifest(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name != "kit-manifest.json"}


def test_three_sessions_become_a_bundle_without_a_person_and_nothing_is_repeated(desk: Desk, server, site) -> None:
    done = push(desk)
    assert done.returncode == 0, done.stderr
    assert site.summary()["kernels"] == {KERNEL: 3} and site.summary()["datasets"] == {STARTING: 1, RUN: 2}
    assert sources(site) == [[STARTING], [STARTING, RUN], [STARTING, RUN]]
    carried = [without_manifest(version) for version in site.datasets[RUN].versions]
    assert carried == [needed(unfinished(**FIRST)), needed(unfinished(**SECOND))] and site.datasets[RUN].private
    verify_manifest(desk.folder / "out/bundles/demo")
    assert "0 folds and 17 steps trained in session 1" in done.stdout
    assert "1 fold and 30 steps trained in session 2" in done.stdout
    before = server.names()
    again = push(desk)
    assert again.returncode == 0 and "already of this version" in again.stdout, again.stderr
    assert not {"SaveKernel", "CreateDatasetVersion", "GetKernelSessionStatus"} & {*server.names()[len(before) :]}


@pytest.mark.full
def test_the_next_session_is_pushed_when_its_checkpoints_are_ready_and_whole(desk: Desk, server, site) -> None:
    site.dataset_states, site.empty_listings = ["BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "READY"], 2
    found: list[tuple[str, int]] = []

    def look(phase: str, n: int, name: str) -> None:
        if phase == "before" and name == "SaveKernel" and RUN in site.datasets:
            there = site.datasets[RUN]
            found.append((there.states[0], there.empty_listings))

    server.hook = look
    assert push(desk).returncode == 0
    assert found == [("READY", 0), ("READY", 0)]


@pytest.mark.full
def test_the_journal_goes_on_where_the_files_of_earlier_sessions_were_tidied_away(desk: Desk, site) -> None:
    assert push(desk).returncode == 0
    shutil.rmtree(desk.folder / "out/push/outputs")
    shutil.rmtree(desk.folder / "out/bundles")
    done = push(desk)
    assert done.returncode == 0 and "session 1 is over, 0 folds and 17 steps trained" in done.stdout, done.stderr
    assert site.summary()["kernels"] == {KERNEL: 3} and site.summary()["datasets"] == {STARTING: 1, RUN: 2}
    kept = [path.name for path in (desk.folder / "out/push/outputs" / SLUG).iterdir()]
    assert kept == ["v3"], "only the last session is fetched again"


@pytest.mark.full
def test_without_waiting_each_command_says_which_session_runs_and_how_to_go_on(desk: Desk, site) -> None:
    done = push(desk, "--no-wait")
    assert "it is running on Kaggle; `make push-training EXPERIMENT=demo` continues with it" in done.stdout
    site.kernel_states = ["RUNNING", "ERROR"]  # of the next session: the command that waits ends there
    assert push(desk).returncode == 1
    site.kernel_states = ["COMPLETE"]
    done = push(desk, "--no-wait", "--again")
    assert "session 2 is running on Kaggle; `make push-training EXPERIMENT=demo` continues" in done.stdout, done.stderr
    site.version_outputs[SLUG, 3] = site.version_outputs.pop((SLUG, 2))
    assert push(desk).returncode == 0
    assert sources(site) == [[STARTING], *([[STARTING, RUN]] * 3)], "a session that failed was pushed once more"


@pytest.mark.full
def test_a_session_that_comes_no_further_is_not_followed_by_another(desk: Desk, server, site) -> None:
    site.version_outputs[SLUG, 2] = unfinished(**FIRST)
    site.version_logs[SLUG, 2] = "fold 0: training\n"
    done = push(desk)
    assert done.returncode == 1 and "has come no further than before (0 folds and 17 steps)" in done.stderr
    assert "it did not find the checkpoints" in done.stderr and "--again" in done.stderr
    assert push(desk).returncode == 1, "the same command says so again"
    assert site.summary()["kernels"] == {KERNEL: 2} and site.summary()["datasets"][RUN] == 1
    done = push(desk, "--again")
    assert done.returncode == 0, done.stderr
    assert sources(site) == [[STARTING], [STARTING, RUN], [STARTING, RUN]] and site.summary()["datasets"][RUN] == 1


@pytest.mark.full
def test_a_first_session_that_trained_nothing_is_not_followed_by_another(desk: Desk, site) -> None:
    site.version_outputs[SLUG, 1] = unfinished()
    done = push(desk)
    assert done.returncode == 1 and "no further than its beginning (0 folds)" in done.stderr
    assert site.summary()["kernels"] == {KERNEL: 1} and RUN not in site.datasets


@pytest.mark.full
def test_a_session_that_an_error_has_ended_is_gone_on_with_when_a_person_says_so(desk: Desk, site) -> None:
    site.version_logs[SLUG, 1] = CRASH + "NOT FINISHED: folds 0, 1."
    site.version_logs[SLUG, 2] = CRASH + CLOCK  # of something that the training survived
    site.version_outputs[SLUG, 3] = unfinished(folds=1, steps={1: 40})
    site.version_logs[SLUG, 3] = "Exception ignored in: <function loader>\n" + CRASH
    done = push(desk)
    assert done.returncode == 1 and "not its clock but an error ended version 1" in done.stderr
    assert "RuntimeError: no luck" in done.stderr and site.summary()["kernels"] == {KERNEL: 1}
    assert push(desk).returncode == 1
    assert push(desk, "--again").returncode == 0
    assert site.summary()["kernels"] == {KERNEL: 4}


@pytest.mark.full
def test_a_session_that_began_with_other_data_is_not_taken_for_progress(desk: Desk, site) -> None:
    site.version_outputs[SLUG, 2] = unfinished(**SECOND, data="other rows")
    done = push(desk)
    assert done.returncode == 1 and "begun with another recipe, data or weights than version 1" in done.stderr
    assert site.summary()["datasets"][RUN] == 1


@pytest.mark.full
def test_what_another_experiment_left_unfinished_is_not_carried_over(desk: Desk, site) -> None:
    site.version_outputs[SLUG, 1] = unfinished(**FIRST, name="v1")
    done = push(desk)
    assert done.returncode == 1 and "an unfinished run of 'v1', not of 'demo'" in done.stderr
    assert RUN not in site.datasets


@pytest.mark.full
def test_a_quota_that_is_spent_between_sessions_says_when_it_goes_on_and_where_the_checkpoints_are(
    desk: Desk, server, site
) -> None:
    spent = "Kernel push error: Maximum weekly GPU quota of 30.00 hours reached."
    server.fault("SaveKernel", nth=2, body={"error": spent}, times=100)
    done = push(desk)
    said = " ".join(done.stderr.split())
    assert done.returncode == 1 and re.search(r"the hours come back Sat \d+ \w+ 00:00 UTC, in ", said)
    assert f"kept in the dataset {RUN}; `make push-training EXPERIMENT=demo` goes on then" in said
    server.faults.clear()
    checkpoint = desk.folder / "out/push/outputs" / SLUG / "v1/run/log0.csv"
    checkpoint.write_bytes(b"somebody's")
    done = push(desk)
    assert done.returncode == 1 and "the run of version 1 is no longer what was downloaded" in done.stderr
    shutil.rmtree(checkpoint.parents[1])
    assert push(desk).returncode == 0
    assert site.summary()["kernels"] == {KERNEL: 3} and site.summary()["datasets"][RUN] == 2


@pytest.mark.full
def test_how_many_sessions_are_projected_is_said_before_the_first_push_and_not_again(
    desk: Desk, site, tiny_competition: Path
) -> None:
    data = desk.folder / "data/csiro-biomass"
    data.mkdir(parents=True)
    shutil.copyfile(tiny_competition / "train.csv", data / "train.csv")
    site.version_outputs.clear()
    words = ("--set", "machine.limit_s=0.0001")
    done = push(desk, "--no-wait", *words)
    assert done.returncode == 0, done.stderr
    before, _, after = done.stdout.partition("push: ")
    assert "sessions (computed, not measured: epochs x folds" in before and "sessions" not in after
    assert "computed" not in push(desk, "--no-wait", *words).stdout


# --- killed ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def between(desk: Desk, server, site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Gives a desk and a site where the first session is over and nothing of the second has begun, each time."""
    monkeypatch.setenv("KIT_POLL_S", "0.01")
    monkeypatch.setenv("KIT_SETTLE_S", "0.2")
    executioner = Executioner(LOST, name="the first about the checkpoints")

    def strike(phase: str, n: int, name: str) -> None:
        about = str(server.log[n].body.get("datasetSlug", "")) if name == "GetDatasetStatus" else ""
        executioner(phase, n, executioner.name if about == RUN.partition("/")[2] else name)

    assert kill(desk, server, executioner, strike)
    assert site.summary()["kernels"] == {KERNEL: 1} and RUN not in site.datasets

    def new() -> Desk:
        server.site, server.log = copy.deepcopy(site), []
        shutil.rmtree(tmp_path / "played", ignore_errors=True)
        return desk.copy(tmp_path / "played", desk.mother)

    yield new


def kill(desk: Desk, server: Any, executioner: Executioner, hook: Any = None) -> bool:
    """Run the flow into the kill; return whether it took place."""
    with server.lock:
        server.hook = hook or executioner
        executioner.command = desk.start(verb="push-training")
    executioner.command.wait()
    server.hook = lambda phase, n, name: None
    return bool(executioner.struck)


def go_on(desk: Desk, server: Any, where: str) -> None:
    """The same command again: three sessions, two versions of the checkpoints, no byte of them lost, and the bundle."""
    done = push(desk)
    assert done.returncode == 0, f"after {where}: {done.stderr}"
    summary = server.site.summary()
    assert summary["kernels"] == {KERNEL: 3} and summary["datasets"] == {STARTING: 1, RUN: 2}, where
    carried = [without_manifest(version) for version in server.site.datasets[RUN].versions]
    assert carried == [needed(unfinished(**FIRST)), needed(unfinished(**SECOND))], where
    assert sources(server.site) == [[STARTING], [STARTING, RUN], [STARTING, RUN]], where
    verify_manifest(desk.folder / "out/bundles/demo")


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("CreateDataset", UNANSWERED),
        *(
            pytest.param(name, phase, marks=pytest.mark.full)
            for name in ("CreateDataset", "CreateDatasetVersion", "SaveKernel")
            for phase in (LOST, UNANSWERED)
            if (name, phase) != ("CreateDataset", UNANSWERED)
        ),
    ],
)
def test_killed_at_a_request_that_must_not_happen_twice(name: str, phase: str, between, server) -> None:
    desk = between()
    assert kill(desk, server, Executioner(phase, name=name))
    go_on(desk, server, f"{phase} {name}")


@pytest.mark.full
@pytest.mark.parametrize("shard", SAMPLED)
@pytest.mark.parametrize("phase", [LOST, UNANSWERED])
def test_killed_at_any_request_from_the_end_of_the_first_session_on(phase: str, shard: int, between, server) -> None:
    killed = 0
    for number in range(shard, MOST_REQUESTS, SHARDS):
        desk, executioner = between(), Executioner(phase, number=number)
        if not kill(desk, server, executioner):
            print(f"{killed} kills")
            assert killed > 5
            return
        killed += 1
        go_on(desk, server, f"{phase} {executioner.struck} (request {number})")
    raise AssertionError(f"the flow has more than {MOST_REQUESTS} requests: raise MOST_REQUESTS")


# --- really trained -------------------------------------------------------------------------------------------------

# One step fits into a session; the third ends the one fold that is trained.
TINY_WORDS = (
    "encoder.timm=test_efficientnet encoder.weights= pictures.height_px=48 pictures.width_px=96 head.hidden=8 "
    "schedule.epochs=1 batch.size=3 data.split.folds=2 data.train_folds=0 keep=EMA machine.limit_s=0.01"
)


class Runner:
    """Runs what was pushed as Kaggle would: with the competition, and the datasets of that version as they are then."""

    def __init__(self, site: Any, competition: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.site, self.competition, self.folder, self.patch = site, competition, folder, patch

    def __call__(self, phase: str, n: int, name: str) -> None:
        if (phase, name) != ("after", "SaveKernel"):
            return
        number = len(self.site.kernels[KERNEL].versions)
        version = self.site.kernels[KERNEL].versions[-1]
        home = lay_out_kaggle(self.folder / f"session{number}", self.competition, {})
        for ref in version["datasetDataSources"]:
            place = home / "kaggle/input/datasets" / ref
            place.mkdir(parents=True)
            for file, data in self.site.datasets[ref].versions[-1].items():
                (place / file).write_bytes(data)
        self.site.version_logs[SLUG, number] = self.run(version["text"], home)
        working = home / "kaggle/working"
        files = {path.relative_to(working).as_posix(): path for path in working.rglob("*") if path.is_file()}
        self.site.version_outputs[SLUG, number] = {name: path.read_bytes() for name, path in files.items()}

    def run(self, notebook: str, home: Path) -> str:
        """Run the cells, in this process, where torch is loaded already; return what they printed."""
        (home / "tmp").mkdir()
        self.patch.setenv("KIT_KAGGLE_ROOT", str(home))
        self.patch.setattr("tempfile.tempdir", str(home / "tmp"))
        printed, names = io.StringIO(), {"__name__": "__main__"}
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            for cell in json.loads(notebook)["cells"]:
                if cell["cell_type"] == "code":
                    exec("".join(cell["source"]), names)
        return printed.getvalue()


@pytest.mark.full
def test_three_sessions_of_the_pushed_notebook_make_the_weights_of_one(
    desk: Desk, server, site, tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("KIT_TIMEOUT_S", "600")  # the stand-in answers when the session is over
    site.version_outputs, site.outputs = {}, {}
    runner = Runner(site, tiny_competition, tmp_path / "sessions", monkeypatch)
    server.hook = runner
    out, err = desk.start("--set", TINY_WORDS, verb="push-training").communicate(timeout=1800)
    assert "`make push-inference EXPERIMENT=demo` is next" in out, err
    assert site.summary()["kernels"] == {KERNEL: 3} and site.summary()["datasets"] == {RUN: 2}
    logs = [site.version_logs[SLUG, number] for number in (1, 2, 3)]
    assert ["going on with" in log for log in logs] == [False, True, True]
    assert [re.findall(r"resumed after epoch 0, batch \d", log) for log in logs] == [
        [],
        ["resumed after epoch 0, batch 1"],
        ["resumed after epoch 0, batch 2"],
    ]
    whole = lay_out_kaggle(tmp_path / "whole", tiny_competition, {})
    endless, limits = re.subn(r"(machine\.limit_s\W+)0\.01", r"\g<1>0.0", site.kernels[KERNEL].versions[0]["text"])
    assert limits == 1
    runner.run(endless, whole)
    fetched = desk.folder / "out/push/outputs" / SLUG / "v3/run"
    for name in ("fold0.safetensors", "oof.csv"):
        assert (fetched / name).read_bytes() == (whole / "kaggle/working/run" / name).read_bytes(), name
    assert verify_manifest(desk.folder / "out/bundles/demo")["experiment"] == "demo"


# --- alone ----------------------------------------------------------------------------------------------------------


def test_the_names_here_are_those_of_the_kernels() -> None:
    from kernel_src.runtime.provenance import SOURCES_FILE
    from kernel_src.training import feature_run, resumption
    from kernel_src.training.fold_files import FoldFiles

    assert (sessions.FINGERPRINT_FILE, sessions.CHECKPOINTS) == (resumption.FINGERPRINT_FILE, resumption.CHECKPOINTS)
    files = FoldFiles(Path(), 3)
    left = (files.weights, files.log, files.given_up, files.checkpoint, Path(feature_run.CHUNK_NAME.format(7)))
    for path in (*left, Path(SOURCES_FILE), Path(feature_run.PRECISION_FILE), Path(resumption.FINGERPRINT_FILE)):
        assert any(path.match(pattern) for pattern in sessions.NEEDED), path


def test_how_many_sessions_it_takes_follows_from_the_epochs_of_those_before(tmp_path: Path) -> None:
    recipe = changed(EXPERIMENTS["demo"], {"schedule.epochs": 10, "data.split.folds": 3, "data.train_folds": []})

    def expected(epochs: int, folds: int, after: int) -> int | None:
        run = tmp_path / f"{epochs}-{folds}"
        run.mkdir()
        for name, data in unfinished(folds=folds, steps={folds: 99}, epochs=epochs).items():
            (run / Path(name).name).write_bytes(data)
        return sessions.sessions_expected(run, after, recipe)

    assert expected(epochs=0, folds=1, after=1) == 3
    assert expected(epochs=5, folds=1, after=1) == 2
    assert expected(epochs=1, folds=2, after=2) == 3
    assert expected(epochs=0, folds=0, after=1) is None
