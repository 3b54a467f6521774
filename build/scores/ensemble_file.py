"""The ensemble that the intervals carry: an entry in the competition's own blended_ensembles.py."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from build.core.errors import UsageError
from build.core.pages import interval
from build.notebooks.adoption import check_free, module_source, read_entries
from build.notebooks.builder import ROOT
from build.scores.blends import MEAN, NESTED, SINGLE, BlendResult
from build.scores.words import units_word
from kernel_src.competitions.held_recipes import COMPETITION_OF, EXPERIMENTS
from kernel_src.competitions.held_rules import rules
from kernel_src.runtime.files import write_text

HEADING = '''"""## Blended ensembles

Ensembles that out-of-fold predictions spoke for: written by `python -m build blend … --write NAME`.
"""

from typing import Any

'''


def blended_file() -> Path:
    """Return where the competition keeps its blended ensembles, from the root."""
    return Path("kernel_src", "competitions", rules().competition, "blended_ensembles.py")


def check_ensemble(name: str, members: Sequence[str]) -> None:
    """Make sure that an ensemble of this name and these members can be.

    Raises:
        UsageError: the name is taken by a recipe written by hand, or a member is not an experiment.
    """
    check_free(name, "--write", read_entries(ROOT / blended_file(), "BLENDED"))
    if strangers := [member for member in members if member not in EXPERIMENTS]:
        raise UsageError(
            f"--write: {', '.join(strangers)} is not an experiment, and an ensemble mounts bundles of experiments: "
            "say which each file is of, e.g. v5=out/v5.csv"
        )
    if elsewhere := [member for member in members if COMPETITION_OF[member] != rules().competition]:
        raise UsageError(f"--write: {', '.join(elsewhere)} is an experiment of another competition")


def write_ensemble(name: str, members: Sequence[str], result: BlendResult, constraint: str) -> Path:
    """Write the recommended blend as the ensemble `name`; return the file."""
    path = ROOT / blended_file()
    blended = read_entries(path, "BLENDED")
    blended[name] = entry(members, result, constraint)
    write_text(path, blended_source(blended))
    return path


def entry(members: Sequence[str], result: BlendResult, constraint: str) -> dict[str, Any]:
    """Describe the recommended blend; members whose weight is zero for every target are left out."""
    gain = result.gain(SINGLE, result.recommended)
    found_by = (
        f"{result.recommended} of {', '.join(members)}: {interval(gain, '+z.4f', '.4f')} over "
        f"{result.single} on {gain.groups} {units_word()}"
    )
    stack: dict[str, Any] = {}
    kept = list(range(len(members)))
    shares = [1 / len(members)] * len(members)
    if result.recommended == NESTED and result.final != MEAN:
        kept = [i for i in kept if result.stack.weights[:, i].any()]
        if result.final in ("best single", "shares", "greedy"):
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
    """Write the file."""
    return module_source(HEADING, "BLENDED", blended)
