"""The verbs that speak with Kaggle: data, datasets, notebooks, submissions, and what is known of them."""

import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from build.core.errors import CheckFailed, UsageError
from build.core.options import AsJson, Conflicts, Parameters
from build.core.printing import print_json
from kernel_src.competition.choice import DEFAULT_COMPETITION

if TYPE_CHECKING:
    from build.kaggle.flow import PushOptions
    from build.kaggle.journal import Journal

Params = Annotated[
    list[str] | None,
    typer.Option("--params", metavar="NAME=VALUE", help="For this push: a value of the parameters cell; repeat."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Push over an edit made on the site.")]


def data_verb(
    competition: Annotated[str, typer.Option(help="Its name here, or any slug of Kaggle's.")] = DEFAULT_COMPETITION,
    folder: Annotated[Path | None, typer.Option(help="Where to; data/<slug> by default.")] = None,
    limit_gb: Annotated[float, typer.Option(help="Refuse more than this.")] = 50.0,
    as_json: AsJson = False,
) -> None:
    """Download the competition's files.

    Resumed at the byte, checked, unpacked safely.

    Example: python -m build data
    """
    from build.core.choosing import DATA, known_competition
    from build.core.progress import Steps
    from build.kaggle.preparation import resumable
    from build.kaggle.transfers import fetch_data, sign_in
    from kernel_src.competitions.held_facts import facts
    from kernel_src.runtime.manifest import checked_slug

    known = known_competition(competition)
    try:
        slug = facts(known).slug if known else checked_slug(competition)
    except ValueError as error:
        raise UsageError(f"--competition {error}") from None
    place = folder or DATA / slug
    steps = Steps(total=2, quiet=as_json)
    with resumable("make data"):
        client = sign_in(steps)
        with steps.step("data", f"https://www.kaggle.com/competitions/{slug} → {place}") as note:
            data = fetch_data(client, slug, place, limit_bytes=int(limit_gb * 1e9))
            note(str(data))
    if as_json:
        print_json({"ok": True, **asdict(data)})


def push_data_verb(
    experiment: Annotated[
        str, typer.Option(help="Push its bundle: out/bundles/<experiment>, or the one in --dir.")
    ] = "",
    folder: Annotated[Path | None, typer.Option("--dir", help="A flat folder of files.")] = None,
    slug: Annotated[str, typer.Option(help="The dataset's name on Kaggle, e.g. i2b-resnet34-imagenet.")] = "",
    as_json: AsJson = False,
) -> None:
    """Upload a bundle or a flat folder as a private dataset.

    Nothing is sent where these bytes are there already; waits until the dataset is whole.

    Example: python -m build push-data --experiment demo

    Example: python -m build push-data --dir out/demo/pretrained --slug i2b-lite0-imagenet
    """
    from build.kaggle.transfers import any_folder, bundles_of, push_folders

    words = ["make push-data"]
    if experiment and not slug:
        folders = bundles_of(experiment, folder)
        words += [f"EXPERIMENT={experiment}"] + ([f"DIR={shlex.quote(str(folder))}"] if folder else [])
    elif slug and folder is not None and not experiment:
        folders = any_folder(folder, slug)
        words += [f"DIR={shlex.quote(str(folder))}", f"SLUG={shlex.quote(slug)}"]
    else:
        raise UsageError("give EXPERIMENT=… for its bundle, or DIR=… and SLUG=… for any flat folder")
    pushed = push_folders(folders, " ".join(words), quiet=as_json)
    if as_json:
        print_json({"ok": True, "datasets": [asdict(one) for one in pushed]})


def push_training_verb(
    experiment: Annotated[str, typer.Option(help="The experiment, or an adopted kernel's slug.")],
    wait: Annotated[bool, typer.Option(help="Wait for the run and make the bundle.")] = True,
    again: Annotated[bool, typer.Option("--again", help="Run once more what failed.")] = False,
    overwrite: Overwrite = False,
    set_values: Annotated[
        list[str] | None, typer.Option("--set", help="For this push: path=value …, as train takes it.")
    ] = None,
    params: Params = None,
    as_json: AsJson = False,
) -> None:
    """Train on Kaggle's GPUs and make the bundle here.

    Of an experiment whose features are frozen: make them there, bring them home. What one session cannot finish goes on
    in the next. Resumable.

    Example: python -m build push-training --experiment demo

    Example: python -m build push-training --experiment demo --set schedule.epochs=3 --params SHOW_IMAGES=3
    """
    from build.kaggle.flow import PushOptions
    from build.kaggle.pushed_values import Given
    from build.kaggle.training import push_training

    given = Given(tuple(set_values or ()), tuple(params or ()))
    options = PushOptions(
        experiment=experiment, wait=wait, again=again, overwrite=overwrite, given=given, quiet=as_json
    )
    _push(options, "push-training", push_training)


def queue_verb(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(metavar="EXPERIMENT", help="In this order; without any, what is left goes on."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Once more what failed, of those named or of all.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train several experiments on Kaggle, one by one.

    Within the week's GPU hours, over days if need be: each as push-training does. The same command goes on wherever it
    was stopped; named experiments join a queue that has not ended. One that fails does not stop the others.

    Example: python -m build queue v1 v2 v5
    """
    from build.kaggle import queue

    trained = queue.train_queue(experiments or [], again=again, quiet=as_json)
    problems = queue.problems_of(trained)
    if as_json:
        print_json(queue.as_json(trained))
    else:
        print("\n".join(f"queue: {entry.as_line()}" for entry in trained))
    if problems:
        raise SystemExit(1) if as_json else CheckFailed(problems)


def push_inference_verb(
    experiment: Annotated[str, typer.Option(help="The experiment, or an adopted kernel's slug.")],
    message: Annotated[str, typer.Option(help="For the submission's description and the ledger's note.")] = "",
    submit: Annotated[bool, typer.Option(help="Submit; or stop once the outputs are verified.")] = True,
    wait: Annotated[bool, typer.Option(help="Wait for the score; with --no-submit: for the run.")] = True,
    again: Annotated[bool, typer.Option("--again", help="Once more what failed or was submitted already.")] = False,
    overwrite: Overwrite = False,
    weights: Annotated[
        list[Path] | None, typer.Option(help="Of an adopted kernel: the folder of a dataset; repeat.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="HANDLE=DIR", help="Of an adopted kernel: a Kaggle Model; repeat.")
    ] = None,
    params: Params = None,
    as_json: AsJson = False,
) -> None:
    """Go from the sources to a scored submission.

    Build, check, rehearse, push, wait, verify, submit, record; resumable.

    Example: python -m build push-inference --experiment demo
    """
    from build.kaggle.flow import PushOptions, push_inference
    from build.kaggle.pushed_values import Given

    options = PushOptions(
        experiment=experiment,
        message=message,
        submit=submit,
        wait=wait,
        again=again,
        overwrite=overwrite,
        weights=tuple(weights or ()),
        models=tuple(model or ()),
        given=Given(parameters=tuple(params or ())),
        quiet=as_json,
    )
    _push(options, "push-inference", push_inference)


def pull_kernel_verb(
    experiment: Annotated[str, typer.Option(help="The experiment, or an adopted kernel's slug.")],
    kernel: Annotated[str, typer.Option(help="train, features or infer.")] = "infer",
    parameters: Parameters = False,
    conflicts: Conflicts = "file",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; the diff is shown all the same.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch what was edited on Kaggle, and merge it.

    The diff is shown first; nothing is written until you agree.

    Example: python -m build pull-kernel --experiment demo
    """
    from build.kaggle.pull import fetch_pulled, sync_pulled
    from build.notebooks.builder import check_notebook

    check_notebook(experiment, kernel)
    sync_pulled(fetch_pulled(experiment, kernel), as_json, parameters=parameters, conflicts=conflicts, yes=yes)


def logs_verb(
    experiment: Annotated[str, typer.Option(help="The experiment, or an adopted kernel's slug.")],
    kernel: Annotated[str, typer.Option(help="train, features or infer; the one pushed last by default.")] = "",
    version: Annotated[int | None, typer.Option(min=1, help="Which; the newest by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a notebook printed on Kaggle.

    Of a run of before; one that goes on is followed until it ends. Frames of a traceback are named by file and line of
    the sources.

    Example: python -m build logs --experiment demo
    """
    from build.kaggle.logs import show_log
    from build.kaggle.preparation import resumable

    words = [f"make logs EXPERIMENT={shlex.quote(experiment)}", *([f"KERNEL={shlex.quote(kernel)}"] if kernel else [])]
    with resumable(" ".join([*words, *([f"VERSION={version}"] if version else [])])):
        result = show_log(experiment, kernel, version, as_json=as_json)
    if as_json:
        print_json({"ok": True, **result})
    else:
        failure = f": {result['failure']}" if result["failure"] else ""
        print(f"{result['kernel']} version {result['version']}: {result['state']}{failure}")


def status_verb(
    competition: Annotated[str, typer.Option(metavar="NAME", help="Only what belongs to this one.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show each experiment's notebooks, weights, submission.

    And what was left open.

    Example: python -m build status
    """
    from build.core.choosing import checked_competition
    from build.kaggle.status import read_status

    status = read_status(competition and checked_competition(competition), quiet=as_json)
    if as_json:
        print_json(status.as_json())
    else:
        print("\n".join(status.as_lines()))
    if status.problems:
        raise SystemExit(1) if as_json else CheckFailed(status.problems)


def doctor_verb(as_json: AsJson = False) -> None:
    """Check whether a push would work now.

    Looks at credentials, client, quota, datasets and edits on the site.

    Example: python -m build doctor
    """
    from build.core.foreign_text import shown_value
    from build.kaggle.doctor import Finding, as_line, examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json and not finding.absent:
            print(as_line(finding), flush=True)
    failed = sum(finding.level == "fail" for finding in findings)
    if as_json:
        print_json({"ok": not failed, "findings": shown_value([asdict(finding) for finding in findings])})
    else:
        for about, count in Counter(finding.about for finding in findings if finding.absent).items():
            cure = "push-inference and push-training upload what they need; --json names each"
            print(as_line(Finding("ok", f"{count} more are not on Kaggle (yet)", cure, about)))
        print(f"{failed} of {len(findings)} would stop a push" if failed else "nothing stops a push")
    if failed:
        raise SystemExit(1)


def preflight_verb(
    stage: Annotated[
        str, typer.Option(help="account, upload, log, image, gpus or submission; next; list shows them with cost.")
    ] = "image",
    accept: Annotated[bool, typer.Option("--accept", help="Keep the report and the answers in the kit.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Ask once more although the answer is here.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """See what Kaggle's site and image really do.

    In stages, each with its cost said first; without --stage the image, in five minutes, beside what this kit assumes.

    Example: python -m build preflight, then python -m build preflight --accept

    Example: python -m build preflight --stage account
    """
    from build.kaggle.preflight import accept_latest
    from build.kaggle.preflight_stages import chosen_stage, list_stages, run_stage
    from build.kaggle.preparation import one_push

    if accept:
        accept_latest(as_json)
    elif stage == "list":
        list_stages(as_json)
    else:
        chosen = chosen_stage(stage)
        with one_push("make preflight" if chosen.name == "image" else chosen.command) as journal:
            run_stage(chosen, journal, again=again, overwrite=overwrite, quiet=as_json)


def _push(options: "PushOptions", verb: str, flow: Callable[["PushOptions", "Journal"], dict[str, Any]]) -> None:
    """Push one at a time, resumable; the last line says what is next."""
    from build.kaggle.preparation import one_push

    with one_push(options.command(verb)) as journal:
        result = flow(options, journal)
    if options.quiet:
        print_json({"ok": True, **result})
    elif result.get("nothing_left_to_do"):
        print("nothing left to do; --again (make: AGAIN=1) would submit once more")
    elif "next" in result:
        print(result["next"])
    elif "submission" in result:
        print(f"submission {result['submission']}: {result['status']}, public {result['public']}")
