"""A P100 under Kaggle's image, as torch in the rehearsed notebook sees it."""

from pathlib import Path

from tests.build.run.rehearse.toys import WRITE, find_problem, rehearse_toy

# The device check that Kaggle's facts ask for: a real operation, not only is_available().
FALL_BACK = """
import torch
assert torch.cuda.is_available() and torch.cuda.device_count() == 1
name, (major, minor) = torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0)
assert name == "Tesla P100-PCIE-16GB" and f"sm_{major}{minor}" not in torch.cuda.get_arch_list()
for touch in (lambda: torch.ones(2, 2, device="cuda"), lambda: torch.nn.Linear(1, 1).to("cuda"),
              lambda: torch.ones(1).cuda()):
    try:
        touch()
    except RuntimeError as error:
        assert "no kernel image is available" in str(error)
    else:
        raise SystemExit("the device worked")
assert (torch.ones(2, 2) @ torch.ones(2, 2)).sum() == 8  # the CPU does
Path("inference_report.json").write_text(json.dumps(
    {"images": 1, "predict_seconds": 0.1, "device": {"kind": "cpu", "name": name, "reason": "no kernels for sm_60"}}))
"""


def test_a_notebook_that_checks_its_device_falls_back_to_the_cpu_and_the_report_says_so(tmp_path: Path) -> None:
    report = rehearse_toy(tmp_path, [FALL_BACK, WRITE], device="p100")
    assert report.ok, report.problems
    assert report.device["rehearsed"] == "p100" and report.device["kind"] == "cpu"
    assert report.device["reason"] == "no kernels for sm_60" and report.device["name"] == "Tesla P100-PCIE-16GB"
    assert any("device" in line and "P100" in line for line in report.as_lines())


def test_a_notebook_that_trusts_is_available_fails_with_the_cure(tmp_path: Path) -> None:
    cell = "import torch\ndevice = 'cuda' if torch.cuda.is_available() else 'cpu'\ntorch.ones(1).to(device)"
    report = rehearse_toy(tmp_path, [cell, WRITE], device="p100")
    problem = find_problem(report, "no kernel image is available")
    assert problem.where == "kernel_src/data/toy.py:103"
    assert "NvidiaTeslaT4" in problem.cure and "get_arch_list" in problem.cure
