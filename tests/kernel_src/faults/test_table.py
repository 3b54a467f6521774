"""The table in docs/ is what the tests claim."""

from tests.kernel_src.faults.matrix import CASES
from tests.kernel_src.faults.table import DOCUMENT, is_current


def test_the_table_of_faults_is_up_to_date() -> None:
    assert is_current(), f"{DOCUMENT} was stale and has been written anew: look at it and commit it"


def test_the_table_holds_at_least_forty_faults() -> None:
    assert len(CASES) >= 40 and len({case.fault for case in CASES}) == len(CASES)
