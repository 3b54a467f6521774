"""One submission per kernel version, whatever happens on the way.

Its description opens with an id of ours, made from the kernel's version and the number of the attempt. So the site's
own list shows whether a submission was made: when a response was lost, when the journal is gone, on another machine.
"""

import hashlib
from functools import partial
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.core.progress import ShowState
from build.kaggle.client import Kaggle
from build.kaggle.competition_requests import find_submission
from build.kaggle.effects import look_until, settles_at
from build.kaggle.journal import Journal
from build.kaggle.kernels import Version
from build.kaggle.responses import Submission
from build.kaggle.retry import pause
from kernel_src.competitions.biomass.constants import SUBMISSION_FILE

LOOKS = 3  # at the list, which may show a submission with a delay
COMPLETE, ERROR = "COMPLETE", "ERROR"


def submission_id(version: Version, attempt: int) -> str:
    """Return the id in the description, e.g. `i2b-1f0c9a3e`; the first attempt is 1."""
    return "i2b-" + hashlib.sha256(f"{version.kernel}/{version.number}/{attempt}".encode()).hexdigest()[:8]


def submit_once(
    competition: str,
    version: Version,
    message: str,
    client: Kaggle,
    journal: Journal,
    show_state: ShowState,
    *,
    again: bool,
) -> Submission:
    """Submit a kernel version unless that was done; return the submission as the site lists it.

    `again` makes one more although there is one; an attempt that was begun and not ended is gone on with instead.

    Raises:
        CheckFailed: Kaggle refuses it, or does not list it afterwards.
    """
    attempt = max(1, _attempts(competition, version, journal))
    earlier = journal.unanswered("submission", _inputs(competition, version, attempt))
    if again and earlier is None and journal.done("submission", _inputs(competition, version, attempt)):
        attempt += 1

    def look(number: int) -> Submission | None:
        found = find_submission(client.submissions(competition), submission_id(version, number))
        if found is None:
            show_state("not in the list of submissions")
        return found

    # Where an earlier run's request may still be on its way, this looks until it must have shown (effects.py, 7).
    until = settles_at(earlier)
    while found := look_until(partial(look, attempt), until):
        inputs = _inputs(competition, version, attempt)
        if not journal.done("submission", inputs):
            journal.record("submission", inputs, ref=found.ref, id=submission_id(version, attempt), recovered=True)
        if earlier or not again:
            return found
        attempt, until = attempt + 1, 0.0
    if earlier and earlier.result.get("taken"):  # never once more by itself
        if not again:
            raise CheckFailed([_not_listed(competition, earlier.result.get("ref"), submission_id(version, attempt))])
        attempt += 1
    ours = submission_id(version, attempt)
    with journal.attempt("submission", _inputs(competition, version, attempt), id=ours) as result:
        owner, _, slug = version.kernel.partition("/")
        ref = client.submit(
            competition,
            owner,
            slug,
            version.number,
            SUBMISSION_FILE,
            receipt=ours,
            message=message,
            sending=result.sending,
        )
        result.taken(ref=ref)
        show_state("looking for it in the list of submissions")
        made = look_until(partial(look, attempt), looks=LOOKS)
        if made is None:
            raise CheckFailed([_not_listed(competition, ref, ours)])
        result["ref"] = made.ref
    return made


def _not_listed(competition: str, ref: int | None, ours: str) -> Problem:
    what = f"Kaggle accepted the submission{f' {ref}' if ref else ''} but does not list {ours}"
    cure = "look there; the same command looks again and does not submit once more, --again (make: AGAIN=1) does"
    return Problem(what=what, where=list_url(competition), cure=cure)


def wait_for_score(
    competition: str, made: Submission, client: Kaggle, journal: Journal, show_state: ShowState
) -> Submission:
    """Wait until the submission is scored and return it; one that ended in an error is returned too."""
    inputs = {"competition": competition, "ref": made.ref}
    with journal.attempt("score", inputs) as result:
        while made.status not in (COMPLETE, ERROR):
            show_state(f"{made.status}: Kaggle reruns the notebook on the hidden test")
            pause()
            made = next((one for one in client.submissions(competition) if one.ref == made.ref), made)
        result |= {"status": made.status, "public": made.public, "private": made.private, "error": made.error}
    return made


def list_url(competition: str) -> str:
    """Return the page with one's submissions."""
    return f"https://www.kaggle.com/competitions/{competition}/submissions"


def newest_submission(competition: str, version: Version, journal: Journal) -> dict[str, Any] | None:
    """Return what the journal has of the newest finished submission of this version: ref and id."""
    attempts = _attempts(competition, version, journal)
    return journal.done("submission", _inputs(competition, version, attempts)) if attempts else None


def _attempts(competition: str, version: Version, journal: Journal) -> int:
    """Return the number of the newest attempt that the journal knows, 0 if it knows none."""
    attempt = 0
    while journal.newest("submission", _inputs(competition, version, attempt + 1)):
        attempt += 1
    return attempt


def _inputs(competition: str, version: Version, attempt: int) -> dict[str, Any]:
    return {"competition": competition, **version.inputs, "attempt": attempt}
