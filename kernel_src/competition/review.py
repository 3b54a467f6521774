"""## How predictions are looked at

What a competition brings to comparisons, blends, reports and model cards on one's own machine: sums that make intervals
cheap, the names that others give to its columns, what its errors are split by, and its own words. As it stands, this is
what suits most competitions; one with more to say derives from `Review`, and is found. No notebook needs this.
"""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

from kernel_src.competition.rules import Rules
from kernel_src.competition.sums import Sums, sums_of_metric


class LongLayout(NamedTuple):
    """Where somebody's out-of-fold file may have a row per photograph and target, as the competition's tables do."""

    name_column: str  # with the target's name
    value_column: str  # with its value
    separator: str  # between image id and target in the row's id


class Honesty(NamedTuple):
    """How the errors of a model that has never seen a group vary by group, and how it is said."""

    ratio: float  # variance of the groups' mean errors, times that of shuffled groups
    images: float  # that such a group has
    words: str  # of the ratio, where groups were left out


class Review:
    """One competition; a class that derives from this is found."""

    competition: ClassVar[str] = ""  # as its facts have it

    # -- words ------------------------------------------------------------------------------------------------------
    group_word: ClassVar[str] = "group"  # what the groups are called in a narrow table
    place_word: ClassVar[str] = "photographs"  # what a part of the data is another kind of
    inputs_words: ClassVar[str] = ""  # what `described` encodes; empty: the inputs by their names
    differ_words: ClassVar[str] = "their truths differ"  # of two that should not
    same_words: ClassVar[str] = "have exactly the same truth"  # of two photographs whose targets do not differ
    interval_note: ClassVar[str] = ""  # a sentence on how far the intervals are to be believed
    model_words: ClassVar[str] = ""  # what the weights tell, for the model card; empty: a word on the competition
    card_finish: ClassVar[str] = ""  # what the inference notebook does with predictions, as a sentence goes on
    card_limits: ClassVar[tuple[str, ...]] = ()  # what the weights are not good for, a line each
    targets_note: ClassVar[str] = ""  # of the model card: in what the targets are measured

    # -- columns ----------------------------------------------------------------------------------------------------
    unit_words: ClassVar[tuple[str, ...]] = ()  # that a heading may end in, in small letters
    long_layout: ClassVar[LongLayout | None] = None
    shown_with: ClassVar[str] = ""  # of `report_parts`, what is said of a photograph beside its group

    # -- what predictions are held against ---------------------------------------------------------------------------
    constraints: ClassVar[tuple[str, ...]] = ("none",)  # that predictions can be finished by; see `Answers.finished`
    constraint: ClassVar[str] = "none"  # by which they usually are
    real_words: ClassVar[str] = "real training"  # of the images that `published_points` were computed on
    published_points: ClassVar[Mapping[str, float]] = {}  # the reference points of the real training images
    data_means: ClassVar[Mapping[str, float]] = {}  # of the targets, in the real training table; empty: not known
    means_tolerance: ClassVar[float] = 0.0
    copied: ClassVar[float] = 0.0  # a number that near to its truth is the truth; 0: by the spread of the truth
    other_truth: ClassVar[float] = 0.0  # mean distance of a file's own truth from train.csv; 0: by the spread
    honesty: ClassVar[Honesty | None] = None
    noticed: ClassVar[float] = 0.0  # a prediction of less counts as nothing; 0: what is absent is no subject here
    external: ClassVar[str] = ""  # the table of other people's photographs that `build external` makes unless told
    external_area: ClassVar[str] = ""  # of which such a mean is, e.g. `per plot`
    external_mean: ClassVar[float] = 0.0  # of the main target in the competition's photographs; 0: not known
    thresholds: ClassVar[tuple[float, ...]] = ()  # below which a prediction may be made 0

    def __init__(self, rules: Rules) -> None:
        """Look at predictions as these rules judge them."""
        self.rules, self.facts = rules, rules.facts()

    @property
    def sums(self) -> Sums | None:
        """The sums that the metric needs; None: it is computed again for each group that is left out."""
        return sums_of_metric(self.rules.metric)

    @property
    def best(self) -> float:
        """The score of perfect predictions."""
        return 1.0 if self.rules.metric.higher_is_better else 0.0

    @property
    def score_words(self) -> str:
        """The score, as a sentence begins."""
        name = self.rules.metric.name
        return name[0].upper() + name[1:]

    @property
    def has_groups(self) -> bool:
        """Whether photographs belong together; otherwise each stands for itself."""
        return bool(self.rules.group_columns)

    @property
    def parts(self) -> dict[str, str]:
        """What errors are split by in a comparison → its column in the training table."""
        return {self.rules.shown_by: self.rules.shown_by} if self.rules.shown_by else {}

    @property
    def report_parts(self) -> dict[str, str]:
        """What errors are split by in a report → its column; those with many values are left out there."""
        return self.parts | {column: column for column in self.facts.inputs}

    @property
    def example_shares(self) -> dict[str, float]:
        """Means that weights made up at random may claim, as shares of one scale; of classes all alike."""
        return dict.fromkeys(self.facts.targets, 1 / len(self.facts.targets) if self.facts.are_classes else 1.0)

    @property
    def main(self) -> int:
        """The number of the target that stands for all where there is room for one: the heaviest in the metric."""
        weights = [self.facts.weight_of[target] for target in self.facts.targets]
        return len(weights) - 1 - int(np.argmax(weights[::-1])) if max(weights) > min(weights) else 0

    # -- columns ----------------------------------------------------------------------------------------------------

    def short(self, target: str) -> str:
        """Return a target's name for a narrow heading: of a class, how it is written in a submission."""
        if self.facts.are_classes and self.facts.labels:
            return dict(zip(self.facts.targets, self.facts.labels, strict=True)).get(target, target)
        return target

    def spellings(self) -> dict[str, str]:
        """Return what a target may be called in the heading of a table → the target."""
        named = {target: target for target in self.facts.targets}
        return {self.short(target): target for target in self.facts.targets} | named

    def tidy(self, table: pd.DataFrame, where: str) -> pd.DataFrame:
        """Return a table in which what tells the groups is written in one way; `where` names it in messages.

        Raises:
            ValueError: it cannot be told.
        """
        return table

    def described(self, table: pd.DataFrame) -> np.ndarray | None:
        """Encode what the table says of photographs beside their targets, (images, features); None: nothing."""
        columns = [column for column in self.facts.inputs if column in table]
        return table[columns].astype(float).to_numpy() if columns else None

    # -- what predictions are held against ---------------------------------------------------------------------------

    def reference_points(self, truth: np.ndarray, groups: np.ndarray) -> dict[str, float]:
        """Return what no photograph is needed for, named; the floors first, two where there are groups."""
        points = {"the mean of all": np.broadcast_to(truth.mean(0), truth.shape)}
        if self.has_groups:
            outside = {group: truth[groups != group].mean(0) for group in dict.fromkeys(groups.tolist())}
            points["the mean of the other groups"] = np.stack([outside[group] for group in groups.tolist()])
        return {name: self.rules.score(truth, predicted) for name, predicted in points.items()}

    def level_warning(self, truth: np.ndarray, predicted: np.ndarray) -> str:
        """Say that predictions (images, targets) are too good to be out of fold; empty where they are not."""
        score = self.rules.score(truth, predicted)
        if self.rules.metric.gain(score) >= self.rules.metric.gain(self.best) and len(truth) > 1:
            return f"{self.rules.metric.name} {score:.3f}, the best there is: no photograph is judged wrong"
        return ""
