"""All diagnostics of one model: what the page, the report and `--json` show."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.report.diagnostics.adversarial import Separation, separations
from build.report.diagnostics.calibration import Calibration, calibrations
from build.report.diagnostics.photographs import Twins, find_photographs, find_twins, twin_warnings
from build.report.diagnostics.residuals import (
    IdentityCheck,
    Part,
    TargetErrors,
    WorstImages,
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


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """What one model gets wrong; `None` where a diagnostic had nothing to look at."""

    subject: Subject
    comparison: Comparison  # of this one model: score with interval, floors, R² per target
    warnings: tuple[str, ...]
    targets: tuple[TargetErrors, ...]
    states: tuple[Part, ...]
    species: tuple[Part, ...] | None  # without train.csv
    folds: tuple[Part, ...] | None  # without a fold column
    worst: WorstImages
    calibration: tuple[Calibration, ...]
    zeros: tuple[Zeros, ...]
    identities: tuple[IdentityCheck, ...]
    constraints: tuple[ConstraintGain, ...]
    shift: Shift | None  # without test predictions
    fold_separations: tuple[Separation, ...] | None  # without a fold column
    state_separations: tuple[Separation, ...]
    photographs: Mapping[str, Path] | None  # at hand, by image_id; without --images
    twins: tuple[Twins, ...] | None  # without --images

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints: numbers and names, no pictures."""
        score, validation = self.comparison.models[0], self.subject.validation
        return {
            "name": self.subject.name,
            "images": len(validation.image_ids),
            "groups": len(set(validation.groups)),
            "r2": score.estimate,
            "low": score.low,
            "high": score.high,
            "floors": dict(self.comparison.floors),
            "warnings": list(self.warnings),
            "targets": _rows(self.targets),
            "states": _rows(self.states),
            "species": _rows(self.species),
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
            "state_separations": _rows(self.state_separations),
            "photographs": None if self.photographs is None else len(self.photographs),
            "twins": _rows(self.twins),
        }


def _rows(entries: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    return None if entries is None else [asdict(entry) for entry in entries]


def diagnose(
    oof_path_or_run: str, train_csv: Path | None, *, images: Path | None = None, test_predictions: Path | None = None
) -> Diagnostics:
    """Diagnose an out-of-fold file or a run's folder; `NAME=PATH` gives it a name.

    `train_csv` may be None where the file holds truth, State and Sampling_Date; `images` is a folder with the
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
    return Diagnostics(
        subject=subject,
        comparison=comparison,
        warnings=(*subject.warnings, *twin_warnings(twins or (), subject)),
        targets=target_errors(subject, comparison),
        states=parts(subject, validation.states),
        species=None if subject.species is None else parts(subject, subject.species),
        folds=None if folds is None else parts(subject, folds),
        worst=worst_images(subject, photographs or {}),
        calibration=calibrations(subject),
        zeros=zeros(subject),
        identities=identity_checks(subject),
        constraints=tuple(constraint_gains(validation)),
        shift=None if test_predictions is None else shift(subject, read_test_predictions(test_predictions)),
        fold_separations=None if folds is None else separations(subject, folds, ("metadata", "predictions", "truth")),
        state_separations=separations(subject, validation.states, ("predictions", "truth")),
        photographs=photographs,
        twins=twins,
    )
