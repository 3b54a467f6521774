"""The subject of a diagnosis: one model's out-of-fold predictions beside truth and metadata."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from build.scores.oof_files import Validation, read_with_truth, validation_of
from build.scores.warnings import find_warnings
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model on the images that have truth."""

    validation: Validation  # of this one model
    metadata: pd.DataFrame  # a row per image, in the order of `validation`: what the table says beside the targets
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return what the model is called."""
        return self.validation.names[0]

    @property
    def predicted(self) -> np.ndarray:
        """Return predictions (images, targets) as the file has them: no constraint is applied."""
        return self.validation.predictions[0]

    @property
    def errors(self) -> np.ndarray:
        """Return prediction minus truth, (images, targets)."""
        return self.predicted - self.validation.truth

    @property
    def folds(self) -> np.ndarray | None:
        """Return the fold of each image as text, if the file says so."""
        return self.validation.folds[0]

    def labels(self, kind: str) -> np.ndarray | None:
        """Return what errors are split by, (images,) of text; None where the table does not say it."""
        column = review().report_parts[kind]
        return self.metadata[column].to_numpy(str) if column in self.metadata else None

    @property
    def shown_with(self) -> np.ndarray | None:
        """Return what is said of each image beside its group, if the competition has that and the table says it."""
        return self.labels(review().shown_with) if review().shown_with else None


def read_subject(given: str, train_csv: Path | None) -> Subject:
    """Read a file or a run's folder; raises what `compare` raises."""
    files, truth = read_with_truth([given], train_csv)
    validation = validation_of(files, truth)
    return Subject(
        validation=validation,
        metadata=truth.loc[validation.image_ids].drop(columns=list(facts().targets)),
        warnings=tuple(find_warnings(files, truth, validation)),
    )
