"""All diagnostics of one model: what the page, the report and `--json` show."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from build.report.diagnostics.adversarial import Separation, separations
from build.report.diagnostics.calibration import Calibration, calibrations
from build.report.diagnostics.photographs import Twins, find_photographs, find_twins, twin_warnings
from build.report.diagnostics.residuals import (
    ClassErrors,
    IdentityCheck,
    Part,
    TargetErrors,
    WorstImages,
    class_errors,
    identity_checks,
    parts,
    target_errors,
    worst_images,
)
from build.report.diagnostics.shift import Shift, read_test_predictions, shift
from build.report.diagnostics.subject import Subject, read_subject
from build.report.diagnostics.zeros import Zeros, zeros
from build.scores.comparison import Comparison, compare
from build.scores.constraint_comparison import ConstraintGain, constraint_gains
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules

FEW_PARTS = 40  # of a kind with more no table is shown


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """What one model gets wrong; `None` where a diagnostic had nothing to look at."""

    subject: Subject
    comparison: Comparison  # of this one model: score with interval, floors, R² per target
    warnings: tuple[str, ...]
    targets: tuple[TargetErrors, ...]  # none of classes
    classes: tuple[ClassErrors, ...]  # none of numbers
    parts: dict[str, tuple[Part, ...] | None]  # by what errors are split by; None: the table does not say
    folds: tuple[Part, ...] | None  # without a fold column
    worst: WorstImages
    calibration: tuple[Calibration, ...]
    zeros: tuple[Zeros, ...]
    identities: tuple[IdentityCheck, ...]
    constraints: tuple[ConstraintGain, ...]
    shift: Shift | None  # without test predictions
    fold_separations: tuple[Separation, ...] | None  # without a fold column
    part_separations: dict[str, tuple[Separation, ...]]  # of the first of the parts
    photographs: Mapping[str, Path] | None  # at hand, by image_id; without --images
    twins: tuple[Twins, ...] | None  # without --images

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints: numbers and names, no pictures."""
        score, validation = self.comparison.models[0], self.subject.validation
        return {
            "name": self.subject.name,
            "images": len(validation.image_ids),
            "groups": len(set(validation.groups)),
            "metric": rules().metric.name,
            "score": score.estimate,
            "low": score.low,
            "high": score.high,
            "floors": dict(self.comparison.floors),
            "warnings": list(self.warnings),
            "targets": _rows(self.targets),
            "classes": _rows(self.classes),
            **{plural(kind): _rows(found) for kind, found in self.parts.items()},
            "folds": _rows(self.folds),
            "worst": {
                "hold_half": self.worst.hold_half,
                "images": [{**asdict(one), "photograph": one.photograph is not None} for one in self.worst.images],
            },
            "calibration": _rows(self.calibration),
            "zeros": _rows(self.zeros),
            "identities": _rows(self.identities),
            "constraints": [gain.as_json() for gain in self.constraints],
            "shift": None if self.shift is None else asdict(self.shift),
            "fold_separations": _rows(self.fold_separations),
            **{f"{kind}_separations": _rows(found) for kind, found in self.part_separations.items()},
            "photographs": None if self.photographs is None else len(self.photographs),
            "twins": _rows(self.twins),
        }


def plural(kind: str) -> str:
    """Return what several parts of a kind are called."""
    return kind if kind.endswith("s") else f"{kind}s"


def _rows(entries: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    return None if entries is None else [asdict(entry) for entry in entries]


def labels_of(subject: Subject) -> dict[str, np.ndarray | None]:
    """Return what errors are split by, (images,) each; None where the table does not say, no kind of many parts."""
    found = {kind: subject.labels(kind) for kind in review().report_parts}
    return {kind: of for kind, of in found.items() if of is None or len(set(of.tolist())) <= FEW_PARTS}


def diagnose(
    oof_path_or_run: str, train_csv: Path | None, *, images: Path | None = None, test_predictions: Path | None = None
) -> Diagnostics:
    """Diagnose an out-of-fold file or a run's folder; `NAME=PATH` gives it a name.

    `train_csv` may be None where the file holds the truth and what tells its groups; `images` is a folder with the
    photographs or some of them; `test_predictions` a submission of the same model.

    Raises:
        UsageError: a file or folder does not exist, or the truth is missing.
        CheckFailed: a file or photograph cannot be read.
    """
    subject = read_subject(oof_path_or_run, train_csv)
    validation, folds = subject.validation, subject.folds
    photographs = None if images is None else find_photographs(images, validation.image_ids.tolist())
    twins = None if photographs is None else find_twins(photographs)
    comparison = compare(validation, subject.warnings)
    labels = labels_of(subject)
    first = next(iter(labels), None)
    return Diagnostics(
        subject=subject,
        comparison=comparison,
        warnings=(*subject.warnings, *twin_warnings(twins or (), subject)),
        targets=target_errors(subject, comparison),
        classes=class_errors(subject),
        parts={kind: None if of is None else parts(subject, of) for kind, of in labels.items()},
        folds=None if folds is None else parts(subject, folds),
        worst=worst_images(subject, photographs or {}),
        calibration=calibrations(subject),
        zeros=zeros(subject),
        identities=identity_checks(subject),
        constraints=tuple(constraint_gains(validation)) if len(review().constraints) > 1 else (),
        shift=None if test_predictions is None else shift(subject, read_test_predictions(test_predictions)),
        fold_separations=None if folds is None else separations(subject, folds, ("metadata", "predictions", "truth")),
        part_separations={
            kind: separations(subject, of, ("predictions", "truth"))
            for kind, of in labels.items()
            if of is not None and kind == first
        },
        photographs=photographs,
        twins=twins,
    )
