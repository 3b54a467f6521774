"""Faults that nobody foresaw."""

from dataclasses import replace

from tests.kernel_src.faults.case import ALL, FIRST_SECOND, MEAN, REPORT, Case, Told
from tests.kernel_src.faults.planting import BEFORE_ALL, BEFORE_LIBRARIES, BEFORE_REPORT, Plant


def _unforeseen(fault: str, broken: str, **more: object) -> Case:
    """Break one of the functions that the notebook calls."""
    return Case(
        fault=fault,
        kind="code",
        **{
            "plant": Plant(cell=f"{broken} = lambda *_, **__: 1 / 0"),
            "strict": "ZeroDivisionError: division by zero",
            "rerun": (
                Told(
                    part="unforeseen",
                    what="ZeroDivisionError: division by zero\nTraceback",
                    fallback="the best complete submission so far stands",
                ),
            ),
        }
        | more,
    )


AFTER_ALL = _unforeseen("an error after the prediction that nobody foresaw", "check_submission")
CODE = [
    _unforeseen(
        "an error while the bundles are looked for that nobody foresaw",
        "find_bundles",
        plant=Plant(cell="find_bundles = lambda *_: 1 / 0", before=BEFORE_ALL),
        strict_cell=FIRST_SECOND,
        mean=ALL,
        by="no bundle",
    ),
    _unforeseen("an error while the recipes are read that nobody foresaw", "read_recipes", mean=ALL),
    replace(
        (engine := _unforeseen("an error in the engine that nobody foresaw", "Inference._take_computed", mean=ALL)),
        rerun=(*engine.rerun, Told(part="photograph", what="no prediction", fallback=MEAN, ids=ALL)),
    ),
    AFTER_ALL,
    _unforeseen(
        "an error in the report that nobody foresaw",
        "inference_report",
        plant=Plant(cell="inference_report = lambda *_, **__: 1 / 0", before=BEFORE_REPORT),
        strict_cell=REPORT,
        unwritten=True,
    ),
    Case(
        fault="the import of a library fails",
        kind="code",
        plant=Plant(
            cell="import sys\nsys.modules['timm'] = None  # which makes its import fail",
            before=BEFORE_LIBRARIES,
        ),
        strict="import of timm halted",
        strict_cell=FIRST_SECOND,
        rerun=(),
        rerun_error="import of timm halted",
        mean=ALL,
    ),
]
