"""`make logs`: what a notebook printed on Kaggle, of a run of before or of one that goes on; nothing is changed by it.

A run that goes on is followed until it ends. Ctrl-C ends the looking only: the same command shows it again.
"""

from typing import Any

from build.core.errors import CheckFailed, Problem
from build.core.foreign_text import shown
from build.kaggle.client import Kaggle, open_client
from build.kaggle.drift import PUSHED
from build.kaggle.journal_steps import newest_steps
from build.kaggle.live_view import KeptLines, RunView, watching_run
from build.kaggle.log_events import stored_pieces
from build.kaggle.responses import ABSENT, KernelState
from build.kaggle.run_log import following
from build.kaggle.sources import cells_sha256
from build.notebooks.builder import all_cards, check_notebook, choose_cards, slug_named


def show_log(experiment: str, kernel: str, version: int | None, *, as_json: bool) -> dict[str, Any]:
    """Print the log of a version, of the newest by default, or return its lines.

    Raises:
        CheckFailed: there is no such version, or its log cannot be had.
        UsageError: no such experiment, or it has no such notebook.
    """
    kernel = kernel or newest_kernel(experiment)
    check_notebook(experiment, kernel)
    client, slug = open_client(), slug_named(experiment, kernel)
    ref = f"{client.username}/{slug}"
    remote = client.pull_kernel(client.username, slug, version)
    if remote is None or not remote.version:
        what = f"the site shows no version {version} of {ref}" if version else f"there is no kernel {ref} on the site"
        raise CheckFailed([Problem(what=what, cure="make status shows what there is; or push it first")])
    if as_json:
        kept = KeptLines()
        state = _follow(client, slug, remote.version, remote.source, kept)
        lines: dict[str, Any] = {"lines": kept.lines, "remarks": kept.remarks}
    else:
        lines = {}
        with watching_run(f"{ref} version {remote.version}", all_lines=True) as view:
            state = _follow(client, slug, remote.version, remote.source, view)
    return {"kernel": ref, "version": remote.version, "state": state.state, "failure": shown(state.failure)} | lines


def newest_kernel(experiment: str) -> str:
    """Return which notebook of an experiment was pushed last from here; the first that it has, where none was."""
    kernels = [card.kernel for card in choose_cards(experiment, all_cards())]
    by_slug = {slug_named(experiment, kernel): kernel for kernel in kernels}
    pushed = (step.subject.rpartition("/")[2] for step in newest_steps() if step.step == "kernel")
    return next((by_slug[slug] for slug in pushed if slug in by_slug), "infer" if "infer" in kernels else kernels[0])


def _follow(client: Kaggle, slug: str, version: int, source: str, view: RunView) -> KernelState:
    """Show a version's log until its run has ended; return its last state.

    Raises:
        CheckFailed: it never ran, or the site has no log of it.
    """
    owner = client.username
    with following(client, owner, slug, version, lambda: _as_pushed(slug, source), view) as log:
        while True:
            now = client.kernel_state(owner, slug, version)
            if now.state == ABSENT:
                what, cure = f"the site shows no run of version {version} of {owner}/{slug}", "give another VERSION"
                raise CheckFailed([Problem(what=what, cure=cure)])
            view(now.state)
            if now.is_final:
                break
            log.note_state(now.state)
            log.pause()
        if not log.finish(now.state) and not log.is_refused:
            log.show_stored(stored_pieces(client.stored_log(owner, slug, version)))
    return now


def _as_pushed(slug: str, source: str) -> bytes:
    """Return the notebook as it was pushed from here, which says each line's source; else as the site has it."""
    ours = PUSHED / slug / f"{cells_sha256(source)}.ipynb"
    return ours.read_bytes() if ours.is_file() else source.encode()
