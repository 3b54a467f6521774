"""## The facts of Image2Biomass

Its facts, its long tables with a row per photograph and target, and its two identities, as the shared code asks for
them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from kernel_src.competition.facts import IMAGE_COLUMN, Facts, HiddenTest, UsualPhotograph
from kernel_src.competitions.biomass.constants import (
    COMPETITION_TITLE,
    DATA_LICENCE,
    ID_COLUMN,
    IDENTITIES,
    IDENTITY_TOLERANCE_G,
    ROW_RULE_REASONS,
    SLUG,
    TARGET_COLUMN,
    TARGET_WEIGHTS,
    TARGETS,
    TRAINING_MEANS_G,
    sample_id,
)
from kernel_src.competitions.biomass.hidden_table import PHOTOGRAPH_SUFFIX, read_hidden_test, save_predictions
from kernel_src.competitions.biomass.submission import broken_identities, check_submission
from kernel_src.runtime.faults import FaultLog


class BiomassFacts(Facts):
    """Rows are called <image id>__<target>, and weigh grams."""

    competition: ClassVar[str] = "biomass"
    slug: ClassVar[str] = SLUG
    title: ClassVar[str] = COMPETITION_TITLE
    prefix: ClassVar[str] = "i2b"
    licence: ClassVar[str] = DATA_LICENCE
    targets: ClassVar[tuple[str, ...]] = TARGETS
    is_amount: ClassVar[bool] = True
    unit: ClassVar[str] = "g"
    lowest: ClassVar[float] = 0.0
    weights: ClassVar[Mapping[str, float]] = TARGET_WEIGHTS
    identities: ClassVar[Mapping[str, tuple[str, ...]]] = IDENTITIES
    identity_tolerance: ClassVar[float] = IDENTITY_TOLERANCE_G
    fallback: ClassVar[Mapping[str, float]] = TRAINING_MEANS_G
    row_rules: ClassVar[Mapping[str, str]] = ROW_RULE_REASONS
    usual: ClassVar[UsualPhotograph | None] = UsualPhotograph("2000 x 1000", "2:1", (1.8, 2.2), (64, 4000))
    id_column: ClassVar[str] = ID_COLUMN
    path_column: ClassVar[str] = IMAGE_COLUMN
    suffix: ClassVar[str] = PHOTOGRAPH_SUFFIX
    answer_columns: ClassVar[tuple[str, ...]] = (TARGET_COLUMN,)

    def read_test(self, competition: Path, log: FaultLog) -> HiddenTest:
        """Read test.csv, where a photograph has a row for each target; see `read_hidden_test`."""
        return read_hidden_test(competition, log)

    def rows_of(self, image_id: str, values: Sequence[float]) -> dict[str, tuple[str, ...]]:
        """Return a row for each target."""
        named = zip(self.targets, values, strict=True)
        return {sample_id(image_id, target): (f"{grams:.6f}",) for target, grams in named}

    def save_predictions(
        self, path: Path, test: HiddenTest, predictions: Iterable[Iterable[float]], means: Mapping[str, float]
    ) -> None:
        """Write a complete submission; see `save_predictions` of the hidden test."""
        save_predictions(path, test, predictions, means)

    def problems_together(self, texts_of: Mapping[str, Sequence[str]]) -> list[tuple[str, list[str]]]:
        """Name the photographs whose sums are not those of their parts."""
        return broken_identities({name: float(texts[0]) for name, texts in texts_of.items()})

    def check_submission(self, path: Path, row_ids: Sequence[str]) -> None:
        """Read a submission back; see `check_submission`."""
        check_submission(path, row_ids)
