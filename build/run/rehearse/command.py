"""The verb `rehearse`: find the notebook, run it, print what came of it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from build.core.errors import UsageError
from build.notebooks.builder import build_missing
from build.notebooks.notebook_file import NotANotebook, read_bytes, read_notebook
from build.run.mock import Layout
from build.run.rehearse.plan import parse_models
from build.run.rehearse.rehearsal import rehearse
from build.run.rehearse.sandbox import Device
from kernel_src.competition.constants import LIMIT_S, MEMORY_GB


def run(
    *,
    experiment: str,
    kernel: str,
    data: Path,
    weights: Sequence[Path] = (),
    models: Sequence[str] = (),
    hidden: Path | None = None,
    layout: Layout = "new",
    rerun: bool = False,
    limit_s: float = LIMIT_S,
    memory_gb: float = MEMORY_GB,
    out: Path,
    device: Device = "real",
    isolation: str = "auto",
    as_json: bool = False,
    notebooks: Path = Path("notebooks"),
) -> None:
    """Rehearse the built notebook of one kernel and print the result: lines for a person, or report.json alone.

    Raises:
        SystemExit: with status 1, the rehearsal found problems; everything about them has been printed.
        CheckFailed: it could not start, because metadata and folders do not fit each other.
        UsageError: invalid command.
    """
    from build.notebooks.metadata import kernel_slug

    for name, value, allowed in (("layout", layout, ("new", "legacy")), ("device", device, ("real", "p100"))):
        if value not in allowed:
            raise UsageError(f"--{name} {value}: it is {' or '.join(allowed)}")
    if limit_s <= 0 or memory_gb <= 0:
        raise UsageError("--limit-s and --memory-gb must be above 0")
    progress = sys.stderr if as_json else sys.stdout
    report = rehearse(
        notebook_of(kernel_slug(experiment, kernel), notebooks),
        data=data,
        weights=weights,
        models=parse_models(models),
        hidden=hidden,
        layout=layout,
        rerun=rerun,
        limit_s=limit_s,
        memory_gb=memory_gb,
        out=out,
        device=device,
        isolation=isolation,
        say=lambda line: print(line, file=progress, flush=True),
    )
    if as_json:
        print(json.dumps(report.as_json(), indent=2, allow_nan=False))
    else:
        print("\n".join(report.as_lines()))
    if not report.ok:
        raise SystemExit(1)


def notebook_of(slug: str, notebooks: Path) -> Path:
    """Find the built notebook of a kernel; one of ours that is not there is built.

    Raises:
        UsageError: it is not there (the message names those that are), or is no notebook any more.
    """
    notebook = build_missing(slug, notebooks.parent)
    if not notebook.is_file():
        there = sorted(path.stem for path in notebooks.glob("*/*.ipynb"))
        raise UsageError(f"{notebook} does not exist: run `make build` (built: {', '.join(there) or 'none'})")
    try:
        read_notebook(read_bytes(notebook))
    except NotANotebook as error:
        raise UsageError(f"{notebook} {error}") from None
    return notebook
