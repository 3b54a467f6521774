"""The verb `tune`: a search from the command line, to best.json, pictures and, if wanted, an experiment."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.interrupts import INTERRUPTED
from build.core.options import AsJson
from build.core.printing import print_json

if TYPE_CHECKING:
    from build.search.tuning.objective import TuningData
    from kernel_src.recipes.experiment import Experiment

TUNING = Path("out/tuning")
BEST_FILE = "best.json"
HEADING = '''"""## Tuned experiments

What a search found, as changes to an experiment of the list: written by `python -m build tune … --adopt NAME`.
"""

from typing import Any

'''


@dataclass(frozen=True, kw_only=True)
class TuningReport:
    """What a search has come to, over all processes."""

    ok: bool
    study: str
    folder: str
    storage: str
    outer_fold: int
    inner_folds: int
    trials: dict[str, int]  # state → number
    best: dict[str, Any]
    pictures: list[str]
    adopted: str  # the file that was written


def tune_verb(
    experiment: Annotated[str, typer.Option(help="The recipe to start from.")],
    data: Annotated[Path, typer.Option(help="The competition's folder.")],
    trials: Annotated[int, typer.Option(help="Finished trials wanted, over all processes.")] = 20,
    storage: Annotated[str, typer.Option(help="sqlite:///FILE, a database's URL, or a journal's path.")] = "",
    study: Annotated[str, typer.Option(help="Its name; EXPERIMENT-foldK by default.")] = "",
    set_values: Annotated[list[str] | None, typer.Option("--set", help="path=value …, not searched.")] = None,
    space: Annotated[list[str] | None, typer.Option(help="path=a,b or path=low..high; repeat.")] = None,
    pretrained: Annotated[list[Path] | None, typer.Option(help="Folder of a dataset that it needs; repeat.")] = None,
    outer_fold: Annotated[int, typer.Option(help="The fold that is never seen.")] = 0,
    inner_folds: Annotated[
        int, typer.Option(min=2, help="Group folds of the other rows; a trial's score is their mean.")
    ] = 3,
    pruner: Annotated[
        Literal["median", "hyperband", "none"], typer.Option(help="How hopeless trials are stopped.")
    ] = "median",
    seed: Annotated[int | None, typer.Option(help="Of the sampler; give it to one process only.")] = None,
    adopt: Annotated[str, typer.Option(help="Make the best trial an experiment of this name.")] = "",
    out: Annotated[Path, typer.Option(help="Where the studies go.")] = TUNING,
    as_json: AsJson = False,
) -> None:
    """Search hyper-parameters on inner group folds.

    Give the command again to go on, or twice to use two processes.

    Example: python -m build tune --experiment demo --data out/demo/competition --trials 4 --set schedule.epochs=2
    --space "loss=SquaredError,Log1pError"
    """
    import contextlib
    import os

    os.environ["TQDM_DISABLE"] = "1"  # one line per epoch says more than a bar per pass
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        # Reading external data prints a report: a script gets its JSON alone.
        with contextlib.redirect_stdout(sys.stderr):
            report = tune(
                experiment,
                data,
                trials=trials,
                storage=storage,
                study_name=study,
                set_values=set_values or [],
                restrictions=space or [],
                pretrained=pretrained or [],
                outer_fold=outer_fold,
                inner_folds=inner_folds,
                pruner=pruner,
                seed=seed,
                adopt_as=adopt,
                out=out,
            )
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on with the study", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    if as_json:
        print_json(asdict(report))
    else:
        print(last_words(report))


def tune(
    experiment_name: str,
    data: Path,
    *,
    trials: int,
    storage: str = "",
    study_name: str = "",
    set_values: Sequence[str] = (),
    restrictions: Sequence[str] = (),
    pretrained: Sequence[Path] = (),
    outer_fold: int = 0,
    inner_folds: int = 3,
    pruner: str = "median",
    seed: int | None = None,
    adopt_as: str = "",
    out: Path = TUNING,
) -> TuningReport:
    """Search until the study has `trials` finished ones, and write what is best so far.

    Raises:
        UsageError: the command is invalid; nothing was trained.
        CheckFailed: a photograph cannot be read.
    """
    from build.core.settings import apply_changes, find_experiment, parse_changes
    from build.search.tuning.objective import objective
    from build.search.tuning.shared_storage import shown
    from build.search.tuning.space import space_for
    from build.search.tuning.study import (
        best_of,
        count_states,
        draw_study,
        make_pruner,
        open_storage,
        open_study,
        optimize,
    )
    from kernel_src.data.images import ImageError
    from kernel_src.runtime.files import write_json
    from kernel_src.runtime.memory import keep_freed_memory
    from kernel_src.runtime.untrusted import checked_file_name

    base = find_experiment(experiment_name)
    fixed = parse_changes(set_values)
    experiment = apply_changes(base, fixed)
    space = space_for(experiment, restrictions, fixed)
    try:
        name = checked_file_name(study_name or f"{experiment_name}-fold{outer_fold}")
    except ValueError as error:
        raise UsageError(f"--study: {error}; it names a folder in {out}/") from None
    folder = out / name
    material = prepare(experiment, space, data, pretrained, outer_fold, inner_folds, folder / "cache")
    about = {
        "experiment": experiment_name,
        "fixed": fixed,
        "space": {key: repr(value) for key, value in space.items()},
        "outer_fold": outer_fold,
        "inner_folds": inner_folds,
        "images": sorted(material.train["image_id"]),
    }
    keep_freed_memory()
    print(f"study {name}: {len(material.train)} photographs, outer fold {outer_fold} left out", file=sys.stderr)
    study = open_study(
        name,
        open_storage(storage, folder),
        about,
        make_pruner(pruner, experiment.schedule.epochs, startup_trials=4),
        seed,
    )
    try:
        optimize(study, objective(experiment, space, material), trials, lambda line: print(line, file=sys.stderr))
    except ImageError as error:
        what, _, cure = str(error).rpartition(": ")
        raise CheckFailed([Problem(what=what, where=str(data), cure=cure)]) from None
    best = best_of(study, experiment_name, fixed)
    if best:
        write_json(folder / BEST_FILE, best)
    return TuningReport(
        ok=True,
        study=name,
        folder=str(folder),
        storage=shown(storage) or str(folder / "journal.log"),
        outer_fold=outer_fold,
        inner_folds=inner_folds,
        trials=count_states(study),
        best=best,
        pictures=[str(path) for path in draw_study(study, folder)],
        adopted=str(adopt(adopt_as, best)) if adopt_as and best else "",
    )


def prepare(
    experiment: "Experiment",
    space: Any,
    data: Path,
    pretrained: Sequence[Path],
    outer_fold: int,
    inner_folds: int,
    cache: Path,
) -> "TuningData":
    """Find everything that trials need, and refuse now what would fail after an hour.

    Raises:
        UsageError: data, a folder of weights, or a fold is missing.
    """
    from build.run.datasets import match_datasets, needed_by
    from build.run.training import check_competition
    from build.search.tuning.objective import TuningData, inner_experiment, without_outer_fold
    from build.search.tuning.space import ENCODER
    from kernel_src.competitions.held_facts import facts
    from kernel_src.competitions.held_rules import rules
    from kernel_src.runtime.device import check_device
    from kernel_src.runtime.weight_sources import SOURCE_OF, WEIGHTS_FILE
    from kernel_src.training.training_data import judged_folds

    check_competition(data)
    needed = needed_by(experiment)
    slug_of = {backbone: source.dataset for source in SOURCE_OF.values() for backbone in source.serves}
    backbones = space[ENCODER].values if ENCODER in space else (experiment.encoder.timm,)
    wanted = {experiment.encoder.timm: experiment.encoder.weights}
    if experiment.encoder.weights:
        # A pretrained net against a random one would be no comparison.
        needed.pop(experiment.encoder.weights)
        if unknown := [backbone for backbone in backbones if backbone not in {**slug_of, **wanted}]:
            raise UsageError(
                f"no source of weights is known for {', '.join(unknown)}: add a row to "
                'kernel_src/runtime/weight_sources.py, or search from random weights: --set "encoder.weights="'
            )
        wanted = {backbone: {**slug_of, **wanted}[backbone] for backbone in backbones}
        needed |= {slug: f"starting weights of {backbone}" for backbone, slug in wanted.items()}
    datasets = match_datasets(needed, pretrained, "--pretrained ")
    try:
        train = without_outer_fold(experiment, rules().read_train(data / facts().train_csv), outer_fold)
        judged_folds(inner_experiment(experiment, inner_folds, outer_fold), train)
    except ValueError as error:
        raise UsageError(f"{error}: look at --outer-fold and --inner-folds") from None
    return TuningData(
        train=train,
        competition=data,
        outer_fold=outer_fold,
        inner_folds=inner_folds,
        weights={backbone: datasets[slug] / WEIGHTS_FILE for backbone, slug in wanted.items() if slug},
        depth_folder=datasets.get(experiment.depth.weights) if experiment.depth else None,
        external_folder=datasets.get(external.dataset) if (external := experiment.data.external) else None,
        cache=cache,
        # One device per process: for two GPUs start two, each with its own CUDA_VISIBLE_DEVICES, on one --storage.
        device=replace(check_device(), count=1),
    )


def tuned_file() -> Path:
    """Return where the competition keeps its tuned experiments, from the root."""
    from kernel_src.competitions.held_rules import rules

    return Path("kernel_src", "competitions", rules().competition, "tuned_experiments.py")


def adopt(name: str, best: Mapping[str, Any]) -> Path:
    """Write a trial's changes as the experiment `name`; return the file.

    The experiment keeps its last epoch, whatever picked that of the trials; who wants a picker writes it into the file.

    Raises:
        UsageError: the name cannot be one, or an experiment written by hand has it.
    """
    from build.notebooks.adoption import check_free, read_entries
    from build.notebooks.builder import ROOT
    from build.search.tuning.space import picks_epoch
    from kernel_src.runtime.files import write_text

    path = ROOT / tuned_file()
    tuned = read_entries(path, "TUNED")
    check_free(name, "--adopt", tuned)
    changes = {field: value for field, value in sorted(best["changes"].items()) if not picks_epoch(field, value)}
    tuned[name] = {"base": best["experiment"], "changes": changes, "found_by": best["found_by"]}
    write_text(path, tuned_source(tuned))
    return path


def tuned_source(tuned: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the file."""
    from build.notebooks.adoption import module_source

    return module_source(HEADING, "TUNED", tuned)


def last_words(report: TuningReport) -> str:
    """Say what was found and how to use it."""
    from build.core.settings import as_typed

    counts = ", ".join(f"{number} {state}" for state, number in report.trials.items())
    if not report.best:
        return f"study {report.study}: {counts}; no trial is complete yet: raise --trials"
    best = Path(report.folder) / BEST_FILE
    lines = [
        f"study {report.study}: {counts}; pictures and {BEST_FILE} in {report.folder}",
        report.best["found_by"],
        as_typed(report.best["changes"]),
        f"train it: make train EXPERIMENT={report.best['experiment']} DATA=… SET={shlex.quote(f'@{best}')}",
    ]
    if only := report.best["search_only"]:
        picker = as_typed(only)
        lines.append(f"for the search only, so left out: {picker}; to train so too, say it: SET={shlex.quote(picker)}")
    lines += [f"adopted in {report.adopted}: now run make build"] if report.adopted else []
    return "\n".join(lines)
