"""The command line: one verb per thing a user does, each importing its part only when it is called.

Exit codes: 0 done, 1 something was checked and is not right, 2 invalid command. Every message says what,
where and the cure; nobody who is awake at one in the morning wants our traceback.
"""

import json
import sys
import traceback
from pathlib import Path
from types import TracebackType

import typer

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.foreign_text import shown
from build.verbs import local, notebooks, push, recipes, weights
from build.verbs import regress as regress
from build.verbs import scores as validation
from build.verbs import sync as sync
from kernel_src.recipes.experiment import ExperimentError
from kernel_src.runtime.manifest import BundleError, WeightsError

app = typer.Typer(
    name="python -m build",
    help="Plain Python in kernel_src/ becomes standalone Kaggle notebooks, rehearsed before they are pushed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (notebooks, recipes, weights, local, push, sync):
    app.add_typer(group.verbs)
for subject in (validation, regress):  # each a subject with verbs of its own
    app.add_typer(subject.app)


def written_at(error: ExperimentError) -> str:
    """Return file:line of the list in kernel_src/recipes/ whose entry raised this, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).name in ("experiments.py", "ensembles.py")]
    return f"kernel_src/recipes/{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def main() -> None:
    """Run the command line and turn what was found into an exit code."""
    as_json = "--json" in sys.argv
    sys.excepthook = _show_crash
    try:
        try:
            app()
        except (BundleError, WeightsError) as error:  # what a folder or a file is instead, with its name and the cure
            raise CheckFailed([Problem(what=str(error))]) from None
        except ExperimentError as error:
            raise CheckFailed([Problem(what=str(error), where=written_at(error))]) from None
    except CheckFailed as failed:
        if as_json:
            print(json.dumps({"ok": False, "problems": [problem.as_json() for problem in failed.problems]}, indent=2))
        for problem in failed.problems:
            print(problem, file=sys.stderr)  # fit to be shown: each problem sees to that itself
        count = len(failed.problems)
        print(f"{count} problem{'s' if count != 1 else ''}", file=sys.stderr)
        raise SystemExit(1) from None
    except UsageError as wrong:
        print(f"{shown(wrong)}\n`python -m build --help` lists the verbs", file=sys.stderr)
        raise SystemExit(2) from None


def _show_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of what nobody expected, without credentials."""
    print(shown("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
