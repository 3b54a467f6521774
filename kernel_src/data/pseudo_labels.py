"""## Pseudo-labels

Photographs without weights, with what a first training predicted for them, as extra rows of a second. One rule
keeps the score honest: the label on which fold k trains was predicted by the first training's fold k, which has not
seen the rows that fold k validates on. A blend of all folds has seen them, so it would carry their weights over; it is
refused, and so is a table made with another division into folds.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competitions.held_facts import facts
from kernel_src.data.agreement import CONFIDENT_SHARE, fold_spread
from kernel_src.data.training_rows import EXTERNAL_COLUMN
from kernel_src.runtime.csv_table import read_csv
from kernel_src.runtime.mounts import find_dataset
from kernel_src.runtime.parts import OptionalPart
from kernel_src.runtime.untrusted import quoted

PSEUDO_LABELS_FILE = "pseudo_labels.csv"
SPREAD_COLUMN, SPLIT_COLUMN = "spread_g", "split_sha256"


def pseudo_table(
    image_ids: Sequence[str], image_paths: Sequence[str], folds: Sequence[int], fold_values: np.ndarray, split: str
) -> pd.DataFrame:
    """Make the table from what each fold predicts, (folds, images, targets); `split` is `split_sha256` of its run."""
    spread = fold_spread(fold_values)
    parts = []
    for fold, values in zip(folds, fold_values, strict=True):
        part = pd.DataFrame({"image_id": image_ids, IMAGE_COLUMN: image_paths, "fold": fold})
        parts.append(part.assign(**dict(zip(facts().targets, values.T, strict=True)), **{SPREAD_COLUMN: spread}))
    return pd.concat(parts, ignore_index=True).assign(**{SPLIT_COLUMN: split})


def read_pseudo_labels(path: Path, share: float = CONFIDENT_SHARE) -> pd.DataFrame:
    """Read a table and keep the `share` of its photographs that the folds agree on best.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a table, or a value is not a number; the message names the image.

    Photographs that lie beside the table are named by their whole path; the others are the competition's.
    """
    table = read_csv(path, dtype={"image_id": str})
    if missing := [column for column in ("image_id", *facts().targets) if column not in table]:
        raise ValueError(f"{path}: columns {', '.join(missing)} are missing, it has {', '.join(map(str, table))}")
    for column in (*facts().targets, *(name for name in (SPREAD_COLUMN,) if name in table)):
        if (bad := pd.to_numeric(table[column], errors="coerce").isna() | (table[column].dtype == bool)).any():
            value = quoted(table[column].astype(object)[bad].iloc[0])
            raise ValueError(f"{path}: image {table['image_id'][bad].iloc[0]} has {value} under {column}, not a number")
        table[column] = pd.to_numeric(table[column])
    table = confident(table, share)
    if IMAGE_COLUMN in table:
        beside = [path.parent / str(name) for name in table[IMAGE_COLUMN]]
        named = [str(file) if file.is_file() else name for file, name in zip(beside, table[IMAGE_COLUMN], strict=True)]
        table[IMAGE_COLUMN] = named
    return table


def confident(table: pd.DataFrame, share: float) -> pd.DataFrame:
    """Keep the images whose spread lies at or below the quantile `share`; all where the table has no spread.

    The spread comes from all folds together, so *which* rows are kept depends a little on every label; their own labels
    do not.
    """
    if SPREAD_COLUMN not in table:
        return table
    spread = table.groupby("image_id")[SPREAD_COLUMN].first()
    kept = spread.index[spread <= spread.quantile(share)]
    return table[table["image_id"].isin(kept)].reset_index(drop=True)


# %%
def check_pseudo_labels(
    table: pd.DataFrame, labelled_ids: Sequence[str], split: str, folds: Sequence[int] = ()
) -> None:
    """Make sure that a table can be used without a leak in a training of these folds of this split.

    Raises:
        ValueError: with every reason why not.
    """
    columns = ["image_id", IMAGE_COLUMN, "fold", SPLIT_COLUMN, *facts().targets]
    faults = [f"the column {column} is missing" for column in columns if column not in table]
    if "fold" not in table:
        faults.append("predictions of no single fold come from models that saw what another fold validates on")
    if SPLIT_COLUMN in table and set(table[SPLIT_COLUMN]) != {split}:
        faults.append("it was predicted by a run that divided the images into other folds")
    if "image_id" in table and (known := sorted(set(table["image_id"]) & set(labelled_ids))):
        faults.append(f"{len(known)} images have weights already, e.g. {known[0]}")
    if "fold" in table and (untaught := sorted(set(folds) - set(table["fold"]))):
        faults.append(f"fold {', '.join(map(str, untaught))} has predicted nothing in it")
    if not faults and table.duplicated(["image_id", "fold"]).any():
        faults.append("an image has two predictions of one fold")
    if not faults and not np.isfinite(table[list(facts().targets)].to_numpy(float)).all():
        faults.append("a prediction is not a finite number")
    if faults:
        raise ValueError(
            f"the pseudo-labels cannot be used: {'; '.join(faults)}. Cure: make the table with "
            "`python -m build pseudo-label` from a bundle that was trained on the same data, split and folds"
        )


def pseudo_values(table: pd.DataFrame, image_ids: Sequence[str], fold: int) -> np.ndarray:
    """Return what fold `fold` itself predicted for the images, (images, targets); NaN where the table lacks it."""
    own = table[table["fold"] == fold].set_index("image_id")[list(facts().targets)]
    return own.reindex(list(image_ids)).to_numpy(float)


def find_pseudo_labels(slug: str, share: float) -> pd.DataFrame:
    """Read the attached dataset of pseudo-labels; see `read_pseudo_labels`."""
    return read_pseudo_labels(find_dataset(slug, PSEUDO_LABELS_FILE) / PSEUDO_LABELS_FILE, share)


def with_pseudo_labels(
    rows: pd.DataFrame, table: pd.DataFrame, split: str, folds: Sequence[int], weight: float
) -> pd.DataFrame:
    """Append the table's photographs to the rows that are weighed.

    Raises:
        ValueError: see `check_pseudo_labels`.
    """
    check_pseudo_labels(table, rows["image_id"].tolist(), split, folds)
    images = table.drop_duplicates("image_id")[["image_id", IMAGE_COLUMN]]
    judged = rows if EXTERNAL_COLUMN in rows else rows.assign(**{EXTERNAL_COLUMN: False})
    print(f"pseudo-labels: {len(images)} photographs at {weight:g} of the weight of a weighed one")
    return pd.concat([judged, images.assign(**{EXTERNAL_COLUMN: True})], ignore_index=True)


class PseudoLabelParts(OptionalPart):
    """What a training with pseudo-labels needs."""

    part = "pseudo_labels"
    find_pseudo_labels = staticmethod(find_pseudo_labels)
    pseudo_values = staticmethod(pseudo_values)
    with_pseudo_labels = staticmethod(with_pseudo_labels)
