"""The verbs that run a kernel on this machine: as a script, as a notebook, as Kaggle would."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from build.core.errors import UsageError
from build.core.interrupts import INTERRUPTED
from build.core.options import AsJson


def demo_verb(
    out: Annotated[Path | None, typer.Option(help="Where to; out/demo, or a folder in it, by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Go the whole way on a small painted competition.

    Paint, train, bundle, infer, score: everything rehearsed as on Kaggle. Of another competition with two experiments,
    which are compared and blended, too.

    Example: python -m build demo
    """
    from build.core.choosing import demo_folder
    from build.run import demo, small_demo
    from kernel_src.competition.choice import DEFAULT_COMPETITION, chosen_competition

    path = demo if chosen_competition() == DEFAULT_COMPETITION else small_demo
    path.run(out or demo_folder(), as_json)


def rehearse_verb(
    experiment: Annotated[str, typer.Option(help="The experiment, or an adopted kernel's slug.")],
    data: Annotated[Path, typer.Option(help="A folder in the competition's layout.")],
    kernel: Annotated[str, typer.Option(help="train, features or infer.")] = "infer",
    weights: Annotated[list[Path] | None, typer.Option(help="A folder to mount as dataset; repeat for more.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="HANDLE=DIR", help="A Kaggle Model, owner/model/framework/variation/version=DIR; repeat."),
    ] = None,
    hidden: Annotated[Path | None, typer.Option(help="The hidden test that a rerun gets instead of data's.")] = None,
    layout: Annotated[
        Literal["new", "legacy"],
        typer.Option(help="Where Kaggle mounts inputs: new (input/datasets/OWNER/SLUG) or legacy."),
    ] = "new",
    rerun: Annotated[bool, typer.Option("--rerun", help="As Kaggle's rerun on the hidden test.")] = False,
    limit_s: Annotated[
        float | None, typer.Option(help="Stop after so many seconds; Kaggle's limit by default.")
    ] = None,
    memory_gb: Annotated[float | None, typer.Option(help="Stop beyond so much memory; Kaggle's by default.")] = None,
    device: Annotated[
        Literal["real", "p100"], typer.Option(help="real, or p100: a GPU this torch has no kernels for.")
    ] = "real",
    isolation: Annotated[str, typer.Option(help="auto, bubblewrap, namespace, or guard: do without.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Where to; out/rehearsals/<slug> by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a built notebook as Kaggle would.

    Network cut, input read-only, limits enforced, submission validated.

    Example: python -m build rehearse --experiment demo --data out/demo/competition --weights out/demo/bundle --rerun
    """
    from build.adopt.wheels import wheels_to_mount
    from build.notebooks.builder import check_notebook, notebook_of, slug_named
    from build.run.rehearse.plan import parse_models
    from build.run.rehearse.rehearsal import rehearse

    if any(limit is not None and limit <= 0 for limit in (limit_s, memory_gb)):
        raise UsageError("--limit-s and --memory-gb must be above 0")
    slug, notebooks = slug_named(experiment, kernel), Path("notebooks")
    if not (notebooks / slug / f"{slug}.ipynb").is_file():
        check_notebook(experiment, kernel)  # names what was typed, where there is no such notebook
    progress = sys.stderr if as_json else sys.stdout
    folders = [*(weights or []), *wheels_to_mount(slug, weights or [])]
    report = rehearse(
        notebook_of(slug, notebooks),
        data=data,
        weights=folders,
        models=parse_models(model or []),
        hidden=hidden,
        layout=layout,
        rerun=rerun,
        limit_s=limit_s,
        memory_gb=memory_gb,
        out=out or Path("out/rehearsals") / slug,
        device=device,
        isolation=isolation,
        say=lambda line: print(line, file=progress, flush=True),
    )
    print(json.dumps(report.as_json(), indent=2, allow_nan=False) if as_json else "\n".join(report.as_lines()))
    if not report.ok:
        raise SystemExit(1)


def notebook_run_verb(
    experiment: Annotated[str, typer.Option(help="The experiment.")],
    kernel: Annotated[str, typer.Option(help="train, features or infer.")] = "infer",
    data: Annotated[
        Path | None, typer.Option(help="The competition's folder; the demo's by default, painted if missing.")
    ] = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="Folder of a bundle or dataset; repeat. By default what lies in out/.")
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="Random numbers where no bundle is at hand.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a built notebook in a session on this machine.

    On the mock in out/mock, which `make lab` finds, too.

    Example: python -m build notebook-run --experiment demo
    """
    from build.run.notebook_run import run

    run(experiment, kernel, data, weights or [], random, as_json)


def train_verb(
    experiment: Annotated[str, typer.Option(help="Which recipe.")],
    data: Annotated[Path, typer.Option(help="The competition's folder.")],
    folds: Annotated[str, typer.Option(help="Only these folds, e.g. 0,1.")] = "",
    set_values: Annotated[list[str] | None, typer.Option("--set", help="path=value …, or @best.json.")] = None,
    pretrained: Annotated[list[Path] | None, typer.Option(help="Folder of a dataset that it mounts; repeat.")] = None,
    pseudo_labels: Annotated[Path | None, typer.Option(help="Folder with pseudo_labels.csv.")] = None,
    out: Annotated[Path, typer.Option(help="Where the runs go.")] = Path("out/runs"),
    as_json: AsJson = False,
) -> None:
    """Train on this machine and make the bundle.

    By the training kernel itself, on all devices of the machine; goes on if it was stopped.

    Example: python -m build train --experiment demo --data out/demo/competition --folds 0
    --set "schedule.epochs=3 batch.size=4"
    """
    from build.run.training import last_words, train

    try:
        report = train(
            experiment,
            data,
            folds=folds,
            set_values=set_values or [],
            pretrained=pretrained or [],
            pseudo_labels=pseudo_labels,
            out=out,
            quiet=as_json,
        )
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    print(json.dumps(asdict(report), indent=2) if as_json else last_words(report, data))


def infer_verb(
    experiment: Annotated[str, typer.Option(help="Which recipe or ensemble.")],
    data: Annotated[Path, typer.Option(help="The competition's folder.")],
    weights: Annotated[list[Path] | None, typer.Option(help="Folder of a bundle; repeat for an ensemble.")] = None,
    out: Annotated[Path, typer.Option(help="Where the runs go.")] = Path("out/runs"),
    as_json: AsJson = False,
) -> None:
    """Predict on this machine: bundles → submission.csv.

    By the inference kernel itself; the submission is checked.

    Example: python -m build infer --experiment demo --data out/demo/competition --weights out/demo/bundle
    """
    from build.run.inference import infer

    report = infer(experiment, data, weights or [], out=out, quiet=as_json)
    if as_json:
        print(json.dumps(asdict(report), indent=2))
    else:
        print(f"{report.submission}: {report.rows} rows, valid, {report.images} photographs in {report.seconds:.0f} s")
