"""The faults, and what is claimed of each.

The tests hold every claim against a rehearsal of the built notebook; docs/inference-faults.md shows the same claims.
"""

from tests.kernel_src.faults.case import Case
from tests.kernel_src.faults.of_bundles import BUNDLES
from tests.kernel_src.faults.of_code import AFTER_ALL, CODE
from tests.kernel_src.faults.of_devices import devices
from tests.kernel_src.faults.of_outputs import outputs
from tests.kernel_src.faults.of_photographs import PHOTOGRAPHS
from tests.kernel_src.faults.of_the_disk import DISK
from tests.kernel_src.faults.of_the_table import TABLES
from tests.kernel_src.faults.of_time import TIME

CASES: tuple[Case, ...] = (*PHOTOGRAPHS, *outputs(), *devices(), TIME, *DISK, *TABLES, *BUNDLES, *CODE)


# One of each kind in a single rerun, which `make test` has time for.

TOGETHER = (
    *PHOTOGRAPHS,
    *(
        case
        for case in CASES
        if case.fault
        in (
            "nan from one fold",
            "memory too small for a batch",
            "a worker killed once",
            "disk full in the first second, then free again",
            "duplicate rows",
            "one dataset of two not attached",
        )
    ),
    TIME,
    AFTER_ALL,
)
