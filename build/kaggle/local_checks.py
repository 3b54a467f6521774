"""What the doctor can see without asking anyone: the client, the credentials' places, the surroundings, the journal."""

import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from build.core.credentials import TOKEN_PAGE, blocking_problems, find_sources, mode_problems, unreadable_problems
from build.core.image import read_pins
from build.kaggle.diagnosis import Check, Finding, Level
from build.kaggle.memory import open_steps
from build.notebooks.builder import ROOT

CLIENT = "kaggle"


def client_findings() -> Iterator[Finding]:
    """Compare the installed client with the one that this kit was written for."""
    pins = read_pins((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package in (CLIENT, "six"):  # 2.2.x imports six without depending on it
        try:
            installed = version(package)
        except PackageNotFoundError:
            yield Finding(about="client", level="fail", text=f"{package} is not installed", cure="make setup")
            continue
        if installed == pins.get(package):
            yield Finding(about="client", level="ok", text=f"{package} {installed}")
        else:
            text = f"{package} {installed}; this kit was tried with {pins.get(package)}"
            yield Finding(about="client", level="warn", text=text, cure="make setup")


def credential_findings() -> Iterator[Finding]:
    """Name the place of the credentials that are used, those that it hides, and files that others can read."""
    sources, unreadable, blocking = find_sources(), unreadable_problems(), blocking_problems()
    for problem in unreadable:
        level: Level = "fail" if problem in blocking else "warn"
        yield Finding(about="credentials", level=level, text=f"{problem.where}: {problem.what}", cure=problem.cure)
    if not sources and not unreadable:
        cure = f"make a token at {TOKEN_PAGE} and put it into ~/.kaggle/access_token (chmod 600)"
        yield Finding(about="credentials", level="fail", text="none found", cure=cure)
    for number, source in enumerate(sources):
        if number == 0 and not blocking:
            yield Finding(about="credentials", level="ok", text=f"the {source.kind} from {source.where} is used")
        elif number == 0:
            text = f"the {source.kind} from {source.where} is good, but comes after the one that cannot be read"
            yield Finding(about="credentials", level="warn", text=text, cure="repair the other one, or remove it")
        else:
            text = f"the {source.kind} from {source.where} is hidden by the {sources[0].kind} from {sources[0].where}"
            yield Finding(about="credentials", level="warn", text=text, cure="keep one, so that none goes stale unseen")
    for problem in mode_problems():
        yield Finding(about="credentials", level="fail", text=f"{problem.where}: {problem.what}", cure=problem.cure)


def surroundings_findings() -> Iterator[Finding]:
    """Look at the variables that change where the client sends things."""
    site = os.environ.get("KAGGLE_API_ENVIRONMENT", "")
    if site and site != "PROD":
        what = "requests go to a stand-in on this machine, not to Kaggle"
        if site != "LOCALHOST":
            what = "it does not do what its name says (TEST goes to production)"
        text, cure = f"KAGGLE_API_ENVIRONMENT={site}: {what}", "unset KAGGLE_API_ENVIRONMENT"
        level: Level = "warn" if site == "LOCALHOST" else "fail"
        yield Finding(about="surroundings", level=level, text=text, cure=cure)
    if "KAGGLE_API_ENDPOINT" in os.environ:
        text = "KAGGLE_API_ENDPOINT is set, the client 2.x takes no notice of it"
        yield Finding(about="surroundings", level="warn", text=text, cure="unset KAGGLE_API_ENDPOINT")


def journal_findings() -> Iterator[Finding]:
    """Name what was begun here and has not ended."""
    for step in open_steps():
        text = f"{step.step} of {step.subject} was begun {step.begun[:16].replace('T', ' ')} UTC and has not ended"
        yield Finding(about="journal", level="warn", text=text, cure="run the same command again: it resumes")


LOCAL_CHECKS: tuple[tuple[str, Check], ...] = (
    ("client", client_findings),
    ("credentials", credential_findings),
    ("surroundings", surroundings_findings),
    ("journal", journal_findings),
)
