"""A limit from a hundredth to twice of what is needed: a valid submission in time, and more time never gives less."""

from pathlib import Path

import pytest

from tests.kernel_src.faults.planting import IDS, Plant, Stage, rehearse_planted

PASSES, PASS_S = len(IDS) * 2 * 4, 0.03
NEED_S = PASSES * PASS_S  # planted, many times what the tiny nets take themselves
SLOW = """
healthy, passes = BatchWork.values, []
def planted(self, number, model, view):
    passes.extend(range(len(self.pictures[0])))
    slower = {factor} if len(passes) > {half} else 1
    time.sleep({pass_s} * slower * len(self.pictures[0]))
    return healthy(self, number, model, view)
BatchWork.values = planted
"""
LATE_S = 1.5  # for the last step to be noticed and the workers to be ended


@pytest.mark.full
@pytest.mark.parametrize("factor", [1, 4], ids=["steady", "four times slower half-way"])
def test_limits_from_a_hundredth_to_twice_the_need(factor: int, stage: Stage, tmp_path: Path) -> None:
    need_s = NEED_S * (1 + factor) / 2
    cell = SLOW.format(factor=factor, half=PASSES // 2, pass_s=PASS_S)
    done = []
    for share in (0.01, 0.1, 0.5, 1.0, 2.0):
        limit_s = share * need_s
        plant = Plant(cell=cell, parameters={"PREDICT_SECONDS": limit_s})
        run = rehearse_planted(stage, plant, tmp_path / f"{share}", rerun=True)
        assert run.report.ok, run.report.as_lines()
        said = run.said
        assert said["plan"]["seconds"]["predicting"] < limit_s + LATE_S
        done.append(said["plan"]["passes_done"])
        if done[-1] < PASSES:
            (fault,) = [fault for fault in said["faults"] if fault["part"] == "time"]
            assert len(fault["ids"]) == said["plan"]["photographs_without_prediction"]
            assert "FAULT time" in run.last_cell
    assert done == sorted(done), "more time never gives less"
    assert done[-1] == PASSES and done[2] >= PASSES // 10


@pytest.mark.full
def test_outside_the_rerun_a_limit_is_no_error(stage: Stage, tmp_path: Path) -> None:
    cell = SLOW.format(factor=1, half=PASSES, pass_s=PASS_S)
    plant = Plant(cell=cell, parameters={"PREDICT_SECONDS": NEED_S / 2})
    run = rehearse_planted(stage, plant, tmp_path, rerun=False)
    assert run.report.ok and "FAULT time: the time allowed all 8 steps for" in run.last_cell


@pytest.mark.full
def test_five_thousand_photographs_are_predicted(stage: Stage, tmp_path: Path) -> None:
    def five_thousand(folder: Path) -> None:
        from kernel_src.competitions.biomass.constants import TARGETS

        names = [f"ID{number:07d}" for number in range(5000)]
        rows = [f"{name}__{target},test/{IDS[0]}.jpg,{target}" for name in names for target in TARGETS]
        (folder / "test.csv").write_text("\n".join(["sample_id,image_path,target_name", *rows]) + "\n")
        sample = [f"{name}__{target},0.0" for name in names for target in TARGETS]
        (folder / "sample_submission.csv").write_text("\n".join(["sample_id,target", *sample]) + "\n")

    plant = Plant(tables=five_thousand, parameters={"BATCH_SIZE": 64})
    run = rehearse_planted(stage, plant, tmp_path, rerun=True, limit_s=300)
    assert run.report.ok and run.report.submission and run.report.submission.rows == 25_000
    assert run.said["plan"]["passes_done"] == 5000 * 8 and not run.said["faults"]
    assert run.report.peak_rss_gb < 2


@pytest.mark.full
@pytest.mark.parametrize(("batch_size", "devices"), [(1, 1), (16, 1), (4, 2)])
def test_batches_and_devices_change_nothing(
    batch_size: int, devices: int, stage: Stage, healthy, tmp_path: Path
) -> None:
    cell = f'check_device = lambda: DeviceReport(kind="cpu", name="CPU", count={devices}, half=False)'
    plant = Plant(cell=cell, parameters={"BATCH_SIZE": batch_size})
    run = rehearse_planted(stage, plant, tmp_path, rerun=False)
    assert run.report.ok, run.report.as_lines()
    assert run.grams == pytest.approx(healthy.grams(plant.bundles, "all"), abs=2e-3)
