"""Every fault at every step that it can hit: recovery or a clear end, nothing twice, nothing lost; docs/faults.md."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build.kaggle.bench import Bench, Case, lay_bench, make_template, play, quick_folder
from tests.build.kaggle.fault_table import compare_keys, compare_row, read_rows, summary
from tests.build.kaggle.faults import CASES, QUICK


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("desk") / "template")


@pytest.fixture
def bench(template: Path, server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with quick_folder() as folder:
        yield lay_bench(folder / "desk", server, monkeypatch, template)
        monkeypatch.undo()  # leaves the folder before it is removed


def marked(case: Case):
    marks = [] if case.id in QUICK else [pytest.mark.full]
    return pytest.param(case, id=case.id, marks=marks)


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_nothing_is_lost_and_nothing_is_twice(case: Case, bench: Bench) -> None:
    outcome = play(case, bench)
    assert outcome.wrong == []
    assert compare_row(case, outcome.cells(), CASES) == ""


def test_the_table_has_exactly_these_rows() -> None:
    assert compare_keys(CASES) == []


def test_no_two_cases_share_a_row() -> None:
    assert len({(case.fault, case.step) for case in CASES}) == len(CASES)


def test_the_table_says_that_nothing_was_twice_and_nothing_lost() -> None:
    assert summary(list(read_rows().values())).endswith("duplicates 0, lost 0.")


def test_the_ten_failures_of_the_facts_page_and_many_more_are_in_it() -> None:
    faults = {case.fault for case in CASES}
    assert len(faults) >= 25
    assert {number for number in range(1, 11) if any(fault.startswith(f"{number}. ") for fault in faults)} == {
        *range(1, 11)
    }


def test_make_test_plays_a_fault_at_every_step_and_make_test_full_the_rest() -> None:
    quick = [case for case in CASES if case.id in QUICK]
    assert {case.step for case in quick} == {case.step for case in CASES if not case.slow}
