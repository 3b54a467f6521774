"""`make pull-kernel`: the kernel as it stands on the site, three-way into the sources."""

from pathlib import Path

from build.metadata import kernel_slug
from build.problems import CheckFailed, Problem
from build.sync.command import ROOT, run_sync
from build.sync.writing import SYNC
from kernel_src.common.files import write_text

PULLED = SYNC / "pulled"


def run_pull(
    experiment: str, kernel: str, as_json: bool, *, parameters: bool = False, conflicts: str = "file", root: Path = ROOT
) -> None:
    """Pull a kernel and sync it; the pulled text is kept.

    Raises:
        CheckFailed: there is no such kernel on the site, or see `sync`.
    """
    from build.push.client import open_client

    client = open_client()
    slug = kernel_slug(experiment, kernel)
    remote = client.pull_kernel(client.username, slug)
    if remote is None:
        what = f"there is no kernel {client.username}/{slug} on the site"
        raise CheckFailed([Problem(what=what, cure="push it first")])
    run_sync(save_pulled(slug, remote.source, root), as_json, parameters=parameters, conflicts=conflicts, root=root)


def save_pulled(slug: str, source: str, root: Path = ROOT) -> Path:
    """Keep a pulled kernel's text under its slug, from which the sync knows the experiment."""
    path = root / PULLED / f"{slug}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, source)
    return path
