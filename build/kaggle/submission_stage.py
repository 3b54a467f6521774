"""Stage `submission`: what one submission of the demo's inference costs, in minutes, GPU hours and submissions.

It is `make push-inference EXPERIMENT=demo`, with two looks at what is left around it; so it is resumed as that is, and
nothing is submitted twice.
"""

from datetime import datetime
from typing import Any

from build.kaggle.asking import Asking
from build.kaggle.client import Kaggle, open_client
from build.kaggle.flow import PushOptions, push_inference
from build.kaggle.journal import Journal
from build.kaggle.weights import find_bundles
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.kernel_cards import kernel_card

BEFORE = "preflight before"  # step of the journal
EXPERIMENT = "demo"


def ask_submission(asking: Asking) -> dict[str, Any]:
    """Submit the demo's inference, and keep what that took.

    Raises:
        CheckFailed: a step of the push failed; the same stage goes on from there.
        UsageError: the demo has not been made here yet.
    """
    find_bundles(kernel_card(EXPERIMENT, "infer"))  # before anything is asked
    client, journal = open_client(), asking.journal
    inputs = {"experiment": EXPERIMENT, "round": asking.store.rounds.get(asking.stage.name, 0)}
    if journal.done(BEFORE, inputs) is None:
        journal.record(BEFORE, inputs, **_left(client))
    options = PushOptions(experiment=EXPERIMENT, again=asking.again, overwrite=asking.overwrite, quiet=asking.quiet)
    result = push_inference(options, journal)
    before = journal.done(BEFORE, inputs) or {}
    value = {
        "status": result["status"],
        "public": result["public"],
        "minutes_to_score": _minutes(journal),
        "before": before,
        "after": _left(client),
    }
    asking.keep("submission_cost", value, "CreateCodeSubmission, ListSubmissions, GetSubmissionLimits")
    return {name: result[name] for name in ("kernel", "version", "url", "submission")}


def _left(client: Kaggle) -> dict[str, Any]:
    """Return what is left of the day's submissions, and what was used of the week's GPU hours."""
    limits = client.submission_limits(facts().slug)
    return {"submissions_left": limits.left_now if limits else None, "gpu_used_h": client.quota().gpu_used_h}


def _minutes(journal: Journal) -> float | None:
    """Return how long it took from the newest submission to its score, as this machine saw it."""
    made, scored = (next(iter(journal.entries(step)), None) for step in ("submission", "score"))
    if made is None or scored is None or scored.ended is None:
        return None
    return round((datetime.fromisoformat(scored.ended) - datetime.fromisoformat(made.begun)).total_seconds() / 60, 1)
