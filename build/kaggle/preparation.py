"""What every push shares: it can be stopped and resumed, and of a notebook: build, check, account, drift, push."""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from build.core.errors import CheckFailed, UsageError
from build.core.interrupts import INTERRUPTED, noting_interrupts
from build.core.progress import Steps, watching
from build.kaggle.client import Kaggle, open_client
from build.kaggle.journal import Journal, only_push
from build.kaggle.kernels import Version, look_for_drift, push
from build.kaggle.pushed_values import Given, built_with, values_text
from build.kaggle.staging import Staged
from build.notebooks.adopted_card import AdoptedCard
from build.notebooks.builder import NOTEBOOKS, ROOT, all_cards, build, choose_cards, describe_datasets
from build.notebooks.metadata import slug_of
from kernel_src.competitions.kernel_cards import KernelCard
from kernel_src.runtime.files import sha256_of

PUSH_FOLDER = Path("out", "push")
JOURNAL = PUSH_FOLDER / "journal.db"
# What decides whether the notebooks are in order.
_CHECKED = ("kernel_src", "build", "notebooks", "datasets_meta", "pyproject.toml")
_SOURCES = ("kernel_src", "build")


@contextmanager
def resumable(again: str) -> Iterator[None]:
    """After Ctrl-C, end with the command that continues.

    Raises:
        SystemExit: Ctrl-C was pressed. An error that came after it is taken for what became of it: one that is not will
            come again with the command that continues.
    """
    out, screen = sys.stdout, sys.stderr
    with noting_interrupts() as was_interrupted:
        try:
            yield
        except (KeyboardInterrupt, Exception) as ended:
            if isinstance(ended, Exception) and not was_interrupted():
                raise
            sys.stdout, sys.stderr = out, screen  # it may have come while the client was being silenced
            print(f"\nstopped; nothing is lost: `{again}` continues, and what runs on Kaggle goes on", file=screen)
            raise SystemExit(INTERRUPTED) from None


@contextmanager
def one_push(again: str) -> Iterator[Journal]:
    """Let one push at a time run in this checkout, with its journal; `again` is the command that resumes it.

    Raises:
        UsageError: another one is running.
    """
    with only_push(PUSH_FOLDER), closing(Journal(JOURNAL)) as journal, resumable(again):
        yield journal


def build_and_check(
    experiment: str, kernel: str, steps: Steps, journal: Journal, given: Given
) -> tuple[KernelCard, Path, dict[str, str]]:
    """Build the notebooks of an experiment and check the one of a kernel; return its card and the notebook.

    Where values are given for this push, it is another notebook, and they are returned, too.

    Raises:
        UsageError: no such experiment, or a value that its notebook does not take.
        CheckFailed: sources that cannot be stitched, or whatever `make check` finds.
    """
    cards = choose_cards(experiment, all_cards())
    if not any(card.kernel == kernel for card in cards) and any(isinstance(card, AdoptedCard) for card in cards):
        other = "push-training, it was adopted with --trains" if kernel == "infer" else "push-inference"
        raise UsageError(f"{experiment} has no {kernel} notebook: the door for it is {other}")
    card = next((card for card in cards if card.kernel == kernel), None)
    if card is None or not experiment:
        raise UsageError(f"no {kernel} notebook of {experiment!r}: name the experiment, e.g. EXPERIMENT=demo")
    slug = slug_of(card)
    sources = card.folder if isinstance(card, AdoptedCard) else "kernel_src/"
    with steps.step("build", f"{sources} → {NOTEBOOKS}/{slug}/") as note:
        outcomes = build(cards)
        describe_datasets(cards)
        card, notebook, values = built_with(given, card)
        states = ", ".join(sorted({outcome.state for outcome in outcomes}))
        note(f"{states}; {notebook.parent}/ for this push, with {values_text(values)}" if values else states)
    with steps.step("check", "up to date, offline, described as Kaggle requires?") as note:
        note(_check(slug, journal))
    return card, notebook, values


def _check(slug: str, journal: Journal) -> str:
    """Check one notebook unless that was done for exactly these files; what is wrong with others does not matter."""
    inputs = {"notebook": slug, "sha256": _digest()}
    if journal.done("check", inputs) is not None:
        return "yes, unchanged since the last check"
    from build.notebooks.check.command import check

    with journal.attempt("check", inputs):
        verdict = check(all_cards(), ROOT, only=slug)
        if verdict.problems:
            raise CheckFailed(verdict.problems)
    return "yes"


def sources_sha256() -> str:
    """Return a hash of what a command of this kit runs and builds from."""
    return _digest_of(_SOURCES)


def _digest() -> str:
    return _digest_of(_CHECKED)


def _digest_of(names: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name in names:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT).as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def account(steps: Steps) -> tuple[Kaggle, str]:
    """Sign in; return the client and the account's name.

    Raises:
        CheckFailed: no credentials, or Kaggle does not know them.
    """
    with steps.step("account", "who is signed in?") as note:
        client = open_client()
        note(f"https://www.kaggle.com/{client.username}")
    return client, client.username


def push_unless_edited(staged: Staged, client: Kaggle, journal: Journal, steps: Steps, *, overwrite: bool) -> Version:
    """Push a staged notebook over what the site has, unless a person has edited that.

    Raises:
        CheckFailed: edited there, refused by Kaggle, or not what was sent when it is read back.
    """
    with steps.step("drift", f"is https://www.kaggle.com/code/{staged.kernel} as it was pushed?") as note:
        remote = client.pull_kernel(staged.owner, staged.slug)
        note(look_for_drift(staged, remote, journal, overwrite=overwrite))
    with steps.step("push", f"{staged.notebook} as {staged.kernel}, private, offline") as note:
        with watching("pushing", steps.quiet) as show_state:
            version = push(staged, remote, client, journal, show_state)
        note(f"version {version.number}, read back and identical: {version.url}")
    return version
