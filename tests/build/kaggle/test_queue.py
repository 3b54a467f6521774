"""`make queue`: several experiments trained one after the other, within the week's hours, each once."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from build.kaggle import quota
from build.kaggle.queue_file import QUEUE as FILE
from build.kaggle.queue_file import read_queue
from kernel_src.runtime.manifest import MANIFEST_FILE
from tests.build.kaggle.bench import Bench, lay_bench, make_template, quick_folder
from tests.build.kaggle.weeks import QUEUE, SATURDAY, WEEK, SimulatedSite, passing_on, running_elsewhere

NIGHT = {f"i2b-{name}-train": 11.0 for name in QUEUE}  # hours


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk on which the notebooks of the queue are built and checked."""
    from build.kaggle.journal import Journal
    from build.kaggle.preparation import JOURNAL, _digest
    from build.notebooks.builder import all_cards, build, choose_cards

    for name in QUEUE:
        build(choose_cards(name, all_cards()))
    folder = make_template(tmp_path_factory.mktemp("desk") / "template")
    journal = Journal(folder / JOURNAL)
    for name in QUEUE:
        journal.record("check", {"notebook": f"i2b-{name}-train", "sha256": _digest()})
    journal.close()
    (folder / "digest").write_text(_digest())
    return folder


Begin = Callable[..., tuple[Bench, SimulatedSite]]


@pytest.fixture
def begin(template: Path, server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Gives a desk and a site on which hours pass only while we wait."""
    with quick_folder() as folder:

        def start(now: datetime = SATURDAY, used_h: float = 0.0) -> tuple[Bench, SimulatedSite]:
            bench = lay_bench(folder / "desk", server, monkeypatch, template)
            server.site = SimulatedSite(NIGHT, now, used_h)
            return bench, server.site

        yield start
        monkeypatch.undo()


def train(bench: Bench, site: SimulatedSite, *names: str) -> int:
    with passing_on(site, bench.patch):
        return bench.run(*names, verb="queue")[0]


def bundles(bench: Bench) -> list[str]:
    return sorted(path.parent.name for path in (bench.folder / "out" / "bundles").glob(f"*/{MANIFEST_FILE}"))


def pushed(site: SimulatedSite) -> list[tuple[str, str]]:
    """When each version was pushed, and of what."""
    return [(f"{moment:%a %d %b %H:%M}", slug) for moment, slug in site.charged]


def test_three_experiments_over_two_weeks(begin: Begin, monkeypatch) -> None:
    # 12 h a week. On Thursday 1 is used: v1 takes the other 11. v2 waits for Saturday, v7 for the one after.
    monkeypatch.setattr(quota, "least_hours", lambda *_: 11.0)
    bench, site = begin(datetime(2026, 11, 26, 12, tzinfo=UTC), used_h=1.0)
    site.total_h = 12.0
    assert train(bench, site, *QUEUE) == 0, bench.printed
    assert pushed(site) == [
        ("Thu 26 Nov 12:00", "i2b-v1-train"),
        ("Sat 28 Nov 00:00", "i2b-v2-train"),
        ("Sat 05 Dec 00:00", "i2b-v7-train"),
    ]
    assert [site.used[SATURDAY + number * WEEK] for number in (-1, 0, 1)] == [12.0, 11.0, 11.0]
    assert "v2 waits: 0.0 of 12 GPU hours are left this week; it goes on Sat 28 Nov 00:00 UTC, in " in bench.printed
    assert "v7 waits: 1.0 of 12 GPU hours are left this week, and v7 needs at least 11.0 (computed)" in bench.printed
    assert bundles(bench) == ["v1", "v2", "v7"] and set(site.summary()["kernels"].values()) == {1}


@pytest.mark.full
def test_what_a_training_needs_at_least_decides_whether_the_week_has_room_for_it(begin: Begin, monkeypatch) -> None:
    monkeypatch.setattr(quota, "least_hours", lambda name, sessions: {"v1": 3.0, "v2": 6.0}[name])
    bench, site = begin(SATURDAY - timedelta(hours=20), used_h=25.0)
    site.hours = {"i2b-v1-train": 3.0, "i2b-v2-train": 6.0}
    assert train(bench, site, "v1", "v2") == 0
    assert pushed(site) == [("Fri 27 Nov 04:00", "i2b-v1-train"), ("Sat 28 Nov 00:00", "i2b-v2-train")]
    assert "2.0 of 30 GPU hours are left this week, and v2 needs at least 6.0 (computed)" in bench.printed


def test_a_notebook_that_fails_on_kaggle_is_said_and_the_next_one_is_trained(begin: Begin) -> None:
    bench, site = begin()
    site.failing = {"i2b-v1-train"}
    assert train(bench, site, "v1", "v2") == 1
    assert bundles(bench) == ["v2"]
    assert "queue: v1 failed" in bench.printed and "`make queue EXPERIMENTS=v1 AGAIN=1` tries it again" in bench.printed
    site.failing = set()
    assert train(bench, site) == 1 and len(site.charged) == 2  # nothing is left of it, and v1 is still named
    assert train(bench, site, "v1", "--again") == 0
    assert bundles(bench) == ["v1", "v2"] and [slug for _, slug in site.charged].count("i2b-v1-train") == 2


@pytest.mark.full
def test_the_hours_are_spent_in_the_middle_although_kaggle_said_there_were_some(begin: Begin) -> None:
    bench, site = begin(SATURDAY + timedelta(days=5), used_h=30.0)
    site.get_accelerator_quota_statistics = lambda body: {}  # it does not say
    assert train(bench, site, "v1") == 0
    assert pushed(site) == [("Sat 05 Dec 00:00", "i2b-v1-train")]
    assert "v1 waits: this week's GPU hours are spent: Kernel push error: Maximum weekly GPU quota" in bench.printed


@pytest.mark.full
def test_hours_that_come_back_late_are_asked_for_again_soon(begin: Begin) -> None:
    bench, site = begin(SATURDAY - timedelta(hours=1), used_h=30.0)
    week = SATURDAY + timedelta(minutes=40)  # Kaggle counts afresh forty minutes late
    site.used = {SATURDAY - WEEK: 30.0, SATURDAY: 30.0}
    save = site.save_kernel

    def late(body: dict) -> dict:
        site.used[SATURDAY] = 30.0 if site.now < week else 0.0
        return save(body)

    site.save_kernel = late
    site.get_accelerator_quota_statistics = lambda body: {}
    assert train(bench, site, "v1") == 0
    assert pushed(site) == [("Sat 28 Nov 00:45", "i2b-v1-train")]


def test_what_else_runs_is_said_before_kaggle_refuses_a_third_session(begin: Begin) -> None:
    bench, site = begin()
    running_elsewhere(site, "somebody-elses-idea")
    running_elsewhere(site, "a-chart", gpu=False)
    assert train(bench, site, "v1") == 0
    assert "GPU sessions: 1 of 2 taken by kim/somebody-elses-idea; this one is the second" in bench.printed


@pytest.mark.full
def test_a_third_session_waits_until_one_has_ended(begin: Begin) -> None:
    bench, site = begin()
    for slug in ("one-idea", "another-idea"):
        running_elsewhere(site, slug)
    site.hours |= {"one-idea": 5.0, "another-idea": 2.0}
    assert train(bench, site, "v1") == 0
    assert "2 of 2 taken by kim/another-idea, kim/one-idea; this one waits until one has ended" in bench.printed
    assert pushed(site) == [("Sat 28 Nov 02:15", "i2b-v1-train")]


@pytest.mark.full
def test_without_network_for_an_hour_it_waits_and_no_experiment_counts_as_failed(begin: Begin, server) -> None:
    bench, site = begin()
    server.fault("SaveKernel", drop="before", times=8)
    server.fault("GetKernel", status=503, nth=2, times=13)
    assert train(bench, site, "v1") == 0, bench.printed
    assert bundles(bench) == ["v1"] and len(site.charged) == 1


@pytest.mark.full
def test_credentials_that_are_gone_end_it_and_fail_no_experiment(begin: Begin, server) -> None:
    bench, site = begin()
    server.fault("GetKernelSessionStatus", status=401, nth=3, times=99)
    assert train(bench, site, "v1", "v2") == 1
    assert [entry.state for entry in read_queue(bench.folder / FILE)] == ["trains", "waits"]
    server.faults.clear()
    assert train(bench, site) == 0
    assert bundles(bench) == ["v1", "v2"] and len(site.charged) == 2


@pytest.mark.full
def test_what_a_run_left_and_nobody_can_bundle_fails_that_experiment_alone(begin: Begin) -> None:
    bench, site = begin()
    site.outputs["i2b-v1-train"]["run/fold0.safetensors"] = b"not weights"
    assert train(bench, site, "v1", "v2") == 1
    assert bundles(bench) == ["v2"] and "v1 failed" in bench.printed


@pytest.mark.full
def test_names_join_what_waits_and_what_is_done_is_not_done_again(begin: Begin, server) -> None:
    bench, site = begin()
    server.fault("GetKernelSessionStatus", status=401, nth=12, times=99)  # in the middle of v1
    assert train(bench, site, "v1") == 1
    server.faults.clear()
    assert train(bench, site, "v2") == 0
    assert [slug for _, slug in site.charged] == ["i2b-v1-train", "i2b-v2-train"] and bundles(bench) == ["v1", "v2"]
    asked = len(server.log)
    assert train(bench, site) == 0 and len(server.log) == asked
    assert "queue: v1: done" in bench.printed


@pytest.mark.full
def test_for_scripts_one_object_says_what_became_of_each(begin: Begin) -> None:
    bench, site = begin()
    site.failing = {"i2b-v2-train"}
    assert train(bench, site, "v1", "v2", "--json") == 1
    said = json.loads(bench.printed)
    assert {one["experiment"]: one["state"] for one in said["experiments"]} == {"v1": "done", "v2": "failed"}
    assert not said["ok"] and said["next"] == "make queue EXPERIMENTS=v2 AGAIN=1"


@pytest.mark.parametrize(
    ("names", "said"), [((), "no queue here"), (("v6",), "nothing to train"), (("v1", "vv"), "no experiment 'vv'")]
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(names, said, begin: Begin, server) -> None:
    bench, site = begin()
    assert train(bench, site, *names) == 2 and said in bench.printed
    assert not server.log and not (bench.folder / FILE).exists()


def test_while_it_waits_for_hours_other_pushes_may_run_and_status_shows_it(begin: Begin, monkeypatch) -> None:
    from build.kaggle.journal import AlreadyRunning, held, only_push
    from build.kaggle.preparation import PUSH_FOLDER
    from build.kaggle.queue import LOCK

    bench, site = begin(SATURDAY - timedelta(days=2), used_h=30.0)
    seen = []

    def look(*_: object) -> None:
        with only_push(PUSH_FOLDER):
            seen.append("a push")
        with pytest.raises(AlreadyRunning, match="another queue is running here"), held(LOCK, "another queue"):
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr("build.kaggle.queue.pause", look)
    assert train(bench, site, "v1") == 130 and seen == ["a push"]
    assert "`make queue` continues" in bench.printed
    assert bench.run(verb="status")[0] == 0
    assert "queue: v1: waits, 0.0 of 30 GPU hours are left this week; goes on Sat 28 Nov 00:00 UTC" in bench.printed


def test_it_waits_while_another_push_runs_here(begin: Begin, monkeypatch) -> None:
    from build.kaggle import queue
    from build.kaggle.journal import only_push
    from build.kaggle.preparation import PUSH_FOLDER

    bench, site = begin()
    other = only_push(PUSH_FOLDER)
    other.__enter__()
    waits = []

    def ends(*_: object) -> None:
        waits.append(len(site.charged))
        other.__exit__(None, None, None)

    monkeypatch.setattr(queue, "pause", ends)
    assert train(bench, site, "v1") == 0
    assert waits == [0] and "another push is running here" in bench.printed and len(site.charged) == 1


def test_edited_while_it_waited_it_goes_on_in_a_new_process(begin: Begin, monkeypatch) -> None:
    from build.kaggle import queue

    bench, site = begin(SATURDAY - timedelta(hours=1), used_h=30.0)
    hashes, started = ["before", "before", "after"], []

    def execute(program: str, arguments: list[str]) -> None:
        started.append(arguments[1:])
        raise SystemExit(0)

    monkeypatch.setattr(queue, "sources_sha256", lambda: hashes.pop(0))
    monkeypatch.setattr(queue.os, "execv", execute)
    assert train(bench, site, "v1", "v2") == 0 and not site.charged
    assert started == [["-m", "build", "queue"]]
    assert [entry.state for entry in read_queue(bench.folder / FILE)] == ["waits", "waits"]


def test_hours_are_asked_for_the_next_session_only_as_far_as_it_goes(tmp_path: Path, monkeypatch) -> None:
    from build.weights import training_time
    from kernel_src.competitions.biomass.rules import BiomassRules

    monkeypatch.chdir(tmp_path)
    assert quota.least_hours("v1") is None, "without the training table"
    (tmp_path / "data" / "csiro-biomass").mkdir(parents=True)
    (tmp_path / "data" / "csiro-biomass" / "train.csv").touch()
    monkeypatch.setattr(BiomassRules, "read_train", lambda *_: [0] * 357)
    time = training_time.TrainingTime(hours=25.0, limit_s=11.5 * 3600)
    monkeypatch.setattr(quota, "training_time", lambda recipe, photographs: time)
    assert [quota.least_hours("v1", sessions) for sessions in range(4)] == [11.5, 11.5, 2.0, 0.0]


@pytest.mark.full
def test_what_was_pushed_is_fetched_although_no_hours_are_left(begin: Begin, server) -> None:
    bench, site = begin(SATURDAY - timedelta(days=3), used_h=19.0)  # v1 takes the other eleven
    server.fault("GetKernelSessionStatus", status=401, nth=3, times=99)
    assert train(bench, site, "v1") == 1
    server.faults.clear()
    assert train(bench, site) == 0 and bundles(bench) == ["v1"] and site.now < SATURDAY


@pytest.mark.full
def test_what_may_have_been_pushed_is_looked_for_and_does_not_wait_for_hours(begin: Begin, server) -> None:
    bench, site = begin(SATURDAY - timedelta(days=3), used_h=19.0)
    server.fault("SaveKernel", drop="after")
    server.fault("GetKernel", status=503, nth=3, times=12)
    assert train(bench, site, "v1") == 0, bench.printed
    assert bundles(bench) == ["v1"] and len(site.charged) == 1 and site.now < SATURDAY
    assert "the response was lost" in bench.printed
