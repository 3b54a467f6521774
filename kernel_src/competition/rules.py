"""## How a competition is judged

A competition as far as it takes numpy and pandas: how its training table is read, which photographs belong together,
what becomes of a prediction before it is submitted, and what it scores. As it stands, this is the layout that most
competitions have, a row for each photograph; a competition derives from `Rules`, says what is its own, and is found.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from kernel_src.competition.facts import Facts
from kernel_src.runtime.csv_table import read_csv

ENOUGH_IMAGES, ENOUGH_GROUPS = 100, 10  # below either a score is luck


@dataclass(frozen=True)
class Metric(ABC):
    """What a competition is scored by."""

    name: ClassVar[str] = ""  # as people write it
    higher_is_better: ClassVar[bool] = True

    @abstractmethod
    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return the score of predictions, both (images, targets).

        Raises:
            ValueError: the shapes differ, a value is not finite, or the score is not defined.
        """

    def gain(self, score: float) -> float:
        """Return the score so that more is better."""
        return score if self.higher_is_better else -score


def checked_pair(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction as float, (images, targets) both.

    Raises:
        ValueError: the shapes differ, there are no rows, or a value is not finite.
    """
    truth, predicted = np.asarray(truth, float), np.asarray(predicted, float)
    if truth.shape != predicted.shape or truth.ndim != 2 or not len(truth):
        raise ValueError(f"truth {truth.shape} and prediction {predicted.shape} must both be (images, targets)")
    if not (np.isfinite(truth).all() and np.isfinite(predicted).all()):
        raise ValueError("truth and prediction must be finite: a NaN would make every score NaN")
    return truth, predicted


def joined_groups(names: np.ndarray, ids: Sequence[str], alike: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the groups' names (images,) after those of photographs that are alike have become one."""
    group_of = dict(zip(ids, names.tolist(), strict=True))
    joined: dict[str, str] = {}  # a group's name → one that it was joined to

    def last(name: str) -> str:
        while name in joined:
            name = joined[name]
        return name

    for family in alike:
        groups = sorted({last(group_of[one]) for one in family if one in group_of})
        joined.update(dict.fromkeys(groups[1:], groups[0]) if groups else {})
    return np.array([last(name) for name in names.tolist()])


# %%
class Rules:
    """One competition; a class that derives from this is found."""

    competition: ClassVar[str] = ""  # as its facts have it
    facts: ClassVar[type[Facts]] = Facts
    metric: ClassVar[Metric]
    train_id_column: ClassVar[str] = ""  # of train.csv, where the submission calls it otherwise
    label_column: ClassVar[str] = ""  # of train.csv, with a word or number for the class; empty: a column per target
    group_columns: ClassVar[tuple[str, ...]] = ()  # whose rows with equal values stay in one fold; none: each by itself
    group_name: ClassVar[str] = "photograph"  # what such a group is called
    alike: ClassVar[tuple[tuple[str, ...], ...]] = ()  # ids of photographs that are nearly the same: one fold, too
    shown_by: ClassVar[str] = ""  # the column by whose values errors are charted; empty: no such chart

    # -- tables -----------------------------------------------------------------------------------------------------

    def read_train(self, path: Path) -> pd.DataFrame:
        """Read the training table as one row per photograph, in the file's order.

        Columns: `image_id`, `image_path` relative to the competition's folder, its own, then the targets as numbers; of
        classes 1 for the row's own and 0 for the others.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a column is missing, an id doubled, a target not finite or a class unknown; names the row.
        """
        facts, id_column = self.facts(), self.train_id_column or self.facts.id_column
        try:
            table = read_csv(path, dtype=dict.fromkeys([id_column, self.label_column], str))
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"{error}: is the competition's data complete?") from None
        answers = [self.label_column] if self.label_column else list(facts.targets)
        wanted = [id_column, *self.group_columns, *facts.inputs, *answers]
        if missing := [column for column in wanted if column not in table]:
            raise ValueError(f"{path}: columns {', '.join(missing)} are missing, it has {', '.join(map(str, table))}")
        if table.empty:
            raise ValueError(f"{path} has a heading and no rows: is the competition's data complete?")
        ids = table[id_column]
        if (doubled := ids.duplicated() | ids.isna()).any():
            raise ValueError(f"{path}: {ids[doubled].iloc[0]} appears twice, or a row has no {id_column}")
        own = table.drop(columns=[column for column in ("image_id", "image_path", *facts.targets) if column in table])
        records = [{str(key): str(value) for key, value in row.items()} for row in table.to_dict("records")]
        paths = [
            facts.photograph(path.parent, facts.train_folder, image_id, row).relative_to(path.parent).as_posix()
            for image_id, row in zip(ids, records, strict=True)
        ]
        return pd.concat(
            [pd.DataFrame({"image_id": ids, "image_path": paths}), own, self._targets(table, path)], axis=1
        )

    def _targets(self, table: pd.DataFrame, path: Path) -> pd.DataFrame:
        facts = self.facts()
        if self.label_column:
            labels = facts.labels or facts.targets
            words = table[self.label_column].astype(str)
            if (unknown := ~words.isin(labels)).any():
                word = words[unknown].iloc[0]
                raise ValueError(f"{path}: {self.label_column} {word!r} is none of {', '.join(labels)}")
            return pd.DataFrame({t: (words == w).astype(float) for t, w in zip(facts.targets, labels, strict=True)})
        numbers = table[list(facts.targets)].apply(pd.to_numeric, errors="coerce").astype(float)
        if (bad := ~np.isfinite(numbers.to_numpy()).all(1)).any():
            name = table[self.train_id_column or facts.id_column][bad].iloc[0]
            raise ValueError(f"{path}: {name} lacks a target, or it is not a number")
        return numbers

    def group_labels(self, train: pd.DataFrame) -> np.ndarray:
        """Name the group of each photograph, (images,): what is alike stays in one fold."""
        if not self.group_columns:
            names = train["image_id"].to_numpy(str)
        else:
            columns = [train[column].astype(str) for column in self.group_columns]
            names = np.array([" ".join(words) for words in zip(*columns, strict=True)])
        return joined_groups(names, train["image_id"].astype(str).tolist(), self.alike) if self.alike else names

    def target_array(self, table: pd.DataFrame) -> np.ndarray:
        """Return the targets of a table as read by `read_train`, (images, targets)."""
        return table[list(self.facts.targets)].to_numpy(float, copy=True)

    def input_array(self, table: pd.DataFrame) -> np.ndarray:
        """Return the columns `Facts.inputs` of a table, (images, inputs); NaN where there is nothing.

        Raises:
            ValueError: a column holds words; names the row.
        """
        columns = []
        for name in self.facts.inputs:
            # Rows that are not the competition's have no such columns.
            given = table[name] if name in table else pd.Series(np.nan, table.index)
            numbers = pd.to_numeric(given, errors="coerce").astype(float)
            if (words := numbers.isna() & given.notna()).any():
                row, word = table["image_id"][words].iloc[0], given[words].iloc[0]
                raise ValueError(f"{row} has {word!r} under {name}, which an experiment reads as a number")
            columns.append(np.where(np.isfinite(numbers), numbers, np.nan))
        return np.stack(columns, 1) if columns else np.zeros((len(table), 0))

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Return what a stratified split balances, (images, targets) to (images,): the class, or the first target."""
        return targets.argmax(1) if self.facts.are_classes else targets[:, 0]

    def dropped_rows(self, names: Sequence[str], rows: pd.DataFrame) -> np.ndarray:
        """Tell which rows do not train, by rules of `Facts.row_rules`, (rows,) of bool.

        Raises:
            ValueError: there is no such rule.
        """
        if names:
            raise ValueError(f"there is no rule {names[0]!r} by which rows do not train: {self.competition} has none")
        return np.zeros(len(rows), bool)

    def drop_lines(self, names: Sequence[str], rows: pd.DataFrame) -> list[str]:
        """Say for each rule how many rows it leaves out, and why."""
        found = {name: int(self.dropped_rows([name], rows).sum()) for name in names}
        return [
            f"not trained on by the rule {name}: {count} of {len(rows)} photographs; {self.facts.row_rules[name]}"
            for name, count in found.items()
        ]

    # -- scores -----------------------------------------------------------------------------------------------------

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return the metric of finished predictions; see `Metric.score`."""
        return self.metric.score(truth, predicted)

    def pseudo_labels(self, predictions: np.ndarray, below: float) -> np.ndarray:
        """Return predictions (images, targets) as labels to train on; what is smaller than `below` may be made 0."""
        return predictions

    def score_per_target(self, truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        """Return something for each target that shows where a score comes from; empty: there is nothing to say."""
        return {}

    def floors(self, train: pd.DataFrame) -> dict[str, float]:
        """Return what no photograph is needed for: a model that scores no better has learnt nothing."""
        truth = self.target_array(train)
        return {"the mean of all": self.score(truth, np.broadcast_to(truth.mean(0), truth.shape))}

    def caveat(self, train: pd.DataFrame) -> str:
        """Say that a score means nothing where there is too little to score; empty where there is enough."""
        groups = len(set(self.group_labels(train)))
        if len(train) >= ENOUGH_IMAGES and groups >= ENOUGH_GROUPS:
            return ""
        size = f"{len(train)} photographs of {groups} groups"
        return f"on {size} the score means nothing; it only shows that the path works"
