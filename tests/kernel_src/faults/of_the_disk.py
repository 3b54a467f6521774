"""Faults of the disk."""

from tests.kernel_src.faults.case import ALL, FIRST_SECOND, REPORT, Case, Told
from tests.kernel_src.faults.planted_code import mark
from tests.kernel_src.faults.planting import BEFORE_ALL, BEFORE_REPORT, Plant

FULL = """
def write_atomically(path, write, healthy=write_atomically):
    if path.name == "{name}"{when}:
        raise OSError(28, "No space left on device", str(path))
    healthy(path, write)
"""
# A real limit: no file may be larger than 100 bytes.
SMALL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))"
SAVED_BEFORE = "the one saved before"
DISK = [
    Case(
        fault="disk full in the first second, then free again",
        kind="disk",
        plant=Plant(
            cell=FULL.format(name="submission.csv", when=f" and not {mark('full')}.exists()").replace(
                "        raise", f"        {mark('full')}.touch()\n        raise"
            ),
            before=BEFORE_ALL,
        ),
        strict="No space left on device",
        strict_cell=FIRST_SECOND,
        rerun=(Told(part="disk", what="No space left on device", fallback="saved again with the first predictions"),),
    ),
    Case(
        fault="disk full for submission.csv after the first second",
        kind="disk",
        plant=Plant(cell=FULL.format(name="submission.csv", when="")),
        strict="the submission cannot be saved: [Errno 28] No space left on device",
        rerun=(Told(part="disk", what="No space left on device", fallback=SAVED_BEFORE),),
        mean=ALL,
    ),
    Case(
        fault="disk full for the report",
        kind="disk",
        plant=Plant(cell=SMALL, before=BEFORE_REPORT, whole=True),
        strict="File too large",
        strict_cell=REPORT,
        rerun=(Told(part="disk", what="inference_report.json cannot be written", fallback="these lines"),),
        unwritten=True,
    ),
]
