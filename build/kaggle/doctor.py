"""`make doctor`: would a push work now? One line per thing that it needs: ok, warn or fail, each with its cure.

First what can be seen here, then what the site says. A check that fails to run becomes a line, and the next one runs.
No line holds a secret: of the credentials only the place is named.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from build.core.credentials import TOKEN_PAGE, blocking_problems, find_sources, mode_problems, unreadable_problems
from build.core.errors import CheckFailed, UsageError
from build.core.foreign_text import shown
from build.core.image import read_pins
from build.kaggle.client import Kaggle, open_client
from build.kaggle.drift import find_drift, pushes_of
from build.kaggle.journal import Journal
from build.kaggle.journal_steps import open_steps
from build.kaggle.preparation import JOURNAL
from build.kaggle.quota import reset_of, until
from build.kaggle.weights import find_folder
from build.notebooks.builder import NOTEBOOKS, ROOT, all_cards, build_notebook, card_of, pull_command
from build.notebooks.metadata import DATASET_METADATA, slug_of
from build.notebooks.seal import read_object
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug
from kernel_src.runtime.manifest import MANIFEST_FILE

CLIENT = "kaggle"
LOW_H = 2.0  # GPU hours: fewer do not last for a training
Level = Literal["ok", "warn", "fail"]
COLOURS = {"ok": "32", "warn": "33", "fail": "31"}  # ANSI green, yellow, red


@dataclass(frozen=True)
class Finding:
    """One line of the doctor."""

    level: Level  # fail: a push would not work
    text: str
    cure: str = ""
    about: str = ""  # "quota": the name of the check
    absent: bool = False  # merely not on Kaggle yet: the terminal shows how many, `--json` each of them


Check = Callable[[], Iterator[Finding]]


def examine() -> Iterator[Finding]:
    """Yield every finding, as it is found."""
    for about, check in LOCAL_CHECKS:
        yield from guarded(about, check)
    if blocking_problems() or not find_sources():
        return  # reported already, and there is no account to sign in
    try:
        client = open_client()
    except CheckFailed as failed:
        yield from as_findings("sign-in", failed)
        return
    except UsageError as wrong:
        yield Finding("fail", str(wrong), about="sign-in")
        return
    yield Finding("ok", f"as {client.username}", about="sign-in")
    for about, check in site_checks(client, datetime.now(UTC)):
        yield from guarded(about, check)


def guarded(about: str, check: Check) -> Iterator[Finding]:
    """Yield what a check finds; an error in it becomes a finding, and the next check runs."""
    try:
        for finding in check():
            yield replace(finding, about=about)
    except CheckFailed as failed:
        yield from as_findings(about, failed)


def as_findings(about: str, failed: CheckFailed) -> Iterator[Finding]:
    """Make findings of problems."""
    for problem in failed.problems:
        text = f"{problem.where}: {problem.what}" if problem.where else problem.what
        yield Finding("fail", text, problem.cure, about)


def as_line(finding: Finding) -> str:
    """Write a finding on one line, coloured where it goes to a terminal; a second look for secrets costs nothing."""
    level = finding.level.ljust(4)
    if sys.stdout.isatty():
        level = f"\x1b[{COLOURS[finding.level]}m{level}\x1b[0m"
    cure = f" → {finding.cure}" if finding.cure else ""
    return f"{level}  {shown(f'{finding.about:<12} {finding.text}{cure}')}"


# %%
def client_findings() -> Iterator[Finding]:
    """Compare the installed client with the one that this kit was written for."""
    pins = read_pins((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package in (CLIENT, "six"):  # 2.2.x imports six without depending on it
        try:
            installed = version(package)
        except PackageNotFoundError:
            yield Finding("fail", f"{package} is not installed", "make setup")
            continue
        if installed == pins.get(package):
            yield Finding("ok", f"{package} {installed}")
        else:
            yield Finding("warn", f"{package} {installed}; this kit was tested with {pins.get(package)}", "make setup")


def credential_findings() -> Iterator[Finding]:
    """Name the place of the credentials that are used, those that it hides, and files that others can read."""
    sources, unreadable, blocking = find_sources(), unreadable_problems(), blocking_problems()
    for problem in unreadable:
        level: Level = "fail" if problem in blocking else "warn"
        yield Finding(level, f"{problem.where}: {problem.what}", problem.cure)
    if not sources and not unreadable:
        yield Finding("fail", "none found", f"save a token from {TOKEN_PAGE} as ~/.kaggle/access_token (chmod 600)")
    for number, source in enumerate(sources):
        if number == 0 and not blocking:
            yield Finding("ok", f"the {source.kind} from {source.where} is used")
        elif number == 0:
            text = f"the {source.kind} from {source.where} is good, but comes after the one that cannot be read"
            yield Finding("warn", text, "repair the other one, or remove it")
        else:
            text = f"the {source.kind} from {source.where} is hidden by the {sources[0].kind} from {sources[0].where}"
            yield Finding("warn", text, "keep only one, or the other expires unnoticed")
    for problem in mode_problems():
        yield Finding("fail", f"{problem.where}: {problem.what}", problem.cure)


def environment_findings() -> Iterator[Finding]:
    """Look at the variables that change where the client sends things."""
    site = os.environ.get("KAGGLE_API_ENVIRONMENT", "")
    if site and site != "PROD":
        what = "requests go to a test server on this machine, not to Kaggle"
        if site != "LOCALHOST":
            what = "it does not do what its name says (TEST goes to production)"
        level: Level = "warn" if site == "LOCALHOST" else "fail"
        yield Finding(level, f"KAGGLE_API_ENVIRONMENT={site}: {what}", "unset KAGGLE_API_ENVIRONMENT")
    if "KAGGLE_API_ENDPOINT" in os.environ:
        yield Finding("warn", "KAGGLE_API_ENDPOINT is set; client 2.x ignores it", "unset KAGGLE_API_ENDPOINT")


def journal_findings() -> Iterator[Finding]:
    """Name what was begun here and has not ended."""
    for step in open_steps():
        text = f"{step.step} of {step.subject} was begun {step.begun[:16].replace('T', ' ')} UTC and has not ended"
        yield Finding("warn", text, "run the same command again: it resumes")


LOCAL_CHECKS: tuple[tuple[str, Check], ...] = (
    ("client", client_findings),
    ("credentials", credential_findings),
    ("environment", environment_findings),
    ("journal", journal_findings),
)


def site_checks(client: Kaggle, now: datetime) -> list[tuple[str, Check]]:
    """Return the checks that ask the site, in the order of asking."""
    checks: list[tuple[str, Check]] = [
        ("rules", partial(rules_findings, client)),
        ("quota", partial(quota_findings, client, now)),
        ("submissions", partial(submission_findings, client, now)),
    ]
    for slug in sorted({slug for card in all_cards() for slug in card.datasets if "/" not in slug}):
        checks.append(("dataset", partial(dataset_findings, client, slug)))
    for card in all_cards():
        checks.append(("drift", partial(drift_findings, client, slug_of(card))))
    return checks


def rules_findings(client: Kaggle) -> Iterator[Finding]:
    """Ask for the list of data files, which Kaggle shows only to those who have accepted the rules."""
    client.competition_files(facts().slug)
    yield Finding("ok", f"{facts().slug}: joined, rules accepted")


def quota_findings(client: Kaggle, now: datetime) -> Iterator[Finding]:
    """Ask how many GPU hours are left."""
    quota = client.quota()
    left, reset = quota.gpu_left_h, until(reset_of(quota, now), now)
    if left is None:
        what = "Kaggle does not say how many GPU hours are left"
        yield Finding("warn", what, "https://www.kaggle.com/settings shows it")
        return
    text = f"{left:.1f} of {quota.gpu_total_h:.0f} GPU hours left, full again {reset}"
    if left <= 0:
        yield Finding("fail", text, f"wait until {reset}")
    elif left < LOW_H:
        yield Finding("warn", text, "enough for inference, hardly for training")
    else:
        yield Finding("ok", text)


def submission_findings(client: Kaggle, now: datetime) -> Iterator[Finding]:
    """Ask how many submissions are left today."""
    limits = client.submission_limits(facts().slug)
    if limits is None:
        yield Finding("warn", "Kaggle does not say how many are left", facts().url)
        return
    level: Level = "ok" if limits.left_now > 0 else "warn"
    more = f"SUBMIT=0 pushes without submitting; more from {until(next_submission_reset(now), now)}"
    yield Finding(level, f"{limits.left_now} left today, {limits.today} made", "" if level == "ok" else more)


def dataset_findings(client: Kaggle, slug: str) -> Iterator[Finding]:
    """Check that a dataset is there, complete, and the same as the bundle on this machine."""
    ref, push = f"{client.username}/{slug}", push_command(slug)
    state = client.dataset_state(client.username, slug)
    if state is None:
        yield Finding("warn", f"{ref} is not on Kaggle", push, absent=True)
        return
    if state.upper() != "READY":
        failed = state.upper() in ("FAILED", "ERROR")
        cure = push if failed else "wait; a push waits for it by itself"
        yield Finding("fail" if failed else "warn", f"{ref} is {state}", cure)
        return
    listed = client.dataset_files(client.username, slug)
    there = client.dataset_file(client.username, slug, MANIFEST_FILE) if MANIFEST_FILE in listed else None
    if missing := missing_files(there or b"", listed):
        yield Finding("fail", f"{ref} is incomplete: {', '.join(missing)}", push)
        return
    size = f"{ref}: READY, {len(listed)} files, {sum(listed.values()) / 1e6:.1f} MB"
    folder = find_folder(slug, "")
    local = (folder / MANIFEST_FILE).read_bytes() if folder else None
    if not listed:
        yield Finding("fail", f"{ref} is READY and lists no file", push)
    elif there is None:
        yield Finding("warn", f"{size}, without {MANIFEST_FILE}", push)
    elif local is not None and local != there:
        yield Finding("warn", f"{size}; the bundle on this machine is a different one", push)
    else:
        yield Finding("ok", size)


def missing_files(manifest: bytes, listed: dict[str, int]) -> list[str]:
    """Name the manifest's files that a dataset lacks or has in another size."""
    entries = read_object(manifest).get("files")
    wanted = entries if isinstance(entries, dict) else {}
    faults = []
    for name, entry in wanted.items():
        size = entry.get("bytes") if isinstance(entry, dict) else None
        if name not in listed:
            faults.append(f"{name} is missing")
        elif size is not None and listed[name] != size:
            faults.append(f"{name} has {listed[name]} bytes of {size}")
    return faults


def push_command(slug: str) -> str:
    """Return the command that uploads a dataset of the kit."""
    for name in EXPERIMENTS:
        if bundle_slug(name) == slug:
            return f"make push-data EXPERIMENT={name}"
    return f"make push-data SLUG={slug} DIR=… with the folder of its {DATASET_METADATA}"


def drift_findings(client: Kaggle, slug: str) -> Iterator[Finding]:
    """Check that nobody has edited a notebook in the browser since it was pushed."""
    remote = client.pull_kernel(client.username, slug)
    name = f"{client.username}/{slug}"
    if remote is None:
        yield Finding("ok", f"{name} is not on Kaggle yet", absent=True)
        return
    path, card = ROOT / NOTEBOOKS / slug / f"{slug}.ipynb", card_of(slug)
    if path.is_file():
        ours = path.read_text(encoding="utf-8")
    elif card is not None:
        ours = build_notebook(card).notebook.decode()
    else:
        yield Finding("warn", f"{slug} is not built", "bring its experiment back")
        return
    attempts = []
    if JOURNAL.is_file():
        with closing(Journal(JOURNAL)) as journal:
            attempts = pushes_of(journal, name)
    if find_drift(remote.source, ours, slug, attempts) is None:
        yield Finding("ok", f"{name} version {remote.version} is as it was pushed")
        return
    cure = f"{pull_command(slug)} fetches the edit; OVERWRITE=1 keeps a copy and pushes over it"
    yield Finding("fail", f"{name} version {remote.version} was edited on the site", cure)


def next_submission_reset(now: datetime) -> datetime:
    """Return when submissions are counted afresh: midnight UTC."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
