"""The command line: one verb per thing a user does, each importing its part only when it is called.

Exit codes: 0 done, 1 something was checked and is not right, 2 invalid command, 130 Ctrl-C. Every message says what,
where and the cure; nobody who is awake at one in the morning wants our traceback.
"""

import atexit
import gc
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from inspect import cleandoc
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from build.adopt import command as adopt
from build.core.errors import CheckFailed, Problem, UsageError
from build.core.interrupts import INTERRUPTED
from build.kaggle import command as kaggle
from build.new import command as new
from build.notebooks import command as notebooks
from build.report import command as report
from build.run import command as run
from build.scores import command as scores
from build.search.regress import command as regress
from build.search.tuning import command as tuning
from build.sync import command as sync
from build.weights import command as weights
from kernel_src.competition.choice import DEFAULT_COMPETITION

# Group of `--help` → its verbs, in the order in which a user needs them; `push_data_verb` is typed `push-data`.
VERBS: dict[str, tuple[Callable[..., None], ...]] = {
    "Build": (
        notebooks.notebooks_verb,
        notebooks.check_verb,
        notebooks.stitch_verb,
        adopt.adopt_verb,
        new.new_verb,
        weights.experiments_verb,
        weights.describe_verb,
    ),
    "Run": (run.demo_verb, run.rehearse_verb, run.infer_verb, run.notebook_run_verb),
    "Train": (
        kaggle.data_verb,
        weights.weights_verb,
        weights.external_verb,
        weights.augment_verb,
        run.train_verb,
        tuning.tune_verb,
        weights.pseudo_label_verb,
        regress.features_verb,
        regress.regress_verb,
        weights.bundle_verb,
    ),
    "Push": (
        kaggle.doctor_verb,
        kaggle.preflight_verb,
        kaggle.push_data_verb,
        kaggle.push_training_verb,
        kaggle.queue_verb,
        kaggle.push_inference_verb,
        kaggle.logs_verb,
        kaggle.status_verb,
    ),
    "Edit": (sync.watch_verb, sync.lab_verb, sync.sync_verb, kaggle.pull_kernel_verb),
    "Judge": (scores.compare_verb, scores.blend_verb, report.report_verb, report.scores_verb),
}
EXAMPLE = "Example: "  # begins a paragraph of a verb's docstring
DATA_IN_EXAMPLES = "{data}"  # stands for what `make data` downloads
# Verbs that work on no competition's files, or ask for a competition themselves.
WITHOUT = set("check stitch adopt new experiments data weights external queue status watch lab sync".split())
NAMING = ("experiment", "subject", "files", "weights", "bundle", "run_folder", "folder")  # may name a competition's own
# Verbs that take the competition's first experiment where none is named; and those that also take its usual folders.
FIRST = {"notebook-run", "report", "train", "infer", "rehearse", "tune", "pseudo-label"}
USUAL = FIRST - {"notebook-run", "report"}
Competition = Annotated[
    str, typer.Option(metavar="NAME", help="Where what is named does not say it; its name here, or its slug.")
]


class Grouped(TyperGroup):
    """Lists the verbs by group in plain text: typer's own panels need rich, whose import takes as long as all else."""

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write one section for each group."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        for group in VERBS:
            own = [one for one in self.commands.values() if getattr(one, "rich_help_panel", None) == group]
            with formatter.section(group):
                formatter.write_dl([(one.name, one.get_short_help_str(limit)) for one in own])


def named_in(values: dict[str, Any]) -> Iterator[str | Path]:
    """Yield the words and folders among a verb's values that may name what belongs to a competition."""
    for name in NAMING:
        value = values.get(name)
        yield from value if isinstance(value, list) else [value] if value else []


app = typer.Typer(
    name="python -m build",
    cls=Grouped,
    help="Plain Python in kernel_src/ becomes standalone Kaggle notebooks, rehearsed before they are pushed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Verb(TyperCommand):
    """A verb; what its examples call the downloaded files is looked up when its help is read, not at each start."""

    _help: str

    @property
    def help(self) -> str:
        """The docstring, as `--help` prints it."""
        if DATA_IN_EXAMPLES in self._help:
            from kernel_src.competitions.held_facts import facts

            self._help = self._help.replace(DATA_IN_EXAMPLES, f"data/{facts(DEFAULT_COMPETITION).slug}")
        return self._help

    @help.setter
    def help(self, text: str | None) -> None:
        self._help = text or ""


def help_of(verb: Callable[..., None]) -> str:
    """Return a verb's docstring with each example on one line of its own, so that it can be copied as it is printed."""
    paragraphs = cleandoc(verb.__doc__ or "").split("\n\n")
    # \b in front of a paragraph: click does not wrap it.
    return "\n\n".join(f"\b\n{' '.join(one.split())}" if one.startswith(EXAMPLE) else one for one in paragraphs)


def choosing(verb: Callable[..., None], name: str) -> Callable[..., None]:
    """Return a verb that chooses the competition it is about, fills in what usually goes with it, and runs."""
    parameters = dict(inspect.signature(verb).parameters)
    for usual, value in (("experiment", ""), ("subject", ""), ("data", None)):
        if name in FIRST and usual in parameters:
            parameters[usual] = parameters[usual].replace(default=value)
    if name not in WITHOUT:
        own = inspect.Parameter("competition", inspect.Parameter.KEYWORD_ONLY, default="", annotation=Competition)
        parameters["competition"] = own

    @wraps(verb)
    def run(**values: Any) -> None:
        from build.core.choosing import choose
        from build.notebooks.adopted import competition_of_adopted

        typed = "" if name in WITHOUT else values.pop("competition")
        choose(typed, named_in(values), competition_of_adopted)
        if name in FIRST:
            from build.run.usual import fill_in

            if taken := fill_in(values, folders=name in USUAL):
                print(f"{name}: {', '.join(taken)} (not given)", file=sys.stderr, flush=True)
        try:
            verb(**values)
        except KeyboardInterrupt:  # typer would call that "Aborted!", and its exit code a failed check
            print(f"\n{name}: stopped", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None

    # Those without a default first, as in any signature.
    ordered = sorted(parameters.values(), key=lambda one: (one.kind, one.default is not inspect.Parameter.empty))
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in ordered}
    return run


for group, verbs in VERBS.items():
    for verb in verbs:
        name = verb.__name__.removesuffix("_verb").replace("_", "-")
        text = help_of(verb)
        first_line = text.partition("\n")[0]
        app.command(name, cls=Verb, help=text, short_help=first_line, rich_help_panel=group)(choosing(verb, name))


def found_by_sources(error: Exception) -> Problem | None:
    """Return the problem that an error of kernel_src/ is; None if nobody expected it."""
    from kernel_src.recipes.spec import ExperimentError
    from kernel_src.runtime.files import WeightsError
    from kernel_src.runtime.manifest import BundleError

    if isinstance(error, ExperimentError):
        return Problem(what=str(error), where=written_at(error))
    if isinstance(error, BundleError | WeightsError):  # what a folder or a file is instead, with its name and the cure
        return Problem(what=str(error))
    return None


def written_at(error: Exception) -> str:
    """Return file:line of the list of recipes whose entry raised this, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).name in ("experiments.py", "ensembles.py", "winners.py")]
    return f"{_from_here(own[-1].filename)}:{own[-1].lineno}" if own else ""


def _from_here(file: str) -> str:
    """Write a file of the kit as it is called in it."""
    parts = Path(file).parts
    return "/".join(parts[parts.index("kernel_src") :]) if "kernel_src" in parts else Path(file).name


def main() -> None:
    """Run the command line and turn what was found into an exit code."""
    as_json = "--json" in sys.argv
    sys.excepthook = _show_crash
    atexit.register(gc.freeze)  # all of a process is freed with it: looking for garbage takes a quarter of a build
    try:
        try:
            app()
        except (CheckFailed, UsageError):
            raise
        except Exception as error:
            problem = found_by_sources(error)
            if problem is None:
                raise
            raise CheckFailed([problem]) from None
    except CheckFailed as failed:
        if as_json:
            print(json.dumps({"ok": False, "problems": [problem.as_json() for problem in failed.problems]}, indent=2))
        for problem in failed.problems:
            print(problem, file=sys.stderr)  # fit to be shown: each problem sees to that itself
        count = len(failed.problems)
        print(f"{count} problem{'s' if count != 1 else ''}", file=sys.stderr)
        raise SystemExit(1) from None
    except UsageError as wrong:
        from build.core.foreign_text import shown

        print(f"{shown(wrong)}\n`python -m build --help` lists the verbs", file=sys.stderr)
        raise SystemExit(2) from None


def _show_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of what nobody expected, without credentials."""
    from build.core.foreign_text import shown

    print(shown("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
