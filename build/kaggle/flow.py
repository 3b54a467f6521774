"""`make push-inference`: from sources to a scored submission, each step once.

build → check → account → rehearsal → weights → drift → push → run → outputs → submission → score → ledger. What the
journal has as done is not done again, so the same command goes on wherever the last one ended, by whatever.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.progress import Steps, waiting, watching
from build.kaggle.client import Kaggle
from build.kaggle.journal import Journal
from build.kaggle.kernels import Version, current_attempt, pushed_before
from build.kaggle.live_view import watching_run
from build.kaggle.outputs import verify_submission
from build.kaggle.preparation import account, build_and_check, push_unless_edited
from build.kaggle.pushed_values import Given, values_text
from build.kaggle.receipts import bundle_sha256, find_receipt, manifest_hashes, rehearse_for
from build.kaggle.responses import Submission
from build.kaggle.runs import download, run_with_input
from build.kaggle.staging import Staged, stage
from build.kaggle.submissions import ERROR, list_url, newest_submission, submit_once, wait_for_score
from build.kaggle.weights import Attached, find_attached, find_bundles
from build.notebooks.adopted_card import AdoptedCard
from build.run.rehearse.plan import parse_models
from build.scores.cross_validation import with_cv
from build.scores.ledger import LEDGER, Score, append_score
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.competitions.kernel_cards import KernelCard

STEPS = 12


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """What the user wants done."""

    experiment: str
    message: str = ""  # goes into the submission's description and the ledger's note
    submit: bool = True
    wait: bool = True  # for the score; where nothing is submitted, for the run
    again: bool = False  # once more: a run that failed, a version that was submitted
    overwrite: bool = False  # an edit made on the site
    weights: tuple[Path, ...] = ()  # of an adopted kernel: the folders of its datasets
    models: tuple[str, ...] = ()  # of an adopted kernel: HANDLE=DIR, for its rehearsal
    given: Given = Given()  # values for this push only
    quiet: bool = False

    def command(self, verb: str = "push-inference", *, submit: bool = False, wait: bool = False) -> str:
        """Return the command that goes on with this push and its options, and now also submits or waits.

        AGAIN is left out: what was begun once more is gone on with, and repeated it could submit a third time.
        """
        experiment = self.experiment
        words = [f"make {verb} EXPERIMENT={experiment}"]
        words += [f"MESSAGE={shlex.quote(self.message)}"] if self.message else []
        words += [] if self.submit or submit else ["SUBMIT=0"]
        words += [] if self.wait or wait else ["WAIT=0"]
        words += ["OVERWRITE=1"] if self.overwrite else []
        words += [f"WEIGHTS={shlex.quote(shlex.join(map(str, self.weights)))}"] if self.weights else []
        words += [f"SET={shlex.quote(' '.join(self.given.changes))}"] if self.given.changes else []
        words += [f"PARAMS={shlex.quote(' '.join(self.given.parameters))}"] if self.given.parameters else []
        words += [f"MODELS={shlex.quote(shlex.join(self.models))}"] if self.models else []
        return " ".join(words)


def push_inference(options: PushOptions, journal: Journal) -> dict[str, Any]:
    """Push one experiment's inference until its submission is scored; return what there is of it.

    Raises:
        CheckFailed: a step failed; nothing after it was done.
        UsageError: no such experiment, or something has to be made first.
    """
    steps = Steps(total=STEPS, quiet=options.quiet)
    card, notebook, values = build_and_check(options.experiment, "infer", steps, journal, options.given)
    attached = _attached(card, options)
    bundles = attached.own
    manifests = manifest_hashes(bundles)
    client, owner = account(steps)
    staged = current_attempt(stage(notebook, owner, manifests, values), journal, again=options.again)
    version = pushed_before(staged, journal)
    if version is None:
        _rehearse(options, staged, attached, steps)
        _push_weights(bundles, client, journal, steps)
        version = push_unless_edited(staged, client, journal, steps, overwrite=options.overwrite)
    else:
        steps.skip(4, f"these sources with these weights are version {version.number} already: {version.url}")
    result: dict[str, Any] = {"kernel": staged.kernel, "version": version.number, "url": version.url}
    result |= {"parameters": values} if values else {}
    if not (options.submit or options.wait):
        return result | {"next": f"it is running on Kaggle; `{options.command(wait=True)}` continues with it"}
    if _is_submitted(version, journal) and not options.again:
        steps.skip(2, "its outputs were verified before it was submitted")
    else:
        version, images = _run(options, staged, version, client, journal, steps)
        result |= {"version": version.number, "url": version.url, "images": images}
    if not options.submit:
        return result | {"next": f"not submitted, as requested; `{options.command(submit=True)}` does"}
    return result | _submit(options, staged, version, bundles, client, journal, steps)


def _attached(card: KernelCard, options: PushOptions) -> Attached:
    """Find the folders of the datasets, and refuse what a push of this notebook cannot be given."""
    if isinstance(card, AdoptedCard):
        if not card.competitions:
            raise UsageError(f"{card.slug} mounts no competition, so it has nothing to submit to")
        return find_attached(card, options.weights)
    if options.weights or options.models:
        raise UsageError("--weights and --model are for adopted kernels: an experiment's are found by themselves")
    return Attached(own=find_bundles(card), foreign={}, missing=[])


def _rehearse(options: PushOptions, staged: Staged, attached: Attached, steps: Steps) -> None:
    with steps.step("rehearsal", "has exactly this notebook run with exactly these weights?") as note:
        foreign = {*attached.foreign, *(name.rpartition("/")[2] for name in attached.missing)}
        receipt = find_receipt(staged.slug, staged.source_sha256, staged.manifests, foreign)
        if receipt is None and attached.missing:
            what = f"nothing here to rehearse with for {', '.join(attached.missing)}"
            raise UsageError(f"{what} → download it, and give its folder: --weights FOLDER (make: WEIGHTS=)")
        if receipt is None:
            with waiting(f"not yet: rehearsing {staged.slug}", options.quiet) as say:
                receipt, _ = rehearse_for(
                    options.experiment,
                    staged.notebook,
                    attached.own,
                    say,
                    foreign=[*attached.foreign.values()],
                    models=parse_models(options.models),
                )
        note(f"yes, {receipt}")


def _push_weights(bundles: dict[str, Path], client: Kaggle, journal: Journal, steps: Steps) -> None:
    from build.kaggle.datasets import push_folder

    with steps.step("weights", ", ".join(map(str, bundles.values())) or "none of ours") as note:
        note("; ".join(push_folder(slug, folder, client, journal) for slug, folder in bundles.items()) or "none")


def _run(
    options: PushOptions, staged: Staged, version: Version, client: Kaggle, journal: Journal, steps: Steps
) -> tuple[Version, int]:
    """Wait for the run, fetch what it left, verify it; return its version and the number of images predicted."""
    with (
        steps.step("run", f"waiting for {version.url}") as note,
        watching_run("on Kaggle", options.quiet) as show_state,
    ):
        staged, version, status = run_with_input(staged, version, client, journal, show_state)
        note(status)
    with steps.step("outputs", f"of version {version.number}: fetched and verified") as note:
        folder = download(staged, version, client, journal, verify_submission)
        images = verify_submission(folder)
        note(f"{folder}: a valid submission of {images} images")
    return version, images


def _is_submitted(version: Version, journal: Journal) -> bool:
    return newest_submission(facts().slug, version, journal) is not None


def _submit(
    options: PushOptions,
    staged: Staged,
    version: Version,
    bundles: dict[str, Path],
    client: Kaggle,
    journal: Journal,
    steps: Steps,
) -> dict[str, Any]:
    """Submit, wait for the score, record both."""
    before = newest_submission(facts().slug, version, journal)
    scored = journal.done("score", {"competition": facts().slug, "ref": before["ref"]}) if before else None
    recorded = before and journal.done("ledger", {"ref": before["ref"]}) is not None
    if before and scored and recorded and not options.again:
        steps.skip(3, f"submission {before['ref']} was made and scored before: public {scored['public']}")
        _refuse_failed(scored["status"], scored.get("error", ""), before["ref"])
        return {"submission": before["ref"], **scored, "nothing_left_to_do": True}
    score = _score(options, staged, version, bundles)
    with steps.step("submission", f"version {version.number} to {facts().slug}") as note:
        with watching("submitting", options.quiet) as show_state:
            message = options.message or f"{options.experiment} version {version.number}"
            made = submit_once(facts().slug, version, message, client, journal, show_state, again=options.again)
        note(f"{made.ref} “{made.description}”, {made.status}: {list_url(facts().slug)}")
    append_score(_with_result(score, made))  # at once, as pending: a submission is never forgotten
    with steps.step(
        "score", "Kaggle reruns the notebook on the hidden test" if options.wait else "not waited for"
    ) as note:
        if options.wait:
            with watching("on Kaggle", options.quiet) as show_state:
                made = wait_for_score(facts().slug, made, client, journal, show_state)
            note(f"public {made.public}, private {made.private}" if made.status != ERROR else "an error")
        else:
            note("`make scores` fetches it")
    with steps.step("ledger", str(LEDGER)) as note:
        final = _with_result(score, made)
        append_score(final)
        if options.wait:
            journal.record("ledger", {"ref": made.ref})
        cv = "unknown" if final.cv is None else f"{final.cv:.4f} ({final.cv_folds})"
        note(f"public {made.public}, CV {cv}")
    _refuse_failed(made.status, made.error, made.ref)
    return {"submission": made.ref, "status": made.status, "public": made.public, "private": made.private}


def _score(options: PushOptions, staged: Staged, version: Version, bundles: dict[str, Path]) -> Score:
    score = Score(
        time="",
        experiment=options.experiment,
        source_sha256=staged.source_sha256,
        bundle_sha256=bundle_sha256(staged.manifests),
        kernel_version=version.number,
        note=_note(options.message, staged.parameters),
    )
    # Of a blend no out-of-fold score is known.
    is_ours = options.experiment in {**EXPERIMENTS, **ENSEMBLES}
    return with_cv(score, next(iter(bundles.values()))) if len(bundles) == 1 and is_ours else score


def _note(message: str, values: Mapping[str, str]) -> str:
    """Return the ledger's note: what the user says, and the values given for this push."""
    return " ".join(filter(None, [message, f"[{values_text(values)}]" if values else ""]))


def _with_result(score: Score, made: Submission) -> Score:
    time = (made.date or datetime.now(UTC)).replace(microsecond=0).isoformat()
    return replace(
        score,
        time=time,
        submission_ref=made.ref,
        status=made.status.lower(),
        public=made.public,
        private=made.private,
    )


def _refuse_failed(status: str, error: str, ref: int) -> None:
    """Raise where the submission ended in an error on Kaggle."""
    if status == ERROR:
        what = f"submission {ref} ended in an error on Kaggle: {error or 'it does not say which'}"
        cure = (
            "Kaggle shows no traceback of the hidden rerun: rehearse it, `make rehearse EXPERIMENT=…`; --again submits "
            "once more"
        )
        raise CheckFailed([Problem(what=what, where=list_url(facts().slug), cure=cure)])
