"""A notebook as it is sent: copied to `out/push/staging/`, the owner filled in, measured; and held against the site's.

Committed metadata keeps `OWNER/…`, so that every member of a team can push under an account of their own.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.secret_scan import WITHDRAW, holds_secret
from build.kaggle.responses import RemoteKernel
from build.kaggle.sources import cells_sha256
from build.notebooks.check.command import size_problems
from build.notebooks.edited_cells import built_from
from build.notebooks.metadata import KERNEL_METADATA, OWNER
from build.notebooks.seal import dump_metadata

STAGING = Path("out", "push", "staging")
# What is read back and compared; of a list the order does not matter.
_LISTS = ("dataset_sources", "competition_sources", "kernel_sources", "model_sources")
_FLAGS = ("is_private", "enable_internet", "enable_gpu")


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A notebook as it is sent."""

    owner: str
    slug: str
    folder: Path
    source: str
    metadata: dict[str, Any]  # the owner filled in
    source_sha256: str  # of the sources it was stitched from
    manifests: dict[str, str]  # attached dataset's slug → sha256 of its manifest.json: new weights want a new run
    parameters: dict[str, str] = field(default_factory=dict)  # given for this push (pushed_values.py), as literals
    attempt: int = 0  # raised when a version is given up: its run failed and was asked for once more

    @property
    def kernel(self) -> str:
        """The name on Kaggle, owner/slug."""
        return f"{self.owner}/{self.slug}"

    @property
    def notebook(self) -> Path:
        """The staged file."""
        return self.folder / f"{self.slug}.ipynb"

    @property
    def inputs(self) -> dict[str, Any]:
        """What makes this push another one than the last."""
        return {
            "kernel": self.kernel,
            "source_sha256": self.source_sha256,
            "cells_sha256": cells_sha256(self.source),
            "metadata": self.metadata,
            "manifests": self.manifests,
            "attempt": self.attempt,
            **({"parameters": self.parameters} if self.parameters else {}),
        }


def stage(
    notebook: Path,
    owner: str,
    manifests: Mapping[str, str],
    parameters: Mapping[str, str] | None = None,
    *,
    more: Sequence[str] = (),
) -> Staged:
    """Copy a built notebook and its description to where it is pushed from, the owner filled in.

    `parameters` are those that it was built with for this push, `more` the slugs of datasets of this account that are
    attached beside those of its description.

    Raises:
        UsageError: it is not built.
        CheckFailed: it is larger than Kaggle takes, or holds a credential of this machine.
    """
    if not notebook.is_file():
        raise UsageError(f"{notebook} does not exist: run `make build`")
    if problems := size_problems(notebook, notebook.parent):
        raise CheckFailed(problems)
    text = notebook.with_name(KERNEL_METADATA).read_text(encoding="utf-8")
    metadata = json.loads(text.replace(f'"{OWNER}/', f'"{owner}/'))
    if more:
        metadata["dataset_sources"] += [f"{owner}/{slug}" for slug in more]
    source = notebook.read_text(encoding="utf-8")
    for path, content in ((notebook, source), (notebook.with_name(KERNEL_METADATA), json.dumps(metadata))):
        if holds_secret(content):
            what = "holds a credential of this machine: it was not sent"
            raise CheckFailed([Problem(what=what, where=str(path), cure=WITHDRAW)])
    folder = STAGING / notebook.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(notebook, folder / notebook.name)
    (folder / KERNEL_METADATA).write_bytes(dump_metadata(metadata))
    return Staged(
        owner=owner,
        slug=notebook.stem,
        folder=folder,
        source=source,
        metadata=metadata,
        source_sha256=built_from(source.encode()),
        manifests=dict(manifests),
        parameters=dict(parameters or {}),
    )


def differences(staged: Staged, remote: RemoteKernel) -> list[Problem]:
    """List where the site's kernel is not what was sent: sources, accelerator, internet, privacy, text."""
    found: list[tuple[str, str]] = []
    metadata = remote.metadata
    for key in _LISTS:
        sent, there = set(staged.metadata.get(key) or ()), set(metadata.get(key) or ())
        if dropped := sorted(sent - there):
            found.append((f"Kaggle has dropped {', '.join(dropped)} from {key}", _cure_of_dropped(key)))
        if added := sorted(there - sent):
            found.append((f"Kaggle has {', '.join(added)} in {key}, which was not sent", "detach it in the browser"))
    for key in _FLAGS:
        if bool(metadata.get(key)) != bool(staged.metadata[key]):
            found.append((f"{key} is {bool(metadata.get(key))} on the site", "look at the kernel's settings there"))
    # Kaggle falls back silently from a shape it does not know; where it names none the kernel's own check has to do.
    shape = metadata.get("machine_shape")
    if shape and shape != staged.metadata.get("machine_shape"):
        cure = "this account or competition may not use that accelerator; change the experiment's machine.shape"
        found.append((f"the accelerator is {shape}, not {staged.metadata.get('machine_shape')}", cure))
    if cells_sha256(remote.source) != cells_sha256(staged.source):
        found.append(("the site's source is not what was sent", "look at the kernel in the browser, then push again"))
    return [Problem(what=what, where=f"{staged.kernel} version {remote.version}", cure=cure) for what, cure in found]


def _cure_of_dropped(key: str) -> str:
    if key == "competition_sources":
        return "join the competition and accept its rules, then run the same command again"
    return "check that it exists and that this account may read it, then run the same command again"
