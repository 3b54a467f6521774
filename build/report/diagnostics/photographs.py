"""The photographs at hand: which image has one, and which two are the same.

1. Same bytes: the same photograph, whatever it is called.
2. Same look: 256 bits, whether each cell of a 17 x 16 grey thumbnail is darker than its right neighbour (a difference
   hash: Krawetz, "Kind of like that", hackerfactor.com, 2013). Two photographs of which at most 26 bits differ are one
   that was saved again, smaller or stronger compressed.

A photograph that was cropped, turned or mirrored is not found.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from build.core.errors import CheckFailed, Problem, UsageError
from build.report.diagnostics.subject import Subject
from build.scores.oof_columns import image_id
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review

SUFFIXES = (".jpg", ".jpeg", ".png")
HASH_ROWS, HASH_COLUMNS = 16, 16
ALIKE_BITS = 26  # of 256
FLAT = 2.0  # grey levels: pictures of less contrast have no look
PAIRS_TOLD = 20  # a sentence each; a folder of copies would fill the page


@dataclass(frozen=True, kw_only=True)
class Twins:
    """Two images with one photograph."""

    a: str
    b: str
    bits: int | None  # that differ in their look; None: the bytes are the same


def find_photographs(folder: Path, image_ids: Sequence[str]) -> dict[str, Path]:
    """Find `<image_id>.jpg` or .png for each image in `folder` or below; images without one are left out.

    Raises:
        UsageError: there is no such folder, or it has none of the photographs.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder} with photographs")
    wanted, found = {image_id(name): name for name in image_ids}, dict[str, Path]()
    for path in sorted(folder.rglob("*"), key=lambda path: (len(path.parts), path)):
        if path.suffix.lower() in SUFFIXES and path.stem in wanted:
            found.setdefault(wanted[path.stem], path)
    if not found:
        raise UsageError(
            f"{folder} has no photograph of these images: they are named e.g. {image_id(image_ids[0])}.jpg"
        )
    return {name: found[name] for name in image_ids if name in found}


def find_twins(photographs: Mapping[str, Path]) -> tuple[Twins, ...]:
    """Name every two images with one photograph.

    Raises:
        CheckFailed: photographs cannot be read; all of them are named.
    """
    from kernel_src.data.images import ImageError

    names = list(photographs)
    digests, looks, problems = [], [], []
    for name in names:
        try:
            looks.append(_look(photographs[name]))
            digests.append(hashlib.sha256(photographs[name].read_bytes()).hexdigest())
        except ImageError as error:
            problems.append(Problem(what=str(error)))
    if problems:
        raise CheckFailed(problems)
    found = []
    for i, (digest, look) in enumerate(zip(digests, looks, strict=True)):
        for j in range(i):
            if digest == digests[j]:
                found.append(Twins(a=names[j], b=names[i], bits=None))
            elif look is not None and looks[j] is not None and (bits := int((look != looks[j]).sum())) <= ALIKE_BITS:
                found.append(Twins(a=names[j], b=names[i], bits=bits))
    return tuple(found)


def _look(path: Path) -> np.ndarray | None:
    """Return the bits of a photograph's look; None where it is too flat to have one."""
    import cv2

    from kernel_src.data.images import read_rgb

    grey = cv2.cvtColor(read_rgb(path, (HASH_ROWS * 4, HASH_COLUMNS * 4)), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (HASH_COLUMNS + 1, HASH_ROWS), interpolation=cv2.INTER_AREA).astype(float)
    return None if small.std() < FLAT else (small[:, :-1] < small[:, 1:]).ravel()


def twin_warnings(twins: Sequence[Twins], subject: Subject) -> list[str]:
    """Say of each two images with one photograph what it does: across a cut it is a leak, and told first."""
    validation, folds = subject.validation, subject.folds
    row = {str(image_id): i for i, image_id in enumerate(validation.image_ids)}
    pairs = sorted(twins, key=lambda pair: folds is not None and folds[row[pair.a]] == folds[row[pair.b]])
    found = []
    for pair in pairs[:PAIRS_TOLD]:
        a, b = row[pair.a], row[pair.b]
        same = "are the same file" if pair.bits is None else f"look the same ({pair.bits} of 256 bits differ)"
        if subject.folds is None:
            cut = "no fold column says whether a cut parts them"
        elif subject.folds[a] != subject.folds[b]:
            cut = (
                f"they lie in folds {subject.folds[a]} and {subject.folds[b]}: "
                "a duplicated photo is trained on in one and scored in the other"
            )
        else:
            cut = f"both lie in fold {subject.folds[a]}"
        if validation.groups[a] != validation.groups[b]:
            cut += f"; one is of {validation.groups[a]}, the other of {validation.groups[b]}"
        if not np.array_equal(validation.truth[a], validation.truth[b]):
            cut += f"; and {_differing(validation.truth[a], validation.truth[b])}: one label is wrong"
        found.append(f"{pair.a} and {pair.b} {same}; {cut}")
    if len(pairs) > PAIRS_TOLD:
        more = len(pairs) - PAIRS_TOLD
        found.append(f"and {more} more pairs of images with one photograph: `--json` lists them all under `twins`")
    return found


def _differing(one: np.ndarray, other: np.ndarray) -> str:
    """Say how the truths (targets,) of two images differ."""
    if facts().are_classes:
        return f"their classes differ, {', '.join(facts().targets[int(truth.argmax())] for truth in (one, other))}"
    main = review().main
    name, unit = review().short(facts().targets[main]), f" {facts().unit}" if facts().unit else ""
    return f"{review().differ_words}, {name} {one[main]:.1f} and {other[main]:.1f}{unit}"
