"""`make status`: every experiment at a glance (notebooks, weights, last submission), what runs or waits.

The site is asked; what this checkout's journal knows (which version was pushed, what was interrupted) stands beside it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from build.core.errors import CheckFailed, Problem
from build.core.progress import waiting
from build.kaggle.board import GOING_ON, Left, Running, running, session_line, what_is_left
from build.kaggle.journal_steps import Step, newest_steps
from build.kaggle.pushed_values import values_text
from build.kaggle.queue_file import Entry, read_queue
from build.kaggle.responses import ABSENT
from build.notebooks.adopted_card import AdoptedCard
from build.notebooks.builder import all_cards, slug_named
from build.scores.ledger import Score, read_scores
from build.weights.training_time import SESSION_S
from kernel_src.competition.choice import DEFAULT_COMPETITION
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug, facts_of, kernel_on_gpus

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
    runs: list[Running] = field(default_factory=list)  # queued or running
    left: Left = Left()
    queue: list[Entry] = field(default_factory=list)  # of make queue

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "ok": not self.problems,
            "account": self.account,
            "experiments": [asdict(row) for row in self.rows],
            "running": [asdict(run) for run in self.runs],
            "left": asdict(self.left),
            "queue": [asdict(entry) for entry in self.queue],
            "open": [asdict(entry) for entry in self.left_open],
            "problems": [problem.as_json() for problem in self.problems],
        }

    def as_lines(self) -> list[str]:
        """Return the table, then what is left open."""
        heading = {field.name: field.name for field in fields(Row)}
        table = [list(line.values()) for line in (heading, *map(asdict, self.rows))]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        unreachable = "Kaggle could not be reached; this is from the journal and the ledger"
        lines = [f"account {self.account}" if self.account else unreachable]
        for line in table:
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        lines += [run.as_line() for run in self.runs]
        lines += filter(None, [session_line(self.runs)])
        lines += self.left.as_lines()
        lines += [f"queue: {entry.as_line()}" for entry in self.queue]
        for entry in self.left_open:
            when = entry.begun[:16].replace("T", " ")
            what = "has not ended" if entry.state == "begun" else "failed"
            begun = f"open: {entry.step} of {entry.subject}, begun {when} UTC, {what}"
            lines.append(f"{begun} → run the same command again: it resumes")
        return lines


def read_status(competition: str = "", *, quiet: bool) -> Status:
    """Ask the site for one row per experiment, of one competition or of all.

    Where it cannot be asked, the rows say what the journal and the ledger hold.
    """
    steps, scores = newest_steps(), read_scores()
    slug_of = {name: slug for name, slug in pushable().items() if not competition or slug == facts(competition).slug}
    submitted = {slug_of[score.experiment] for score in scores if slug_of.get(score.experiment)}
    left_open = [
        Open(step=step.step, subject=step.subject, state=step.state, begun=step.begun)
        for step in steps
        if step.state != "done"
    ]
    queue = read_queue()
    try:
        from build.kaggle.client import open_client

        client = open_client()
        with waiting("asking Kaggle", quiet=quiet):
            # The site shows the submissions of one competition at a time, and only to those who have joined it.
            asked = sorted(submitted) or [facts(competition or DEFAULT_COMPETITION).slug]
            submissions = [one for slug in asked for one in client.submissions(slug)]
            runs: list[Running] = []
            rows = [row_of(name, client, scores, submissions, steps, runs) for name in slug_of]
            left = what_is_left(client, facts(competition or DEFAULT_COMPETITION).slug)
    except CheckFailed as failed:
        rows = [known_here(name, steps, scores) for name in slug_of]
        return Status(account="", rows=rows, left_open=left_open, problems=failed.problems, queue=queue)
    return Status(
        account=client.username, rows=rows, left_open=left_open, problems=[], runs=runs, left=left, queue=queue
    )


def pushable() -> dict[str, str]:
    """Map every experiment that has an inference notebook, blends too, and every adopted kernel to its competition.

    The competition's slug is empty for an adopted kernel that mounts none.
    """
    cards = [card for card in all_cards() if card.kernel == "infer" or isinstance(card, AdoptedCard)]
    return {card.experiment: "".join(card.competitions) for card in cards}


def _on_gpus(name: str) -> str:
    return kernel_on_gpus(name) if name in EXPERIMENTS else "train"


def row_of(
    name: str,
    client: "Kaggle",
    scores: Sequence[Score],
    submissions: "Sequence[Submission]",
    steps: Sequence[Step],
    runs: list[Running],
) -> Row:
    """Ask for one experiment; what of it has not ended is added to `runs`.

    Raises:
        CheckFailed: the site does not answer.
    """
    return Row(
        experiment=name,
        training=kernel_words(name, _on_gpus(name), client, steps, runs),
        weights=dataset_words(bundle_slug(name), client) if name in {**EXPERIMENTS, **ENSEMBLES} else "-",
        inference=kernel_words(name, "infer", client, steps, runs),
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


def kernel_words(name: str, kernel: str, client: "Kaggle", steps: Sequence[Step], runs: list[Running]) -> str:
    """Say the version and the state of the newest run of a notebook, and the values it was pushed with."""
    if not _has(name, kernel):
        return "-"
    slug = slug_named(name, kernel)
    remote = client.pull_kernel(client.username, slug)
    if remote is None:
        return "-"
    state = client.kernel_state(client.username, slug, remote.version)
    if state.state == ABSENT:  # not under its label
        state = client.kernel_state(client.username, slug)
    if state.state in GOING_ON and remote.version:
        gpu = bool(remote.metadata.get("enable_gpu"))
        limit_s = facts_of(name).limit_s if kernel == "infer" else SESSION_S
        ref = f"{client.username}/{slug}"
        runs.append(running(ref, remote.version, state.state, steps, gpu=gpu, limit_s=limit_s))
    return f"v{remote.version or '?'} {state.state}{_given_words(slug, remote.version, steps)}"


def _given_words(slug: str, version: int | None, steps: Sequence[Step]) -> str:
    """Say the values that were given for the push of a version from here."""
    for step in steps:
        if step.step == "kernel" and step.subject.endswith(f"/{slug}") and step.result.get("version") == version:
            values = step.inputs.get("parameters")
            return f" ({values_text(values)})" if values else ""
    return ""


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
            version = step.result["version"]
            return f"v{version} pushed {step.begun[:10]}{_given_words(slug, version, steps)}"
    return "?"
