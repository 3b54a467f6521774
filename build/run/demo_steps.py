"""One rehearsal of a demo, which stops it where it fails."""

from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.run.rehearse import Report

LIMIT_S = {"train": 900.0, "infer": 300.0}
MEMORY_LIMIT_GB = 4.0


def rehearse_demo(experiment: str, kernel: str, demo: Path, out: Path, weights: Path, quiet: bool) -> Report:
    """Rehearse one of a demo's notebooks.

    Raises:
        CheckFailed: it failed; carries what its report says.
    """
    from build.core.progress import waiting
    from build.notebooks.builder import NOTEBOOKS, ROOT
    from build.notebooks.metadata import kernel_slug
    from build.run.rehearse import rehearse

    slug = kernel_slug(experiment, kernel)
    with waiting(f"rehearsing {slug}", quiet) as say:
        report = rehearse(
            ROOT / NOTEBOOKS / slug / f"{slug}.ipynb",
            data=demo / "competition",
            weights=[weights],
            hidden=demo / "hidden" if kernel == "infer" else None,
            rerun=kernel == "infer",
            limit_s=LIMIT_S[kernel],
            memory_gb=MEMORY_LIMIT_GB,
            out=out,
            say=say,
        )
    if not report.ok:
        raise CheckFailed([Problem(what=str(problem), where=f"{slug}, see {out}") for problem in report.problems])
    return report
