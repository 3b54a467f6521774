"""Every fault, planted into the built notebook or its files, in a strict run and in the competition's rerun."""

import re
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from tests.kernel_src.faults.case import FIRST_SECOND, SOME, Case
from tests.kernel_src.faults.conftest import Healthy
from tests.kernel_src.faults.matrix import CASES, TOGETHER
from tests.kernel_src.faults.of_photographs import PHOTOGRAPHS
from tests.kernel_src.faults.planting import ALONE, FIRST, IDS, Plant, Rehearsed, Stage, rehearse_planted

TOLERANCE_G = 2e-3  # between batches of different sizes
FIRST_SECONDS = 5.0  # of the cells; a rehearsal's own start comes on top
ALONE_IN_RERUN = [case for case in CASES if case not in PHOTOGRAPHS]
IN_MAKE_TEST = ("broken JPEG",)


def title(case: Case) -> str:
    return re.sub(r"[^a-z0-9]+", "-", case.fault.lower()).strip("-")


def full_but(names: tuple[str, ...], cases: list[Case] | tuple[Case, ...]) -> list:
    """All cases, those not named for `make test-full` only."""
    return [
        pytest.param(case, id=title(case), marks=[] if case.fault in names else [pytest.mark.full]) for case in cases
    ]


def in_company(case: Case) -> Case:
    """What a case claims beside others: they leave it other photographs in a worker's hands."""
    rerun = (replace(told, ids=SOME) if told.part in ("device", "fold") else told for told in case.rerun)
    return replace(case, rerun=tuple(rerun))


def check_rerun(cases: list[Case], run: Rehearsed, healthy: Healthy, plant: Plant, by: str) -> None:
    """Hold what a rerun said and submitted against the claims about the faults planted into it.

    `by` says which folds and bundles all predictions must come from.
    """
    said, printed = run.said["faults"], run.last_cell
    claims = [told for case in cases for told in case.rerun]
    for told in claims:
        found = [
            fault
            for fault in said
            if fault["part"] == told.part and told.what in fault["what"] and told.fallback in fault["fallback"]
        ]
        assert found, (told, said)
        ids = {name for fault in found for name in fault["ids"]}
        alike = [t for t in claims if any(t.part == fault["part"] and t.what in fault["what"] for fault in found)]
        assert ids == {name for t in alike for name in t.ids} or (told.ids == SOME and ids), (told, found)
        assert all(f"FAULT {fault['part']}: {fault['what']}" in printed for fault in found)
    unclaimed = [f for f in said if not any(t.part == f["part"] and t.what in f["what"] for t in claims)]
    assert not unclaimed, "the rerun tells of nothing else"
    check_submission(cases, run, healthy, plant, by)


def check_submission(cases: list[Case], run: Rehearsed, healthy: Healthy, plant: Plant, by: str) -> None:
    mean = {name for case in cases for name in case.mean}
    other = {name for case in cases for name in case.other}
    if not len(run.grams):
        return  # an empty test
    grams = dict(zip(IDS, run.grams, strict=False))
    if mean >= set(IDS):
        expected = np.tile(healthy.training_means(by), (len(grams), 1))
    else:
        expected = healthy.grams(plant.bundles, by)
    exact = 0
    for row, name in enumerate(grams):
        if name in mean:
            assert grams[name] == pytest.approx(healthy.training_means(by), abs=1e-4), name
        elif name in other:
            assert np.abs(grams[name] - healthy.training_means(by)).max() > 0.01, f"{name} has the mean"
        else:
            assert grams[name] == pytest.approx(expected[row], abs=TOLERANCE_G), name
            exact += 1
    assert exact or mean >= set(grams), "nothing was compared"


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.full)], ids=["forked", "whole"])
def test_one_fault_of_each_kind_and_every_odd_photograph_are_contained_in_a_single_rerun(
    whole: bool, stage: Stage, healthy: Healthy, tmp_path: Path
) -> None:
    assert {case.kind for case in TOGETHER} == {case.kind for case in CASES}
    planted = reduce(Plant.and_also, (case.plant for case in TOGETHER))
    plant = replace(
        planted, bundles=(FIRST, ALONE), whole=whole
    )  # the first is not attached, of the other a fold gives NaN
    run = rehearse_planted(stage, plant, tmp_path, rerun=True)
    assert run.survived, run.report.as_lines()
    cases = [in_company(case) for case in TOGETHER]
    check_rerun(cases, run, healthy, replace(plant, bundles=(ALONE,)), by="fold 0")
    unreadable = [case for case in PHOTOGRAPHS if case.mean]
    assert run.said["plan"]["photographs_without_prediction"] == len(unreadable)


@pytest.mark.full
@pytest.mark.parametrize("case", full_but((), ALONE_IN_RERUN))
def test_the_rerun_contains_it(case: Case, stage: Stage, healthy: Healthy, tmp_path: Path) -> None:
    run = rehearse_planted(stage, case.plant, tmp_path, rerun=True)
    assert run.report.submission and run.report.submission.valid, run.report.as_lines()
    if case.rerun_error:
        assert run.report.failure and case.rerun_error in run.report.failure.error
        check_submission([case], run, healthy, case.plant, case.by)
        return
    assert run.survived, run.report.as_lines()
    if case.unwritten:
        assert all(f" {told.part}: " in run.last_cell and told.what in run.last_cell for told in case.rerun)
        check_submission([case], run, healthy, case.plant, case.by)
        return
    check_rerun([case], run, healthy, case.plant, case.by)


@pytest.mark.parametrize("case", full_but(IN_MAKE_TEST, CASES))
def test_outside_the_rerun_it_is_an_error_or_no_fault_at_all(case: Case, stage: Stage, tmp_path: Path) -> None:
    run = rehearse_planted(stage, case.plant, tmp_path, rerun=False)
    failure = run.report.failure
    if not case.strict:
        assert run.report.ok and not failure, run.report.as_lines()
        assert case.strict_note in run.last_cell
        return
    assert failure and case.strict in failure.error, run.report.as_lines()
    assert failure.title == case.strict_cell
    if (run.working / "submission.csv").exists():
        assert run.report.submission and run.report.submission.valid
    if case.kind in ("table", "bundle") and case.strict_cell == FIRST_SECOND:
        spent = sum(cell.seconds for cell in run.report.cell_seconds)
        assert spent < FIRST_SECONDS, f"a version that cannot work must fail at once, not after {spent} s"
