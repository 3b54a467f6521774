"""The verb `blend`: best single, mean, nested blend; and the ensemble that the intervals carry."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.notebooks.adoption import check_name, formatted, read_entries
from build.notebooks.builder import ROOT
from build.scores.blends import MEAN, NESTED, RUNGS, SINGLE, BlendResult, blend_files
from build.scores.comparison import decision_line
from build.scores.oof_files import read_with_truth, validation_of
from build.scores.warnings import find_warnings
from kernel_src.recipes.ensembles import ENSEMBLES
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.runtime.files import write_text

BLENDED_FILE = Path("kernel_src/recipes/blended_ensembles.py")
HEADING = '''"""## Blended ensembles

Ensembles that out-of-fold predictions spoke for: written by `python -m build blend … --write NAME`.
"""

from typing import Any

'''


def run(
    given: Sequence[str], train_csv: Path | None, constraint: str, write: str, as_json: bool, root: Path = ROOT
) -> None:
    """Blend files and say what is gained; write the ensemble if it is carried.

    Raises:
        UsageError: fewer than two files, or the name or the members cannot be an ensemble's.
        CheckFailed: a file cannot be read, or nothing is carried and an ensemble was to be written.
    """
    if len(given) < 2:
        raise UsageError("a blend needs at least two files")
    files, truth = read_with_truth(given, train_csv)
    if write:
        check_ensemble(write, [file.name for file in files], root)
    validation = validation_of(files, truth)
    warnings = find_warnings(files, truth, validation)
    result = blend_files(validation, constraint)
    if as_json:
        print(json.dumps(blend_json(result, warnings), indent=2, allow_nan=False))
    else:
        _show(result, warnings)
    if not write:
        return
    if result.recommended == SINGLE:
        what = f"{write} is not written: no blend is better than {result.single} by more than its interval"
        raise CheckFailed([Problem(what=what, cure=f"submit {result.single}, or add a model that errs differently")])
    path = write_ensemble(write, validation.names, result, constraint, root)
    if not as_json:
        print(f"written: {write} in {path}; `python -m build notebooks` makes its notebook")


def blend_json(result: BlendResult, warnings: Sequence[str]) -> dict[str, Any]:
    """Return what `--json` prints: as `compare`, and the choice."""
    return {
        **result.comparison.as_json(),
        "warnings": list(warnings),
        "single": result.single,
        "choices": dict(result.choices),
        "naive_r2": result.naive_r2,
        "recommended": result.recommended,
    }


def _show(result: BlendResult, warnings: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column("R² [95 %]", justify="right", no_wrap=True)
    for name, model in zip(RUNGS, result.comparison.models, strict=True):
        shown = f"{name}: {result.single}" if name == SINGLE else name
        table.add_row(shown, f"{model.estimate:.4f} [{model.low:.4f}, {model.high:.4f}]")
    console.print(table)
    folds = ", ".join(f"{name} in {count}" for name, count in result.choices.most_common())
    lines = [
        f"the outer folds chose: {folds}; on all rows: {result.final}",
        f"fitted and scored on the same rows it would seem {result.naive_r2:.4f}: not to be believed",
        *(f"warning: {warning}" for warning in warnings),
        *(decision_line(a, b, result.gain(a, b)) for a, b in ((SINGLE, MEAN), (SINGLE, NESTED), (MEAN, NESTED))),
        f"recommended: {result.single if result.recommended == SINGLE else result.recommended}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


# %%
def check_ensemble(name: str, members: Sequence[str], root: Path) -> None:
    """Make sure that an ensemble of this name and these members can be.

    Raises:
        UsageError: the name is taken by a recipe written by hand, or a member is no experiment.
    """
    check_name(name, "--write")
    written = read_entries(root / BLENDED_FILE, "BLENDED")
    if name in EXPERIMENTS or (name in ENSEMBLES and name not in written):
        raise UsageError(f"--write {name}: there is such an experiment, written by hand; choose another name")
    if strangers := [member for member in members if member not in EXPERIMENTS]:
        raise UsageError(
            f"--write: {', '.join(strangers)} is no experiment, and an ensemble mounts bundles of experiments: "
            "say which each file is of, e.g. v5=out/v5.csv"
        )


def write_ensemble(name: str, members: Sequence[str], result: BlendResult, constraint: str, root: Path = ROOT) -> Path:
    """Write the recommended blend as the ensemble `name`; return the file."""
    path = root / BLENDED_FILE
    blended = read_entries(path, "BLENDED")
    blended[name] = entry(members, result, constraint)
    write_text(path, blended_source(blended))
    return path


def entry(members: Sequence[str], result: BlendResult, constraint: str) -> dict[str, Any]:
    """Describe the recommended blend; members whose weight is zero for every target are left out."""
    gain = result.gain(SINGLE, result.recommended)
    found_by = (
        f"{result.recommended} of {', '.join(members)}: {gain.estimate:+z.4f} [{gain.low:.4f}, {gain.high:.4f}] over "
        f"{result.single} on {gain.groups} groups"
    )
    stack: dict[str, Any] = {}
    kept = list(range(len(members)))
    shares = [1 / len(members)] * len(members)
    if result.recommended == NESTED and result.final != MEAN:
        kept = [i for i in kept if result.stack.weights[:, i].any()]
        if result.final in ("best single", "shares"):
            shares = result.stack.weights[0].tolist()
        else:
            shares = [1 / len(kept)] * len(members)
            stack = {
                "weights": result.stack.weights[:, kept].round(6).tolist(),
                "intercept_g": result.stack.intercept_g.round(6).tolist(),
            }
    return {
        "shares": {members[i]: shares[i] for i in kept},
        "stack": stack,
        "constraint": constraint,
        "found_by": found_by,
    }


def blended_source(blended: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the file, in the formatter's style."""
    head = "BLENDED: dict[str, dict[str, Any]] = "
    return f"{HEADING}{head}{formatted(dict(sorted(blended.items())), used=len(head))}\n"
