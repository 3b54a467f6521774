"""The live log of a run, with the real client against the stand-in: each line once, whatever becomes of the stream."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from build.kaggle.journal import Journal
from build.kaggle.live_view import RunView
from build.kaggle.log_lines import Said
from build.kaggle.runs import RunFailed, wait_for_run
from build.kaggle.staging import Staged, stage
from tests.build.kaggle.mishaps import LOG_LINES, log_of
from tests.build.kaggle.site import Stream
from tests.build.kaggle.test_kernels import pushed, write_notebook
from tests.build.kaggle.test_runs import TRACEBACK

SLUG = "i2b-toy-infer"
LINES = list(LOG_LINES)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KIT_POLL_S", "0.02")
    return Journal(tmp_path / "journal.db")


@pytest.fixture
def staged(journal: Journal, tmp_path: Path) -> Staged:
    return stage(write_notebook(tmp_path / "toy", "print('the only line')\nraise ValueError"), "kim", {})


class Watcher:
    """Waits for a run as a push does, somewhere that is no terminal; `lines` are those of the notebook."""

    def __init__(self, staged: Staged, kaggle, journal: Journal, site) -> None:
        self.staged, self.kaggle, self.journal, self.site = staged, kaggle, journal, site
        self.out = io.StringIO()

    def run(self, states: list[str], *streams: Stream, log: str = "") -> list[str]:
        self.site.kernel_states = states
        version = pushed(self.staged, self.kaggle, self.journal)
        self.site.streams, self.site.waits_for_streams = list(streams), True
        self.site.logs = {SLUG: log or log_of(*LINES)}
        view = RunView("on Kaggle", Console(file=self.out, width=120), redraws=False)
        wait_for_run(self.staged, version, self.kaggle, self.journal, view)
        return self.lines

    @property
    def lines(self) -> list[str]:
        return re.findall(r"^      │ (.*)$", self.out.getvalue(), re.MULTILINE)


@pytest.fixture
def watcher(staged: Staged, kaggle, journal: Journal, site) -> Watcher:
    return Watcher(staged, kaggle, journal, site)


RUNNING = ["QUEUED", *["RUNNING"] * 12, "COMPLETE"]


@pytest.mark.parametrize(
    "streams",
    [
        [],
        [Stream(last=10, end="break"), Stream(last=25, end="break"), Stream()],
        [Stream(last=10, end="break"), Stream(first=7, last=25, end="close"), Stream(first=25)],
        [Stream(last=3), Stream(last=20), Stream(last=20, end="close")],
        [Stream(last=9, chunked=False, end="break"), Stream(chunked=False)],
        [Stream(raw="<html>log in</html>", kind="text/html"), Stream(raw="\0\xff{}[]\n\n\n"), Stream(last=12)],
        [Stream(status=500), Stream(status=429), Stream(status=404), Stream(last=30), Stream(status=502)],
    ],
    ids=["whole", "breaks", "overlaps", "ends early", "without chunks", "garbage", "refused now and then"],
)
def test_each_line_is_shown_once_whatever_the_stream_does(watcher: Watcher, server, streams: list[Stream]) -> None:
    assert watcher.run(RUNNING, *streams) == LINES
    assert {body["versionLabel"][0] for body in server.bodies("StreamLog")} == {"v1000000", "v1"}


def test_what_was_sent_live_is_there_before_the_run_has_ended(watcher: Watcher, server) -> None:
    seen: list[int] = []
    server.hook = lambda phase, n, name: (
        seen.append(len(watcher.lines)) if (phase, name) == ("before", "GetKernelSessionStatus") else None
    )
    watcher.run(RUNNING, Stream(last=10, end="break"), Stream(end="break", hold_s=0.2))
    assert seen[-1] == 40 and seen[0] == 0


def test_a_stream_that_holds_on_keeps_nobody_from_seeing_the_end(watcher: Watcher) -> None:
    assert watcher.run(["RUNNING"] * 3 + ["COMPLETE"], Stream(hold_s=30, last=5)) == LINES


@pytest.mark.parametrize("status", [404, 403, 405])
def test_where_no_stream_is_offered_the_states_are_asked_for_as_before(watcher: Watcher, server, status: int) -> None:
    server.fault("StreamLog", status=status, times=100)
    assert watcher.run(RUNNING) == []
    assert watcher.out.getvalue().count("the site offers no live log") == 1
    assert "RUNNING" in watcher.out.getvalue() and "COMPLETE" in watcher.out.getvalue()
    assert server.names().count("StreamLog") <= 7


def test_another_versions_log_is_never_shown_where_labels_mean_nothing(watcher: Watcher, site, server) -> None:
    """Somebody saves version 2 while version 1 runs: the site answers every label with the newest log."""
    site.stream_knows_labels = False
    site.version_logs = {(SLUG, 2): log_of("of version 2")}

    def hook(phase: str, n: int, name: str) -> None:
        kernel = site.kernels.get(f"kim/{SLUG}")
        if (phase, name) == ("before", "StreamLog") and kernel and len(kernel.versions) == 1:
            site.edit_kernel(f"kim/{SLUG}", kernel.versions[0]["text"])
            kernel.states = ["RUNNING"]

    server.hook = hook
    assert watcher.run(RUNNING, log=log_of("of version 1")) == []
    assert "of version 2" not in watcher.out.getvalue()
    assert "does not tell the logs of versions apart, and 1 is not known to be the newest" in watcher.out.getvalue()


def test_where_labels_mean_nothing_the_newest_versions_log_is_ours(watcher: Watcher, site) -> None:
    site.stream_knows_labels = False
    assert watcher.run(RUNNING, Stream(last=10, end="break")) == LINES


def test_a_connection_that_brings_another_log_is_noticed_by_its_clock(watcher: Watcher, site) -> None:
    site.version_logs = {(SLUG, 2): log_of("of version 2", first_s=1.5)}
    assert watcher.run(RUNNING, Stream(last=10, end="break"), Stream(of_version=2)) == LINES
    assert "what the site sends now is another log" in watcher.out.getvalue()


def test_a_stored_log_while_the_run_goes_on_is_that_of_a_run_before(watcher: Watcher) -> None:
    stored = Stream(raw=log_of("of a run before"), kind="application/json")
    assert watcher.run(RUNNING, stored, stored) == LINES


def test_a_traceback_is_shown_with_the_sources_before_kaggle_says_that_it_failed(watcher: Watcher, server) -> None:
    traceback = TRACEBACK.replace("In[2], line 2", "In[1], line 1").replace("In [2]", "In [1]")
    seen: list[str] = []
    server.hook = lambda phase, n, name: seen.append(watcher.out.getvalue()) if phase == "before" else None
    with pytest.raises(RunFailed):
        watcher.run(["RUNNING"] * 6 + ["ERROR"], log=log_of("the only line", *traceback.split("\n")))
    first = next(number for number, text in enumerate(seen) if "ValueError: no weights at here" in text)
    assert first < len(seen) - 3
    assert "kernel_src/kernels/infer.py:10 (cell In[1], line 1)" in seen[first]


def test_nobody_looks_so_nothing_is_asked_for(watcher: Watcher, server, kaggle, journal, staged, site) -> None:
    site.kernel_states = ["RUNNING", "COMPLETE"]
    version = pushed(staged, kaggle, journal)
    wait_for_run(staged, version, kaggle, journal, RunView("on Kaggle", None, redraws=False))
    assert "StreamLog" not in server.names()


def test_the_log_goes_to_kaggles_address_only_and_a_redirect_elsewhere_takes_no_key_along(
    watcher: Watcher, server, site
) -> None:
    server.fault("StreamLog", nth=2, status=302, headers={"Location": "http://elsewhere.localhost/log"})
    assert watcher.run(RUNNING) == LINES
    assert server.leaks == []


def drawn(view: RunView) -> str:
    console = Console(file=io.StringIO(), width=70)
    console.print(view)
    return console.file.getvalue()


def test_in_a_terminal_the_cell_and_the_progress_are_redrawn_and_notices_stay() -> None:
    out = io.StringIO()
    view = RunView("on Kaggle", Console(file=out, width=70), redraws=True)
    view("RUNNING")
    view.show([Said("cell", "cell In[3] “Train”, kernel_src/kernels/train.py")])
    view.show([Said("progress", f"fold {n}: {n} of 9 batch", f"fold {n}", True) for n in (0, 1, 0)])
    view.show([Said("line", "an ordinary [red]line[/red] " + "x" * 99), Said("notice", "NOTE disk: full")])
    assert out.getvalue() == "      │ NOTE disk: full\n"
    lines = drawn(view).splitlines()
    assert "on Kaggle: RUNNING  0:00:00" in lines[0]
    assert [line.strip() for line in lines[1:4]] == [
        "cell In[3] “Train”, kernel_src/kernels/train.py",
        "fold 1: 1 of 9 batch",
        "fold 0: 0 of 9 batch",
    ]
    assert max(map(len, lines)) <= 70
