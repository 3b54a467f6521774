"""One flow under one fault, in this process: what it says, what is left on the site, what a second run does."""

import contextlib
import io
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from build.notebooks import NOTEBOOKS, ROOT
from tests.push.desk import Desk, submission_csv, write_bundle

SLUG = "i2b-demo-infer"
GOOD = {SLUG: {"submission.csv": submission_csv("ID1", "ID2")}}
DATA = {"train.csv": b"a,b\n" * 400, "test.csv": b"c", "train/ID1.jpg": bytes(range(256)) * 8}
LONGEST = 150  # characters of a message in the table


@dataclass(frozen=True)
class Case:
    """One fault at one step."""

    fault: str
    step: str
    arm: Callable[[Any], None]  # given the running server
    cure: Callable[[Any], None] = lambda server: None  # what the person, or time, does before the second run
    arguments: tuple[str, ...] = ()  # of the second run
    prepare: Callable[["Bench"], None] = lambda bench: None
    environment: tuple[tuple[str, str], ...] = ()
    verb: str = "push-inference"
    dead_end: bool = False  # the second run ends the same way: what was asked cannot be done
    submitted: int = 1  # submissions in the end

    @property
    def id(self) -> str:
        return f"{self.fault} @ {self.step}"


@dataclass
class Outcome:
    """What came of a case; every field is compared with docs/faults.md."""

    exit: int
    said: str
    again: int
    left: str
    wrong: list[str] = field(default_factory=list)  # never in the table: it fails the test

    def cells(self) -> list[str]:
        return [str(self.exit), self.said, str(self.again), self.left]


@dataclass
class Bench:
    """A desk in a folder, in this process; `run` is `python -m build …` without the start of a Python."""

    folder: Path
    server: Any
    patch: pytest.MonkeyPatch

    def rehearsed(self) -> None:
        Desk(self.folder).rehearsed()

    def run(self, *arguments: str, verb: str = "push-inference") -> tuple[int, str]:
        """Return exit code and everything printed."""
        from build import cli

        command = ["build", verb, *(("--experiment", "demo") if verb.startswith("push-") else ()), *arguments]
        printed = io.StringIO()
        self.patch.setattr(sys, "argv", command)
        code: object = 0
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                cli.main()
            except SystemExit as ended:
                code = ended.code
        return (int(code) if isinstance(code, int) else 0 if code is None else 1), printed.getvalue()


TRACEBACK_OF_KERNEL = "ValueError                                Traceback (most recent call last)"


def play(case: Case, bench: Bench) -> Outcome:
    """Run the flow under the fault, then once more with the fault gone, and look at what is there."""
    server, site = bench.server, bench.server.site
    site.outputs, site.competitions["csiro-biomass"] = dict(GOOD), dict(DATA)
    case.prepare(bench)
    for name, value in case.environment:
        bench.patch.setenv(name, value)
    case.arm(server)
    code, printed = bench.run(verb=case.verb)
    struck = all(fault.seen >= fault.nth for fault in server.faults)
    after_first = counts(bench, case.verb)
    server.faults.clear()
    case.cure(server)
    again, printed_again = bench.run(*case.arguments, verb=case.verb)
    message = said(printed, bench.folder) if code else "recovers"
    outcome = Outcome(code, message, again, counts(bench, case.verb))
    if not struck:
        outcome.wrong.append("the fault never struck")
    if "Traceback (most recent call last)" in (printed + printed_again).replace(TRACEBACK_OF_KERNEL, ""):
        outcome.wrong.append(f"a traceback of ours was shown:\n{printed}\n{printed_again}")
    if case.dead_end != bool(again) or (case.dead_end and not code):
        outcome.wrong.append(f"the second run ends with {again}:\n{printed_again}")
    if not code and after_first != outcome.left:
        outcome.wrong.append(f"a run after success changed something: {after_first}, then {outcome.left}")
    if case.verb == "push-inference":
        ledger = Desk(bench.folder).scores()
        if len(site.submissions) != case.submitted or len(ledger) != case.submitted:
            outcome.wrong.append(f"{len(site.submissions)} submissions, {len(ledger)} in the ledger: {case.submitted}?")
    else:
        there = {name: (bench.folder / "data" / "csiro-biomass" / name) for name in DATA}
        if not case.dead_end and any(path.read_bytes() != DATA[name] for name, path in there.items()):
            outcome.wrong.append("the data are not what the site has")
    return outcome


def counts(bench: Bench, verb: str) -> str:
    """Say how many versions and submissions, or files, there are."""
    if verb == "data":
        files = [path for path in (bench.folder / "data").rglob("*") if path.is_file()]
        return f"{len(files)} files"
    site = bench.server.site
    datasets = sum(len(one.versions) for one in site.datasets.values())
    kernels = sum(len(one.versions) for one in site.kernels.values())
    return f"{datasets} · {kernels} · {len(site.submissions)}"


def said(printed: str, folder: Path) -> str:
    """Return the problem that was printed, without what differs from run to run."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    named = [line for line in lines[:-1] if not re.match(r"\[\d+/\d+\]|(done|stopped) |.*trying again in", line)]
    last = named[-1] if named else lines[-1]
    for line in reversed(named):
        if " → " in line or re.match(r"\S+: ", line):
            last = line
            break
    text = last.replace(str(folder), "…").replace(str(ROOT), "…").replace(os.environ["HOME"], "~")
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "…", text)
    text = re.sub(r"\b(i2b-)[0-9a-f]{8}\b", r"\1…", text)
    text = re.sub(r"0x[0-9a-f]+|port=\d+|\d+\.\d+ s\b|in \d+ s\b", "…", text)
    text = text.partition(" → ")[0]
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def lay_bench(folder: Path, server: Any, patch: pytest.MonkeyPatch, template: Path) -> Bench:
    """Copy a desk whose notebooks were checked, and go there."""
    shutil.copytree(template, folder, symlinks=True)
    patch.chdir(folder)
    patch.setenv("KIT_POLL_S", "0.005")
    patch.setenv("KIT_TIMEOUT_S", "20")
    from build.push import client, preparation

    # What `make check` read is the same in all of them, and other tests are about it.
    patch.setattr(preparation, "_digest", lambda: "as in the template")

    patch.setattr(client.open_client, "__defaults__", (folder / "out" / "push" / "uploads",))
    patch.setattr(client.Kaggle.__init__, "__defaults__", (folder / "out" / "push" / "uploads",))
    return Bench(folder, server, patch)


def make_template(folder: Path) -> Path:
    """Lay out a desk once: the built notebooks, weights, the report of a rehearsal."""
    folder.mkdir()
    (folder / NOTEBOOKS).symlink_to(ROOT / NOTEBOOKS)
    write_bundle(folder / "out" / "demo" / "bundle")
    Desk(folder).rehearsed()
    _note_check(folder)
    return folder


def _note_check(folder: Path) -> None:
    """Let the journal know that the notebooks were checked: it takes seconds, and other tests are about it."""
    from build.progress import Steps
    from build.push import preparation
    from build.push.journal import Journal
    from build.push.preparation import JOURNAL, build_and_check

    journal = Journal(folder / JOURNAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "_digest", lambda: "as in the template")
        build_and_check("demo", "infer", Steps(total=2, quiet=True), journal)
    journal.close()
