"""How far predictions break the two identities, before and after each constraint."""

from dataclasses import dataclass

import numpy as np

from build.report.diagnostics.subject import Subject
from build.scores.constraint_comparison import AS_IT_IS
from kernel_src.competition.constants import IDENTITIES, IDENTITY_TOLERANCE_G, TARGETS
from kernel_src.competition.constraints import constrain
from kernel_src.recipes.experiment import CONSTRAINTS

TRUTH = "truth"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One identity."""

    identity: str  # e.g. "GDM_g = Dry_Green_g + Dry_Clover_g"
    broken: int  # images that miss it by more than IDENTITY_TOLERANCE_G
    mean_g: float  # absolute, over all images
    worst_g: float


@dataclass(frozen=True, kw_only=True)
class IdentityCheck:
    """The truth, the predictions as they are, or one constraint."""

    of: str
    violations: tuple[Violation, ...]
    negative: int  # values below zero
    moved_g: float  # mean absolute change of a value against the predictions as they are; of the truth 0


def identity_checks(subject: Subject) -> tuple[IdentityCheck, ...]:
    """Check the truth, the predictions as they are, and each constraint on them."""
    variants = {TRUTH: subject.validation.truth, AS_IT_IS: subject.predicted}
    variants |= {name: constrain(subject.predicted, name) for name in CONSTRAINTS}
    return tuple(
        IdentityCheck(
            of=name,
            violations=violations(grams),
            negative=int((grams < 0).sum()),
            moved_g=0.0 if name == TRUTH else float(np.abs(grams - subject.predicted).mean()),
        )
        for name, grams in variants.items()
    )


def violations(grams: np.ndarray) -> tuple[Violation, ...]:
    """Measure both identities, grams (images, 5)."""
    of = {target: grams[:, i] for i, target in enumerate(TARGETS)}
    found = []
    for total, summands in IDENTITIES.items():
        off = np.abs(of[total] - np.sum([of[summand] for summand in summands], axis=0))
        found.append(
            Violation(
                identity=f"{total} = {' + '.join(summands)}",
                broken=int((off > IDENTITY_TOLERANCE_G).sum()),
                mean_g=float(off.mean()),
                worst_g=float(off.max()),
            )
        )
    return tuple(found)
