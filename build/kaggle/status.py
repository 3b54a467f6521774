"""`make status`: every experiment at a glance (notebooks, weights, last submission), and what is left open.

The site is asked; what this checkout's journal knows (which version was pushed, what was interrupted) stands beside it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from build.core.errors import CheckFailed, Problem
from build.core.progress import waiting
from build.kaggle.journal_steps import Step, newest_steps
from build.kaggle.responses import ABSENT
from build.notebooks.adopted_card import AdoptedCard
from build.notebooks.builder import all_cards, slug_named
from build.scores.ledger import Score, read_scores
from kernel_src.competitions.biomass.constants import SLUG
from kernel_src.recipes.experiments import ENSEMBLES, EXPERIMENTS
from kernel_src.recipes.kernel_cards import bundle_slug, kernel_on_gpus

if TYPE_CHECKING:
    from build.kaggle.client import Kaggle
    from build.kaggle.responses import Submission


@dataclass(frozen=True, kw_only=True)
class Row:
    """One experiment, in words."""

    experiment: str
    training: str  # "v2 COMPLETE"
    weights: str  # "v1 READY"
    inference: str
    submission: str  # "ref 101 complete, public 0.7100"


@dataclass(frozen=True, kw_only=True)
class Open:
    """A step that was begun and has not ended, or that failed."""

    step: str
    subject: str
    state: str
    begun: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where every experiment stands."""

    account: str  # "" where the site could not be asked; then the rows are from the journal and the ledger
    rows: list[Row]
    left_open: list[Open]
    problems: list[Problem]  # why the site could not be asked

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "ok": not self.problems,
            "account": self.account,
            "experiments": [asdict(row) for row in self.rows],
            "open": [asdict(entry) for entry in self.left_open],
            "problems": [problem.as_json() for problem in self.problems],
        }

    def as_lines(self) -> list[str]:
        """Return the table, then what is left open."""
        heading = {name: name for name in asdict(self.rows[0])}
        table = [list(line.values()) for line in (heading, *map(asdict, self.rows))]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        unreachable = "Kaggle could not be reached; this is from the journal and the ledger"
        lines = [f"account {self.account}" if self.account else unreachable]
        for line in table:
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        for entry in self.left_open:
            when = entry.begun[:16].replace("T", " ")
            what = "has not ended" if entry.state == "begun" else "failed"
            begun = f"open: {entry.step} of {entry.subject}, begun {when} UTC, {what}"
            lines.append(f"{begun} → run the same command again: it resumes")
        return lines


def read_status(*, quiet: bool) -> Status:
    """Ask the site for one row per experiment; where it cannot be asked, say what the journal and the ledger hold."""
    steps, scores = newest_steps(), read_scores()
    left_open = [
        Open(step=step.step, subject=step.subject, state=step.state, begun=step.begun)
        for step in steps
        if step.state != "done"
    ]
    try:
        from build.kaggle.client import open_client

        client = open_client()
        with waiting("asking Kaggle", quiet=quiet):
            submissions = client.submissions(SLUG)
            rows = [row_of(name, client, scores, submissions) for name in pushable()]
    except CheckFailed as failed:
        rows = [known_here(name, steps, scores) for name in pushable()]
        return Status(account="", rows=rows, left_open=left_open, problems=failed.problems)
    return Status(account=client.username, rows=rows, left_open=left_open, problems=[])


def pushable() -> list[str]:
    """Name every experiment that has an inference notebook, blends too, and every adopted kernel."""
    return [card.experiment for card in all_cards() if card.kernel == "infer" or isinstance(card, AdoptedCard)]


def _on_gpus(name: str) -> str:
    return kernel_on_gpus(name) if name in EXPERIMENTS else "train"


def row_of(name: str, client: "Kaggle", scores: Sequence[Score], submissions: "Sequence[Submission]") -> Row:
    """Ask for one experiment.

    Raises:
        CheckFailed: the site does not answer.
    """
    return Row(
        experiment=name,
        training=kernel_words(name, _on_gpus(name), client),
        weights=dataset_words(bundle_slug(name), client) if name in {**EXPERIMENTS, **ENSEMBLES} else "-",
        inference=kernel_words(name, "infer", client),
        submission=submission_words(name, scores, submissions),
    )


def known_here(name: str, steps: Sequence[Step], scores: Sequence[Score]) -> Row:
    """Say what the journal and the ledger hold, where the site cannot be asked."""
    return Row(
        experiment=name,
        training=_pushed_words(name, _on_gpus(name), steps),
        weights="?",
        inference=_pushed_words(name, "infer", steps),
        submission=submission_words(name, scores, ()),
    )


def kernel_words(name: str, kernel: str, client: "Kaggle") -> str:
    """Say the version and the state of the newest run of a notebook."""
    if not _has(name, kernel):
        return "-"
    slug = slug_named(name, kernel)
    remote = client.pull_kernel(client.username, slug)
    if remote is None:
        return "-"
    state = client.kernel_state(client.username, slug, remote.version)
    if state.state == ABSENT:  # not under its label
        state = client.kernel_state(client.username, slug)
    return f"v{remote.version or '?'} {state.state}"


def dataset_words(slug: str, client: "Kaggle") -> str:
    """Say the version and the state of a dataset."""
    state = client.dataset_state(client.username, slug)
    if state is None:
        return "-"
    return f"v{client.dataset_version(client.username, slug) or '?'} {state.upper()}"


def submission_words(name: str, scores: Sequence[Score], submissions: "Sequence[Submission]") -> str:
    """Say the experiment's newest submission: the ledger says which it is, the site how it stands."""
    own = [score for score in scores if score.experiment == name]
    if not own:
        return "-"
    last = max(own, key=lambda score: score.time)
    seen = next((one for one in submissions if one.ref == last.submission_ref), None)
    state = seen.status.lower() if seen else last.status
    public = seen.public if seen and seen.public is not None else last.public
    score = f", public {public:.4f}" if public is not None else ""
    return f"ref {last.submission_ref or '?'} {state}{score}"


def _has(name: str, kernel: str) -> bool:
    """Whether there is such a notebook: an adopted kernel has one."""
    return name in {**EXPERIMENTS, **ENSEMBLES} or slug_named(name, kernel) == name


def _pushed_words(name: str, kernel: str, steps: Sequence[Step]) -> str:
    if not _has(name, kernel):
        return "-"
    slug = slug_named(name, kernel)
    for step in steps:
        if step.step == "kernel" and step.subject.endswith(f"/{slug}") and "version" in step.result:
            return f"v{step.result['version']} pushed {step.begun[:10]}"
    return "?"
