"""docs/inference-faults.md: the claims of the matrix as one table."""

from collections.abc import Sequence
from pathlib import Path

from tests.kernel_src.faults.case import FIRST_SECOND, SOME, Case
from tests.kernel_src.faults.matrix import CASES
from tests.kernel_src.faults.planting import IDS, ROOT

DOCUMENT = ROOT / "docs" / "inference-faults.md"
HEAD = """# Faults of an inference

For anyone who reads a fault in an inference report, or wonders what a broken photograph or GPU costs.

Written by the tests (`tests/kernel_src/faults`), which plant every fault into the built inference notebook or its
files and rehearse it: `make test-full` all of them; `make test` one of each kind and every odd photograph, in a single
rerun. “Strict” is the interactive and the batch run, “rerun” Kaggle's rerun on the hidden test. Every rerun ends with
a complete, valid `submission.csv`, and the photographs that no fault names are predicted as if nothing had happened.
The ids are those of the test's {images} photographs.

What is reported is caught by name where it arises. An error that nobody foresaw is caught in one place, and only in the
rerun: `FaultLog.contain_unexpected`, a block around everything that the first submission does not depend on. Not caught
are an import that fails and a test whose tables name no rows.

A fold that finds no room beside the others is read again whenever it is needed, into the place of another one, and
tasks become longer, so that loading takes a small part of the time. A worker that ends with several photographs in hand
gets half as many from then on, until one photograph or one fold is found to be the cause; only what happens with a
single photograph is held against it or its fold. A fold whose loading fails is left to the other device; one over whose
loading the worker ended is tried again when all else is done.

On a GPU the weights of linear layers and convolutions are kept in fp16, all else in fp32. Measured on ten networks with
random weights on a CPU (vit_tiny, vit_small of DINOv2 and DINOv3, resnet18, convnext_atto, swin_tiny, caformer_s18,
tf_efficientnetv2_b0, timm's test_vit and test_efficientnet): half the bytes (.500 to .518), the output the same to the
last bit as autocast's with fp32 weights. With everything in fp16 the three ViTs with ordinary layer scales are 1.6, 1.8
and 2.0 times as far from fp32, the convolutional ones 1.0 to 1.2 times.

Not seen is damage that leaves a JPEG's syntax whole, because a JPEG has no checksum. A block of other data is seen by
a marker where none can be. Of 100 places in the real full-size photograph each, seen were: one changed byte 1, 512
foreign bytes 87, 4,096 foreign bytes 100, 4,096 zeros 0, 4,096 lost bytes 0. OpenCV decodes all of them; libjpeg's
warnings (26, 98, 100, 100, 100) it prints and does not hand on. Looking for markers takes 0.16 ms, decoding at half
scale 5.4 ms.

| fault | run | outcome | ids | what stood in |
|---|---|---|---|---|
"""


def shown(ids: Sequence[str]) -> str:
    if tuple(ids) == SOME:
        return "those in its hands"
    if len(ids) == len(IDS):
        return "all"
    return ", ".join(ids) or "–"


def strict_row(case: Case) -> tuple[str, ...]:
    if not case.strict:
        return case.fault, "strict", f"no error{f': {case.strict_note}' if case.strict_note else ''}", "–", "–"
    when = " within the first seconds" if case.strict_cell == FIRST_SECOND else ""
    return case.fault, "strict", f"error{when}: {case.strict}", "–", "–"


def rerun_row(case: Case) -> tuple[str, ...]:
    if case.rerun_error:
        outcome = f"the notebook ends ({case.rerun_error}), the file on disk stands"
        return case.fault, "rerun", outcome, shown(case.mean), "the training mean"
    if not case.rerun:
        return case.fault, "rerun", "nothing to report", "–", "–"
    parts = [
        list(dict.fromkeys(values))
        for values in (
            [f"{told.part}: {told.what.strip(': ')}" for told in case.rerun],
            [shown(told.ids) for told in case.rerun],
            [told.fallback for told in case.rerun],
        )
    ]
    return case.fault, "rerun", *("; ".join(part) for part in parts)


def document() -> str:
    rows = [row for case in CASES for row in (strict_row(case), rerun_row(case))]
    lines = ["| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return HEAD.format(images=len(IDS)) + "\n".join(lines) + "\n"


def is_current(path: Path = DOCUMENT) -> bool:
    """Tell whether the document is what the tests claim; one that is not is rewritten."""
    there = path.read_text(encoding="utf-8") if path.is_file() else ""
    if there != document():
        path.write_text(document(), encoding="utf-8")
    return there == document()
