"""Every fault at every step that it can hit: recovery or a clear end, nothing twice, nothing lost; docs/faults.md."""

from pathlib import Path

import pytest

from tests.push.bench import Bench, Case, lay_bench, make_template, play
from tests.push.fault_table import compare_keys, compare_row
from tests.push.faults import CASES, QUICK


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("desk") / "template")


@pytest.fixture
def bench(template: Path, server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return lay_bench(tmp_path / "desk", server, monkeypatch, template)


def marked(case: Case):
    marks = [] if case.fault in QUICK else [pytest.mark.full]
    return pytest.param(case, id=case.id, marks=marks)


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_nothing_is_lost_and_nothing_is_twice(case: Case, bench: Bench) -> None:
    outcome = play(case, bench)
    assert outcome.wrong == []
    assert compare_row(case, outcome.cells(), CASES) == ""


def test_the_table_has_exactly_these_rows() -> None:
    assert compare_keys(CASES) == []


def test_the_ten_failures_of_the_facts_page_and_many_more_are_in_it() -> None:
    faults = {case.fault for case in CASES}
    assert len(faults) >= 25
    assert {number for number in range(1, 11) if any(fault.startswith(f"{number}. ") for fault in faults)} == {
        *range(1, 11)
    }
