"""Pushing a notebook: once, with nothing of a person's destroyed, and read back.

A push is one step of the journal: sent, read back and found to be what was sent. Where it was begun and its end is not
known, the site is asked first (effects.py): a newer version that is what was to be sent is ours.
"""

from dataclasses import dataclass, replace
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.core.progress import ShowState
from build.kaggle import drift
from build.kaggle.client import Kaggle
from build.kaggle.effects import look_until, settles_at
from build.kaggle.explain import SessionLimitReached
from build.kaggle.journal import Journal
from build.kaggle.responses import RemoteKernel
from build.kaggle.retry import pause
from build.kaggle.staging import Staged, differences
from build.notebooks.builder import pull_command

SUPERSEDED, EMPTY_INPUT = "superseded", "empty input"  # in the journal: how a run ended, beside Kaggle's own words
LOOKS = 5  # at something that Kaggle may show with a delay


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a kernel on the site."""

    kernel: str  # owner/slug
    number: int
    url: str

    @property
    def inputs(self) -> dict[str, Any]:
        """The journal's key of what is done with this version."""
        return {"kernel": self.kernel, "version": self.number}


def current_attempt(staged: Staged, journal: Journal, *, again: bool) -> Staged:
    """Return the attempt at this push that is to be gone on with: the newest that nobody has given up."""
    pushed_again = False  # because nothing was mounted: once, whatever comes of it
    while done := journal.done("kernel", staged.inputs):
        following = replace(staged, attempt=staged.attempt + 1)
        run = journal.newest("run", {"kernel": staged.kernel, "version": done["version"]})
        ended = run.result.get("ended", "") if run and run.state == "failed" else ""
        empty = ended == EMPTY_INPUT and not pushed_again
        given_up = ended == SUPERSEDED or empty or (again and bool(ended))
        if not given_up and not journal.newest("kernel", following.inputs):
            break
        pushed_again = pushed_again or ended == EMPTY_INPUT
        staged = following
    return staged


def pushed_before(staged: Staged, journal: Journal) -> Version | None:
    """Return the version that this very push has made, None if it has not."""
    done = journal.done("kernel", staged.inputs)
    return Version(kernel=staged.kernel, number=done["version"], url=done["url"]) if done else None


def look_for_drift(staged: Staged, remote: RemoteKernel | None, journal: Journal, *, overwrite: bool) -> str:
    """Compare the kernel on the site with what was pushed last; return a status line.

    Raises:
        CheckFailed: it was edited there, and `overwrite` is not given; carries the diff.
    """
    if remote is None:
        return "not on the site yet"
    found = drift.find_drift(remote.source, staged.source, staged.slug, drift.pushes_of(journal, staged.kernel))
    if found is None:
        return f"version {remote.version} on the site is as it was pushed"
    if overwrite:
        saved = drift.save_remote(staged.slug, remote.version, remote.source, remote.metadata)
        return f"version {remote.version} differs and is overwritten; the site's copy: {saved}"
    what = f"edited on the site (version {remote.version}) since it was pushed; pushing would destroy the edit"
    if not found.known:
        what = f"the site's version {remote.version} was not pushed from here; pushing would destroy it"
    cure = (
        f"carry the edit over to kernel_src/ (`{pull_command(staged.slug)}` fetches it), or give --overwrite "
        f"(make: OVERWRITE=1), which first saves the site's copy under {drift.OVERWRITTEN}/"
    )
    raise CheckFailed([Problem(what=f"{what}\n{drift.coloured(found.diff)}\n", where=staged.kernel, cure=cure)])


def push(
    staged: Staged, remote: RemoteKernel | None, client: Kaggle, journal: Journal, show_state: ShowState
) -> Version:
    """Push a staged notebook unless it is there, and compare what the site then has with what was sent.

    `remote` is what the site has now. While Kaggle runs no more sessions of this account, this waits.

    Raises:
        CheckFailed: Kaggle refuses it, the week's quota is spent, or what it took is not what was sent.
    """
    if found := _sent_before(staged, client, journal, show_state):
        journal.record("kernel", staged.inputs, version=found.number, url=found.url, recovered=True)
        return found
    drift.remember_pushed(staged.slug, staged.source)
    with journal.attempt("kernel", staged.inputs, version_before=_number(remote)) as result:
        while True:
            try:
                pushed = client.push_kernel(staged.folder, result.sending)
                break
            except SessionLimitReached:
                result.refused()
                show_state("waiting: this account already runs as many GPU sessions as Kaggle allows")
                pause()
        result.taken(version=pushed.version, url=pushed.url)
        show_state(f"version {pushed.version} is read back")
        _read_back(staged, client, pushed.version)
    return Version(kernel=staged.kernel, number=pushed.version, url=pushed.url)


def _number(remote: RemoteKernel | None) -> int:
    return (remote.version or 0) if remote else 0


def _sent_before(staged: Staged, client: Kaggle, journal: Journal, show_state: ShowState) -> Version | None:
    """Find the version that an earlier run has made of this very notebook; None: it never arrived, or not as sent.

    Where its request may still be on its way, this looks until it must have shown (effects.py, 7).

    Raises:
        CheckFailed: Kaggle said that it has taken it, and does not show it.
    """
    earlier = journal.unanswered("kernel", staged.inputs)
    if earlier is None:
        return None
    answered = earlier.result.get("version", 0)  # by Kaggle itself

    def look() -> RemoteKernel | None:
        for remote in client.newer_versions(staged.owner, staged.slug, earlier.result["version_before"]):
            if not differences(staged, remote) or _number(remote) == answered:
                return remote
        show_state("an earlier run may have sent it: looking for it")
        return None

    remote = look_until(look, settles_at(earlier))
    if remote is None:
        if answered:
            raise CheckFailed([_not_there(staged)])
        return None
    if differences(staged, remote):  # taken, but not whole: a person has seen why by now, and asks for another
        return None
    url = earlier.result.get("url") or f"https://www.kaggle.com/code/{staged.kernel}"
    return Version(kernel=staged.kernel, number=_number(remote), url=url)


def _not_there(staged: Staged) -> Problem:
    what = "Kaggle accepted it, but does not show it to this account (403, 404, or an older version)"
    cure = f"look at https://www.kaggle.com/code/{staged.kernel}, then run the same command again"
    return Problem(what=what, where=staged.kernel, cure=cure)


def _read_back(staged: Staged, client: Kaggle, version: int) -> None:
    """Compare the site's copy with what was sent; it may show an older one for a moment."""
    for look in range(LOOKS):
        remote = client.pull_kernel(staged.owner, staged.slug, version)
        remote = remote or client.pull_kernel(staged.owner, staged.slug)  # Kaggle may show it without its label only
        there = _number(remote) >= version
        problems = differences(staged, remote) if remote and there else [_not_there(staged)]
        if not problems:
            return
        if there or look == LOOKS - 1:
            raise CheckFailed(problems)
        pause()
