"""## The submission

Written whole or not at all, and read back in the end. Standard library only, since the
first submission is written before anything else is imported.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from kernel_src.competition.facts import read_named_rows
from kernel_src.competitions.biomass.constants import (
    ID_COLUMN,
    ID_SEPARATOR,
    IDENTITIES,
    IDENTITY_TOLERANCE_G,
    TARGET_COLUMN,
    TARGETS,
    sample_id,
)
from kernel_src.runtime.files import write_text


def write_submission(path: Path, sample_ids: list[str], grams_of: Mapping[str, float]) -> None:
    """Write `sample_id,target` in the order of `sample_ids`, atomically.

    `grams_of` maps each sample id to grams.

    Raises:
        KeyError: a sample id has no prediction.
    """
    lines = [f"{ID_COLUMN},{TARGET_COLUMN}", *(f"{name},{grams_of[name]:.6f}" for name in sample_ids)]
    write_text(path, "\n".join(lines) + "\n")


def check_submission(path: Path, sample_ids: Sequence[str]) -> None:
    """Read a submission back, as it lies on the disk.

    Raises:
        ValueError: it does not hold each of `sample_ids` once, in their order; or grams are negative or not finite, or
            break an identity.
    """
    columns, rows = read_named_rows(path)
    if columns != [ID_COLUMN, TARGET_COLUMN] or [row[ID_COLUMN] for row in rows] != list(sample_ids):
        raise ValueError(f"{path} does not hold the rows of the test, each once and in their order")
    grams = {row[ID_COLUMN]: float(row[TARGET_COLUMN]) for row in rows}
    wrong = [f"{name} is {value}" for name, value in grams.items() if not 0 <= value < math.inf]
    for name, value in grams.items():
        image_id, _, target = name.rpartition(ID_SEPARATOR)
        parts = [grams.get(sample_id(image_id, part), math.nan) for part in IDENTITIES.get(target, ())]
        if parts and abs(value - sum(parts)) > IDENTITY_TOLERANCE_G:  # false where a part is not in the test
            wrong.append(f"{name} is not the sum of {' and '.join(IDENTITIES[target])}")
    if wrong:
        raise ValueError(f"{path} cannot be submitted, {len(wrong)} rows are wrong: {', '.join(wrong[:3])}")


def broken_identities(grams_of: Mapping[str, float]) -> list[tuple[str, list[str]]]:
    """Name the photographs whose sums are not those of their parts: what is broken, and their ids.

    `grams_of` maps row ids to grams; a photograph of which a target is missing or not finite is left out.
    """
    images: dict[str, dict[str, float]] = {}
    for name, value in grams_of.items():
        image_id, _, target = name.rpartition(ID_SEPARATOR)
        if image_id and target in TARGETS and math.isfinite(value):
            images.setdefault(image_id, {})[target] = value
    whole = {image_id: of for image_id, of in images.items() if len(of) == len(TARGETS)}
    broken = []
    for total, parts in IDENTITIES.items():
        wrong = [
            image_id
            for image_id, of in whole.items()
            if abs(of[total] - sum(of[part] for part in parts)) > IDENTITY_TOLERANCE_G
        ]
        if wrong:
            broken.append((f"break {total} = {' + '.join(parts)}", wrong))
    return broken
