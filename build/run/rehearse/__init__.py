"""Run a built notebook as Kaggle would: papermill, network cut, input read-only, limits from outside, then validate.

`rehearse` does it and returns a `Report`; `command.run` is the verb. The parts: `plan` (what the metadata mounts),
`view`, `sandbox` and `launcher` (isolation), `runner` (papermill, inside), `guard/` (watches from inside the kernel),
`watch` (limits, from outside), `executed_cells` and `failure` (back to kernel_src), `findings`, `verdict`, `cures` and
`report` (what came of it).
"""

from build.run.rehearse.rehearsal import rehearse
from build.run.rehearse.report import Report

__all__ = ["Report", "rehearse"]
