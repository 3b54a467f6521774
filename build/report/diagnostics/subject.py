"""The subject of a diagnosis: one model's out-of-fold predictions beside truth and metadata."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from build.scores.oof_files import Validation, read_with_truth, validation_of
from build.scores.warnings import find_warnings
from kernel_src.competitions.biomass.constants import TARGETS

SPECIES_COLUMN = "Species"
NUMBERS = ("Pre_GSHH_NDVI", "Height_Ave_cm")  # metadata of train.csv that the test set lacks


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model on the images that have truth."""

    validation: Validation  # of this one model
    metadata: pd.DataFrame  # a row per image, in the order of `validation`: State, Sampling_Date; Species … if known
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return what the model is called."""
        return self.validation.names[0]

    @property
    def predicted(self) -> np.ndarray:
        """Return grams (images, 5) as the file has them: no constraint is applied."""
        return self.validation.predictions[0]

    @property
    def errors(self) -> np.ndarray:
        """Return prediction minus truth in grams, (images, 5)."""
        return self.predicted - self.validation.truth

    @property
    def folds(self) -> np.ndarray | None:
        """Return the fold of each image as text, if the file says so."""
        return self.validation.folds[0]

    @property
    def species(self) -> np.ndarray | None:
        """Return the species of each image, if train.csv says so."""
        return self.metadata[SPECIES_COLUMN].to_numpy(str) if SPECIES_COLUMN in self.metadata else None


def read_subject(given: str, train_csv: Path | None) -> Subject:
    """Read a file or a run's folder; raises what `compare` raises."""
    files, truth = read_with_truth([given], train_csv)
    validation = validation_of(files, truth)
    return Subject(
        validation=validation,
        metadata=truth.loc[validation.image_ids].drop(columns=list(TARGETS)),
        warnings=tuple(find_warnings(files, truth, validation)),
    )
