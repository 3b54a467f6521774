"""`make pull-kernel`: the kernel as it stands on the site, three-way into the sources, once somebody has seen the diff.

Whoever may edit the kernel on the site writes what the next build executes here. So the diff is shown first. On a
terminal the question follows; elsewhere nothing is written, and the command is named that syncs exactly the bytes
that were shown.
"""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.notebooks.adopted_card import AdoptedCard
from build.notebooks.builder import slug_named
from build.notebooks.writing import SYNC, recover
from build.sync.adopted_sync import adopted_card, look_into, sync_adopted
from build.sync.notebook_sync import ROOT, look, show, sync_found
from kernel_src.runtime.files import write_atomically

PULLED = SYNC / "pulled"


def fetch_pulled(experiment: str, kernel: str, root: Path = ROOT) -> Path:
    """Fetch a kernel's text from the site and keep it; return the file.

    Raises:
        CheckFailed: there is no such kernel on the site.
    """
    from build.kaggle.client import open_client

    client = open_client()
    slug = slug_named(experiment, kernel)
    remote = client.pull_kernel(client.username, slug)
    if remote is None:
        what = f"there is no kernel {client.username}/{slug} on the site"
        raise CheckFailed([Problem(what=what, cure="push it first")])
    return save_pulled(slug, remote.source, root)


def sync_pulled(
    pulled: Path,
    as_json: bool,
    *,
    parameters: bool = False,
    conflicts: str = "file",
    yes: bool = False,
    root: Path = ROOT,
    agreed: Callable[[], bool] | None = None,
) -> None:
    """Show what a pulled kernel would change and sync it if that is agreed to; `agreed` asks, by default a person.

    Raises:
        CheckFailed: nobody agreed, or see `sync`.
    """
    recover(root)
    if (card := adopted_card(pulled, root)) is not None:
        _sync_files(pulled, card, as_json, conflicts=conflicts, yes=yes, root=root, agreed=agreed)
        return
    content, result = look(pulled, root, parameters=parameters)
    writes = not result.problems and (conflicts == "source" if result.conflicts else bool(result.texts))
    if writes and not as_json:
        show(result, root)
    where = result.base.adopted if result.base and result.base.adopted else "kernel_src/"
    if writes and not yes and not (agreed or (lambda: _ask(as_json, where)))():
        words = ["sync", pulled.relative_to(root).as_posix(), *(["--parameters"] if parameters else [])]
        words += ["--conflicts", "source"] if conflicts == "source" else []
        shown = f"`python -m build sync --dry-run {shlex.quote(words[1])}`" if as_json else "the diff above"
        what = f"nothing was written to {where}: what comes from the site is code, and nobody agreed to {shown}"
        cure = f"`python -m build {shlex.join(words)}` writes what was shown; --yes does so at once"
        raise CheckFailed([Problem(what=what, where=", ".join(sorted(result.texts | result.conflicts)), cure=cure)])
    sync_found(pulled, content, result, as_json, conflicts=conflicts, root=root)


def _sync_files(
    pulled: Path,
    card: AdoptedCard,
    as_json: bool,
    *,
    conflicts: str,
    yes: bool,
    root: Path,
    agreed: Callable[[], bool] | None,
) -> None:
    """Do the same with the files that an adopted kernel's notebook holds."""
    result = look_into(pulled, card, root)
    writes = not result.problems and (conflicts == "source" if result.conflicts else bool(result.texts))
    if writes and not as_json:
        sync_adopted(pulled, card, dry_run=True, conflicts="source", root=root)
    if writes and not yes and not (agreed or (lambda: _ask(as_json, card.folder)))():
        what = f"nothing was written to {card.folder}: what comes from the site is code, and nobody agreed to "
        what += "the diff above"
        cure = (
            f"`python -m build sync {shlex.quote(pulled.relative_to(root).as_posix())}` writes it; --yes does at once"
        )
        raise CheckFailed([Problem(what=what, where=", ".join(sorted(result.texts | result.conflicts)), cure=cure)])
    sync_adopted(pulled, card, as_json, conflicts=conflicts, root=root)


def save_pulled(slug: str, source: str, root: Path = ROOT) -> Path:
    """Keep a pulled kernel's text under its slug, from which the sync knows the experiment."""
    path = root / PULLED / f"{slug}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda draft: draft.write_bytes(source.encode(errors="surrogatepass")))
    return path


def _ask(as_json: bool, where: object = "kernel_src/") -> bool:
    """Ask on a terminal; anywhere else nobody agrees."""
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        return input(f"Write this to {where}? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        return False
