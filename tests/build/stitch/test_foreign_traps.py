"""Every package that was made for our own kernels' rules, as somebody else's: in a real kernel it does the same.

More of it is handled than of ours, less is refused; none may come out wrong.
"""

import pytest

from build.core.errors import CheckFailed
from tests.build.stitch.real_kernel import run_notebook, run_script
from tests.build.stitch.test_equality import read_cases

CASES = [case for name in ("equal.txt", "traps.txt", "refused.txt") for case in read_cases(name)]


@pytest.mark.full
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_trap_is_refused_or_does_what_the_script_does(package, tmp_path_factory, case):
    made = package(case.files)
    main = next((name for name in case.files if name.endswith("main.py")), "main.py")
    try:
        stitched = made.stitch(main, arguments="")
    except CheckFailed as failed:
        assert all(problem.where and problem.cure for problem in failed.problems)
        return
    module = main.removesuffix(".py").replace("/", ".") if "/" in main else ""
    script = run_script(made.root / main, made.root, module=module)
    notebook = run_notebook(stitched, tmp_path_factory.mktemp("there"))
    assert (notebook.code, notebook.printed) == (script.code, script.printed)
