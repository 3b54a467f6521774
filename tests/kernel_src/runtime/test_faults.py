"""What nobody foresaw is caught in one place, and only in the rerun."""

import ast
from pathlib import Path

import pytest

from kernel_src.runtime.faults import Fault, FaultLog, NotContained

ROOT = Path(__file__).resolve().parents[3]


def test_an_error_that_nobody_foresaw_ends_the_work_in_the_rerun_and_is_told_with_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log, done = FaultLog(strict=False), []
    with log.contain_unexpected():
        done.append("before")
        done.append({}["key"])
        done.append("after")
    assert done == ["before"]
    (fault,) = log.as_json()
    assert fault["part"] == "unforeseen" and fault["contained"] and "best complete submission" in fault["fallback"]
    assert "KeyError: 'key'" in fault["what"] and "test_faults.py" in fault["what"] and "Traceback" in fault["what"]
    assert "test_faults.py" in capsys.readouterr().out


def test_outside_the_rerun_it_is_raised_as_it_is() -> None:
    log = FaultLog(strict=True)
    with pytest.raises(KeyError, match="key"), log.contain_unexpected():
        {}["key"]
    with pytest.raises(NotContained, match="disk: full"), log.contain_unexpected():
        log.contain(Fault(part="disk", what="full", fallback="nothing"))
    assert not log.faults


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_who_ends_the_notebook_is_obeyed(end: type[BaseException]) -> None:
    with pytest.raises(end), FaultLog(strict=False).contain_unexpected():
        raise end


def test_nowhere_else_in_the_notebooks_is_an_error_caught_that_has_no_name() -> None:
    """The processes of a worker and of test-time training send their error and end with it, what transformers finds in
    a config is raised anew."""
    found = []
    for path in (ROOT / "kernel_src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                names = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {""}
                found += [path.name] if names & {"", "Exception", "BaseException"} else []
    assert sorted(found) == ["adaptation.py", "depth.py", "device_worker.py", "faults.py"]
